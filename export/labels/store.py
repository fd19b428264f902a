"""The files of a set of labels: Parquet for words and numbers, tar shards of pictures, and who made them.

``labels.json`` says by which teacher and in which form. Each part, ``parts/<name>.parquet``, has the photos that a
worker did at once; it is written last, so that a part that is there is whole: ``pictures/<name>.tar`` and
``quarantine/<name>.parquet`` belong to it.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import Field

from pocketcrafter.export.teachers.systems import SystemName
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.files import remove, replacing, write_bytes, write_text
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.validation import check_json

SETTINGS_FILE: Final = "labels.json"
_PARTS: Final = "parts"
_PICTURES: Final = "pictures"
_QUARANTINE: Final = "quarantine"
_GROUP: Final = 64
"""Values of a hidden state that share a scale in 8 bits: single channels are hundreds of times larger than others."""
_HIGHEST: Final = 127
_REMEDY: Final = "name a folder that `pocketcrafter data label` made"


class HiddenForm(StrEnum):
    """How hidden states are stored."""

    FLOAT16 = "float16"
    INT8 = "int8"
    NONE = "none"


class PictureForm(StrEnum):
    """How pictures are stored; WebP without loss, too, as what a codec adds would be learnt."""

    WEBP = "webp"
    PNG = "png"
    NONE = "none"


class LabelSettings(Config):
    """Whose labels a folder holds, and in which form; others need another folder."""

    version: Literal[1] = 1
    teacher: SystemName
    teacher_sha256: str = Field(description="Over the headers and samples of the teacher's weights.")
    license: str = Field(description="SPDX identifier of the teacher's licence.")
    steps: int = Field(description="Of the teacher's artist.")
    side: int = Field(description="Of a square with as many pixels as the teacher's pictures.")
    answer: int = Field(description="Most words of an answer.")
    seed: int = Field(description="Of the noise.")
    instruction: str | None = Field(description="What the teacher was told beside the photo.")
    hidden: HiddenForm
    pictures: PictureForm


@dataclass(frozen=True)
class Label:
    """What a teacher made of one photo.

    Attributes
    ----------
    sha256
        Of the photo's file.
    path
        Of the photo, below the folder of photos.
    text, prompt, ids
        As :class:`~pocketcrafter.export.teachers.teacher.Critique` has them; empty without a critic.
    told
        Edits that the text tells, in plan-vector units, and its score in [0, 1], ``(len(Attribute) + 1,)``; not numbers
        where it does not.
    hidden
        Last hidden states, ``(positions, width)``; `None` where they are not kept.
    before, after
        The photo as far as the teacher's picture shows it, and that picture, of one size; `None` without an artist.
    seconds
        That the teacher took.
    """

    sha256: str
    path: str
    text: str
    prompt: npt.NDArray[np.int32]
    ids: npt.NDArray[np.int32]
    told: FloatArray
    hidden: FloatArray | None
    before: Image.Image | None
    after: Image.Image | None
    seconds: float


@dataclass(frozen=True)
class Quarantined:
    """A photo of which no label can be made, and why."""

    sha256: str
    path: str
    reason: str


_SCHEMA: Final = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("prompt", pa.list_(pa.int32()), nullable=False),
        pa.field("ids", pa.list_(pa.int32()), nullable=False),
        pa.field("plan", pa.list_(pa.float32(), len(Attribute))),
        pa.field("score", pa.float32()),
        pa.field("hidden", pa.large_binary()),
        pa.field("hidden_scales", pa.large_binary()),
        pa.field("hidden_shape", pa.list_(pa.int32(), 2)),
        pa.field("picture_size", pa.list_(pa.int32(), 2)),
        pa.field("seconds", pa.float32(), nullable=False),
    ]
)
_QUARANTINED: Final = pa.schema([(name, pa.string()) for name in ("sha256", "path", "reason")])


class LabelStore:
    """A folder of labels.

    Parameters
    ----------
    folder
        Where they are.
    settings
        What they are.
    """

    def __init__(self, folder: Path, settings: LabelSettings) -> None:
        self.folder, self.settings = folder, settings

    @classmethod
    def make(cls, folder: Path, settings: LabelSettings) -> "LabelStore":
        """Make a folder for labels, or go on with one.

        Parameters
        ----------
        folder
            It need not exist.
        settings
            What goes into it.

        Raises
        ------
        ConfigError
            If it holds labels of another teacher, or in another form.
        StorageError
            If it cannot be written.
        """
        if (folder / SETTINGS_FILE).is_file():
            there = cls.open(folder).settings
            if there != settings:
                names = [n for n in LabelSettings.model_fields if getattr(there, n) != getattr(settings, n)]
                raise ConfigError(
                    f"{folder}: holds labels of other settings ({', '.join(names)}); name another folder with --out."
                )
        else:
            write_text(folder / SETTINGS_FILE, settings.model_dump_json(indent=1))
        store = cls(folder, settings)
        for tar in (folder / _PICTURES).glob("*.tar"):
            if not store.has(tar.stem):
                remove(tar)
        return store

    @classmethod
    def open(cls, folder: Path) -> "LabelStore":
        """Open a folder of labels.

        Parameters
        ----------
        folder
            Made by :meth:`make`.

        Raises
        ------
        ConfigError
            If there are none.
        """
        path = folder / SETTINGS_FILE
        if not path.is_file():
            raise ConfigError(f"{path}: missing; {_REMEDY}.")
        return cls(folder, check_json(LabelSettings, path.read_bytes(), f"{path}: damaged; {_REMEDY}"))

    def has(self, name: str) -> bool:
        """Whether a part is there, and so is whole.

        Parameters
        ----------
        name
            Of the part.
        """
        return self._part(name).is_file()

    def write(self, name: str, labels: Sequence[Label], quarantined: Sequence[Quarantined]) -> None:
        """Write a part; the table of labels comes last, and makes it one.

        Parameters
        ----------
        name
            Of the part; one of this name is replaced.
        labels, quarantined
            What there is of its photos.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        if any(label.after for label in labels):
            write_bytes(self.folder / _PICTURES / f"{name}.tar", self._tar(labels))
        if quarantined:
            bad = {key: [getattr(q, key) for q in quarantined] for key in _QUARANTINED.names}
            with replacing(self.folder / _QUARANTINE / f"{name}.parquet") as temporary:
                pq.write_table(pa.table(bad, schema=_QUARANTINED), temporary)
        table = pa.Table.from_pylist([self._row(label) for label in labels], schema=_SCHEMA)
        with replacing(self._part(name)) as temporary:
            # Hidden states are noise to a compressor.
            pq.write_table(table, temporary, compression={"text": "zstd"}, use_dictionary=False)

    def labels(self, *, hidden: bool = True, pictures: bool = True) -> Iterator[Label]:
        """Yield all labels, in the order of their parts' names.

        Parameters
        ----------
        hidden, pictures
            Whether those are read.

        Raises
        ------
        ConfigError
            If a part is damaged.
        """
        left_out = {"hidden", "hidden_scales"} if not hidden else set()
        for part in sorted((self.folder / _PARTS).glob("*.parquet")):
            try:
                rows = pq.read_table(part, columns=[n for n in _SCHEMA.names if n not in left_out]).to_pylist()
                found = self._opened(part.stem) if pictures else {}
            except (OSError, pa.ArrowException, tarfile.TarError) as error:
                raise ConfigError(f"{part}: damaged ({error}); remove it, and run `data label` again.") from error
            for row in rows:
                yield _label(row, found)

    def done(self) -> set[str]:
        """Return the hashes of all photos that have been looked at, those in quarantine too."""
        found: set[str] = set()
        for part in (self.folder / _PARTS).glob("*.parquet"):
            found.update(pq.read_table(part, columns=["sha256"])["sha256"].to_pylist())
        return found | {bad.sha256 for bad in self.quarantined()}

    def quarantined(self) -> list[Quarantined]:
        """Return the photos of which no label could be made, in the order of their parts' names."""
        parts = sorted((self.folder / _QUARANTINE).glob("*.parquet"))
        return [Quarantined(**row) for part in parts if self.has(part.stem) for row in pq.read_table(part).to_pylist()]

    def sizes(self) -> dict[str, int]:
        """Return how many bytes words and numbers, and pictures take."""
        kinds = (("tables", _PARTS), ("pictures", _PICTURES))
        return {name: sum(f.stat().st_size for f in (self.folder / below).glob("*")) for name, below in kinds}

    def _part(self, name: str) -> Path:
        return self.folder / _PARTS / f"{name}.parquet"

    def _row(self, label: Label) -> dict[str, Any]:
        known = not np.isnan(label.told[-1])
        values, scales = packed(label.hidden, self.settings.hidden) if label.hidden is not None else (None, None)
        return {
            "sha256": label.sha256,
            "path": label.path,
            "text": label.text,
            "prompt": label.prompt,
            "ids": label.ids,
            "plan": label.told[:-1] if known else None,
            "score": float(label.told[-1]) if known else None,
            "hidden": values,
            "hidden_scales": scales,
            "hidden_shape": None if values is None or label.hidden is None else label.hidden.shape,
            "picture_size": None if label.after is None else label.after.size,
            "seconds": label.seconds,
        }

    def _tar(self, labels: Sequence[Label]) -> bytes:
        form, buffer = self.settings.pictures, io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for label in labels:
                for kind, picture in (("before", label.before), ("after", label.after)):
                    if picture is not None:
                        content = io.BytesIO()
                        picture.save(content, form.value, **({"lossless": True} if form is PictureForm.WEBP else {}))
                        entry = tarfile.TarInfo(f"{label.sha256}.{kind}.{form}")
                        entry.size = len(content.getvalue())
                        tar.addfile(entry, io.BytesIO(content.getvalue()))
        return buffer.getvalue()

    def _opened(self, name: str) -> dict[str, Image.Image]:
        path = self.folder / _PICTURES / f"{name}.tar"
        if not path.is_file():
            return {}
        found = {}
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                if (stream := tar.extractfile(entry)) is not None:
                    with Image.open(io.BytesIO(stream.read())) as image:
                        found[entry.name.rpartition(".")[0]] = image.convert("RGB")
        return found


