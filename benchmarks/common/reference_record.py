"""The file of a reference record: one safetensors file, with a JSON manifest among its metadata.

A record comes from another machine. Its header is held against the file's size, its manifest against a closed schema
and every tensor's type and shape against the manifest, before any of it is read. It holds no paths.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save

from pocketcrafter.export.families.networks.checkpoint import CheckpointError, StoredTensor, read_header
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import Config, parse_json
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.validation import check

SUFFIX: Final = ".pcref"
_KEY: Final = "reference"
"""Of the manifest, among the file's metadata."""
_MAX_BYTES: Final = 8 << 30
_MAX_MANIFEST_CHARACTERS: Final = 1 << 20
_MOST_PHOTOS: Final = 1024
_LONGEST_SIDE: Final = 1 << 14
_AGAIN: Final = "record it again: pocketcrafter reference record"


class Shapes(Config):
    """Sizes of what is recorded of one photo."""

    photo: tuple[int, int] = Field(description="Height and width of the photo, px.")
    prompt: int = Field(ge=0, le=1 << 16, description="Words of the prompt, the picture's places among them.")
    answer: int = Field(ge=0, le=1 << 13, description="Words of the answer, the one that ended it too.")


class RecordedName(Config):
    """One photo of a record."""

    name: str = Field(min_length=1, max_length=255, description="The photo's file name; for reports alone.")
    shapes: Shapes


class RecordManifest(Config):
    """What a record is of, and how it was made."""

    schema_version: Literal[1] = 1
    pair: str = Field(max_length=255, description="Name of the pair's folder.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the pair's files, as a bundle's manifest has it.")
    classes: dict[str, str] = Field(description="Classes of the libraries that ran, by what they are of the pair.")
    tools: dict[str, str] = Field(description="Versions of the libraries.")
    device: str = Field(max_length=200, description="What they ran on, in float32.")
    width: int = Field(ge=0, le=1 << 16, description="Of the critic's hidden states; 0 where there is an artist alone.")
    steps: int = Field(ge=0, le=1000, description="Of the artist; none where there is a critic alone.")
    photos: tuple[RecordedName, ...] = Field(min_length=1, max_length=_MOST_PHOTOS)


@dataclass(frozen=True)
class RecordedCritic:
    """What the critic made of a photo.

    Attributes
    ----------
    prompt, ids
        Words of the prompt, and of the answer, the one that ended it too; int32.
    tokens
        The picture's tokens as the language model reads them, ``(places, width)``.
    hidden
        Hidden states of all that was read, ``(prompt + answer − 1, width)``.
    """

    prompt: npt.NDArray[np.int32]
    ids: npt.NDArray[np.int32]
    tokens: FloatArray
    hidden: FloatArray


@dataclass(frozen=True)
class RecordedArtist:
    """What the artist made of a photo and the critic's hidden states.

    Attributes
    ----------
    text
        Its conditions, ``(prompt + answer − 1, width)``; as many as there are where they are fixed.
    encoded
        The photo's latents as the autoencoder gives them.
    latents
        Latents before each step, and after the last one, as they are denoised, ``(steps + 1, …)``.
    predictions
        What the network predicted at each step, ``(steps, …)``.
    picture
        sRGB in [0, 1], ``(side, side, 3)``.
    """

    text: FloatArray
    encoded: FloatArray
    latents: FloatArray
    predictions: FloatArray
    picture: FloatArray


@dataclass(frozen=True)
class RecordedPhoto:
    """A photo as both libraries and bundles are shown it, sRGB of 8 bits, and what each part of the pair made of it."""

    photo: npt.NDArray[np.uint8]
    critic: RecordedCritic | None
    artist: RecordedArtist | None


