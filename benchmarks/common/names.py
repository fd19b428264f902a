"""Names that commands offer as choices, apart from what measures with them: ``--help`` must not wait for torch."""

from enum import StrEnum
from typing import Final


class FrameKind(StrEnum):
    """What was done to a frame; a kind's place seeds its frames, so that new ones come last."""

    DEGRADED = "degraded"
    CLEAN = "clean"
    NOISE = "noise"
    JPEG = "jpeg"
    DEFOCUS = "defocus"
    MOTION = "motion"
    HAZE = "haze"


class CompetitorName(StrEnum):
    """The competitors that a person can choose."""

    TORCH_EAGER = "torch-eager-fp32"
    TORCH_COMPILE = "torch-compile-fp32"
    ONNXRUNTIME = "onnxruntime-fp32"
    ONNXRUNTIME_DYNAMIC = "onnxruntime-dynamic-int8"
    OPENVINO = "openvino-int8"
    LITERT = "litert-fp32"
    LITERT_INT8 = "litert-int8"


REFERENCE: Final = CompetitorName.TORCH_EAGER
"""The competitor that results of different machines are compared through."""


class SubjectName(StrEnum):
    """A command."""

    ENHANCE = "enhance"
    DATA = "data prepare"
    TRAIN = "train"
    BUILD = "build"


class Format(StrEnum):
    """A format that is read from files, or from text that a network wrote."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"
    AVIF = "avif"
    JPEG_SEGMENTS = "jpeg-segments"
    PNG_CHUNKS = "png-chunks"
    WEBP_CHUNKS = "webp-chunks"
    EXIF = "exif"
    XMP = "xmp"
    IPTC = "iptc"
    ICC = "icc"
    CODE_POINTS = "code-points"
    CRITIQUE = "critique"
    PLAN = "plan"
    MANIFEST = "manifest"
    TOKENIZER = "tokenizer"
    RECIPE = "recipe"
    SAFETENSORS = "safetensors"


class Architecture(StrEnum):
    """Architectures that are not ours, which quantization is measured on with random weights."""

    UNET = "UNet2DConditionModel"
    AUTOENCODER = "AutoencoderTiny"
    VISION = "SmolVLM vision"
    TEXT = "SmolVLM text"


class Published(StrEnum):
    """Published configurations that checkpoints of random weights have the size of."""

    SMOLVLM_256M = "smolvlm-256m"
    SMOLVLM_500M = "smolvlm-500m"
    DREAMLITE = "dreamlite"
    SD15 = "sd-1.5"


STEPS_KINDS: Final = (FrameKind.NOISE, FrameKind.JPEG, FrameKind.DEFOCUS, FrameKind.MOTION)
"""The faults that restoration is for."""

AS_IT_IS: Final = "input"
"""What the tile itself is called beside the networks; it takes no steps."""
PICTURES: Final = ("critic", "tone", "restore")
"""Networks of the pocket family that a picture goes through."""
TRIED: Final = (*PICTURES, "decoder")
"""Components that can be tried; nothing is built of composition network and judge but float."""