def packed(hidden: FloatArray, form: HiddenForm) -> tuple[bytes | None, bytes | None]:
    """Return hidden states as they are stored: their values, and scales in 8 bits.

    Parameters
    ----------
    hidden
        ``(positions, width)``.
    form
        Half precision; or integers with a half-precision scale for each `_GROUP` values of a position; or nothing.

    Raises
    ------
    BackendError
        If a value is not finite, or beyond half precision.
    """
    if form is HiddenForm.NONE:
        return None, None
    with np.errstate(over="ignore"):  # checked below
        if form is HiddenForm.FLOAT16:
            values, scales = hidden.astype(np.float16), None
        else:
            grouped = hidden.reshape(-1, _group(hidden.shape[1]))
            # Up to the next number of half precision, so that no level is beyond the highest.
            scales = np.nextafter((np.abs(grouped).max(1) / _HIGHEST).astype(np.float16), np.float16(np.inf))
            values = np.rint(grouped / scales[:, None].astype(np.float32)).astype(np.int8)
    checked = values if scales is None else scales
    if not np.isfinite(hidden).all() or not np.isfinite(checked).all():
        raise BackendError("The teacher's hidden states are not finite, or beyond what half precision holds.")
    return values.tobytes(), None if scales is None else scales.tobytes()