class Record:
    """An opened record; its tensors are read photo by photo.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ConfigError
        If it is no record, is damaged, or holds what its manifest does not tell of.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than any record ({_MAX_BYTES >> 30} GiB).")
        try:
            header = read_header(path)
        except CheckpointError as error:
            raise ConfigError(f"{path}: not a record of a reference: {error}") from error
        with safe_open(path, "np") as opened:
            said = (opened.metadata() or {}).get(_KEY, "")
        if not said or len(said) > _MAX_MANIFEST_CHARACTERS:
            raise ConfigError(f"{path}: has no manifest of a record among its metadata; {_AGAIN}.")
        try:
            found = parse_json(said)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: its manifest is not JSON ({error}); {_AGAIN}.") from error
        self.manifest = check(RecordManifest, found, f"{path}: not a valid manifest of a record")
        self._check(header)

    def photos(self) -> Iterator[tuple[str, RecordedPhoto]]:
        """Yield the name and the record of each photo."""
        with safe_open(self._path, "np") as opened:
            for number, photo in enumerate(self.manifest.photos):
                read = _Reader(opened, number)
                critic = read.all(RecordedCritic) if self.manifest.width else None
                artist = read.all(RecordedArtist) if self.manifest.steps else None
                yield photo.name, RecordedPhoto(read("photo"), critic, artist)

    def _check(self, header: Mapping[str, StoredTensor]) -> None:
        wanted: set[str] = set()
        for number, photo in enumerate(self.manifest.photos):
            for name, (dtype, shape) in _contract(self.manifest, photo.shapes).items():
                wanted.add(f"{number}.{name}")
                tensor = header.get(f"{number}.{name}")
                if tensor is None:
                    raise ConfigError(f"{self._path}: lacks `{name}` of {photo.name}; {_AGAIN}.")
                fits = len(tensor.shape) == len(shape) and all(
                    have == want or (want is None and 0 < have <= _LONGEST_SIDE)
                    for have, want in zip(tensor.shape, shape, strict=True)
                )
                if tensor.dtype != dtype or not fits:
                    raise ConfigError(
                        f"{self._path}: `{name}` of {photo.name} is {tensor.dtype} {list(tensor.shape)}, and its "
                        f"manifest tells of {dtype} {list(shape)}; {_AGAIN}."
                    )
        if strange := sorted(header.keys() - wanted):
            raise ConfigError(f"{self._path}: holds `{strange[0]}`, of which its manifest tells nothing; {_AGAIN}.")


class _Reader:
    def __init__(self, opened: Any, number: int) -> None:  # noqa: ANN401 - safetensors is untyped
        self._opened, self._number = opened, number

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - an array of the contract's type
        return self._opened.get_tensor(f"{self._number}.{name}")

    def all(self, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - of that kind
        return kind(**{field.name: self(field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def _contract(manifest: RecordManifest, shapes: Shapes) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Return type and shape of each tensor of a photo; `None` stands for any size."""
    steps, width = manifest.steps, manifest.width
    read = shapes.prompt + shapes.answer - 1 if width else None
    found: dict[str, tuple[str, tuple[int | None, ...]]] = {"photo": ("U8", (*shapes.photo, 3))}
    if width:
        found |= {
            "prompt": ("I32", (shapes.prompt,)),
            "ids": ("I32", (shapes.answer,)),
            "tokens": ("F32", (None, None)),
            "hidden": ("F32", (read, width)),
        }
    if steps:
        found |= {
            "text": ("F32", (read, None)),
            "encoded": ("F32", (None, None, None)),
            "latents": ("F32", (steps + 1, None, None, None)),
            "predictions": ("F32", (steps, None, None, None)),
            "picture": ("F32", (None, None, 3)),
        }
    return found


def write_record(path: Path, about: RecordManifest, photos: Iterable[RecordedPhoto]) -> None:
    """Write a record, under a temporary name first.

    Parameters
    ----------
    path
        Where to.
    about
        Its manifest.
    photos
        What was recorded of each of the manifest's photos.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    for number, photo in enumerate(photos):
        tensors[f"{number}.photo"] = photo.photo
        for part in (part for part in (photo.critic, photo.artist) if part is not None):
            for field in dataclasses.fields(part):
                tensors[f"{number}.{field.name}"] = np.ascontiguousarray(getattr(part, field.name))
    write_bytes(path, save(tensors, metadata={_KEY: about.model_dump_json()}))
