"""ONNX artifacts in ONNX Runtime's own format, which its builds for phones without the ONNX parser open."""

from pathlib import Path

import onnxruntime as ort

from pocketcrafter.runtime.backends.ort_sessions import open_session, write_options
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import ORT_SUFFIX


def to_ort_format(model: Path) -> Path:
    """Write a model in ORT format in its own place, and remove the ONNX file.

    The graph is optimized as far as ONNX Runtime does for every processor, and no further: a file that was laid out for
    this machine's would be wrong on a phone.

    Parameters
    ----------
    model
        An ONNX model with its weights inside.

    Returns
    -------
    Path
        The new file, of the same name but for its suffix.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot open or write it; the ONNX file is still there then.
    """
    made = model.with_suffix(ORT_SUFFIX)
    try:
        with replacing(made) as temporary:
            options = write_options(temporary, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
            options.add_session_config_entry("session.save_model_format", "ORT")
            open_session(model.read_bytes(), options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BundleError(f"{model.name}: ONNX Runtime cannot write it in its own format: {error}") from error
    model.unlink()
    return made