def unpacked(values: bytes, scales: bytes | None, shape: tuple[int, int]) -> FloatArray:
    """Return hidden states that :func:`packed` has stored, float32.

    Parameters
    ----------
    values, scales
        As it returned them.
    shape
        Positions and width.
    """
    if scales is None:
        return np.frombuffer(values, np.float16).reshape(shape).astype(np.float32)
    grouped = np.frombuffer(values, np.int8).reshape(-1, _group(shape[1])).astype(np.float32)
    made: FloatArray = (grouped * np.frombuffer(scales, np.float16)[:, None].astype(np.float32)).reshape(shape)
    return made


def part_name(hashes: Sequence[str]) -> str:
    """Return the name of the part with these photos.

    Parameters
    ----------
    hashes
        Of the photos, in their order.
    """
    return f"part-{sha256(''.join(hashes).encode()).hexdigest()[:24]}"


def _group(width: int) -> int:
    return int(np.gcd(width, _GROUP))


def _label(row: Mapping[str, Any], pictures: Mapping[str, Image.Image]) -> Label:
    told = np.full(len(Attribute) + 1, np.nan, np.float32)
    if row["plan"] is not None:
        told[:-1], told[-1] = row["plan"], row["score"]
    hidden = row.get("hidden")
    return Label(
        sha256=row["sha256"],
        path=row["path"],
        text=row["text"],
        prompt=np.array(row["prompt"], np.int32),
        ids=np.array(row["ids"], np.int32),
        told=told,
        hidden=None if hidden is None else unpacked(hidden, row["hidden_scales"], tuple(row["hidden_shape"])),
        before=pictures.get(f"{row['sha256']}.before"),
        after=pictures.get(f"{row['sha256']}.after"),
        seconds=row["seconds"],
    )
