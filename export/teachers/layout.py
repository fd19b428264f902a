"""Finds a teacher's networks, adapters and words in its folder: by names, configurations and headers alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.families.latent.artist_folder import PROMPT_FILE as FIXED_FILE
from pocketcrafter.export.families.latent.critic_folder import CONFIG_FILE
from pocketcrafter.export.families.latent.pair import ARTIST_FOLDER, BRIDGE_FILE, CRITIC_FOLDER, read_pair
from pocketcrafter.export.families.networks.architecture import CONFIG, class_of, read_config, read_json
from pocketcrafter.export.families.networks.checkpoint import (
    SUFFIX,
    Checkpoint,
    CheckpointError,
    read_checkpoint,
    read_header,
)
from pocketcrafter.export.families.networks.lora import Adapter, Change, adapters_in, placed
from pocketcrafter.export.teachers.systems import PROMPT_FILE, SYSTEMS, Part, Place, System, SystemName
from pocketcrafter.export.teachers.tensors import QWEN_IMAGE, Shapes, qwen_image_config

_INDEX: Final = "model_index.json"
_PICKLES: Final = (".pth", ".pt", ".bin", ".ckpt")
_PARTS: Final[Mapping[str, Part]] = {
    "unet": Part.ARTIST,
    "transformer": Part.ARTIST,
    "vae": Part.AUTOENCODER,
    "controlnet": Part.CONTROL,
    "text_encoder": Part.TEXT,
    "text_encoder_2": Part.TEXT,
    "text_encoder_3": Part.TEXT,
}
"""What pipelines of diffusers call their networks."""


RENAMED: Final = (("model.language_model.", "model."), ("model.visual.", "visual."))
"""Modules of Qwen's vision-language models as transformers has them now, and in checkpoints."""


@dataclass(frozen=True)
class Found:
    """A network of a teacher that is there.

    Attributes
    ----------
    place
        Its row.
    path
        Its folder, or its file.
    kind
        Its class.
    config
        What ``config.json`` says, or what the shapes of a file alone tell.
    stored
        Its tensors.
    adapters
        What the release loads into it, with the factor that the release applies.
    written
        The same adapters, as their files and configurations ask for them.
    """

    place: Place
    path: Path
    kind: str
    config: Mapping[str, Any]
    stored: Checkpoint
    adapters: tuple[Adapter, ...] = ()
    written: tuple[Adapter, ...] = ()

    @property
    def shapes(self) -> Shapes:
        """Shape of each tensor by name."""
        return {name: tensor.shape for name, tensor in self.stored.tensors.items()}

    def placed(self, adapter: Adapter) -> dict[str, Change]:
        """Return an adapter's changes by the name that the file has for the weight that they change.

        Parameters
        ----------
        adapter
            One of the network's.

        Raises
        ------
        CheckpointError
            If it changes a layer that the network has not, or one of another shape.
        """
        stored = {name: name for name in self.stored.tensors}
        for now, before in RENAMED:
            stored |= {now + n.removeprefix(before): n for n in self.stored.tensors if n.startswith(before)}
        changes = placed(adapter, {name: self.stored.tensors[file].shape for name, file in stored.items()})
        return {stored[name]: change for name, change in changes.items()}

    @property
    def is_file(self) -> bool:
        """Whether it comes without configuration."""
        return self.path.is_file()


@dataclass(frozen=True)
class Layout:
    """What a teacher's folder holds.

    Attributes
    ----------
    folder
        The teacher's.
    name, system
        Which it is.
    networks
        Those that are there.
    missing
        What is not, in words.
    pipeline
        Class in ``model_index.json``; empty without one.
    """

    folder: Path
    name: SystemName
    system: System
    networks: tuple[Found, ...]
    missing: tuple[str, ...] = field(default=())
    pipeline: str = ""

    def network(self, name: str) -> Found:
        """Return a network.

        Parameters
        ----------
        name
            Its row's.

        Raises
        ------
        CheckpointError
            If it is not there.
        """
        for found in self.networks:
            if found.place.name == name:
                return found
        told = next((text for text in self.missing if text.startswith(f"{name}:")), f"{name}: missing")
        raise CheckpointError(f"{self.folder}: {told}. `pocketcrafter teacher inspect {self.folder}` tells the rest.")


def recognize(folder: Path) -> SystemName:
    """Return which system a folder holds.

    Parameters
    ----------
    folder
        As it was downloaded.

    Raises
    ------
    CheckpointError
        If it has no mark of any.
    """
    pipeline = _pipeline(folder)
    for name, system in SYSTEMS.items():
        if pipeline in system.pipelines or any((folder / mark).exists() for mark in system.marks):
            return name
    marks = "; ".join(f"{s.title}: {' or '.join(s.marks or s.pipelines)}" for s in SYSTEMS.values())
    raise CheckpointError(f"{folder}: holds no teacher that is known. They are known by ({marks}).")


def read_layout(folder: Path, name: SystemName | None = None) -> Layout:
    """Read what a teacher's folder holds; of weights, the headers alone.

    Parameters
    ----------
    folder
        The teacher's.
    name
        Which system it is; told by its marks where none is given.

    Raises
    ------
    CheckpointError
        If it is no teacher that is known, or a file in it is damaged. What is absent is told in the answer.
    """
    name = name or recognize(folder)
    system = SYSTEMS[name]
    places = system.places
    if name is SystemName.PAIR:
        system, places = _pair(folder)
    networks, missing = [], []
    for place in places or _own_places(folder):
        path = next((folder / path for path in place.paths if (folder / path).exists()), None)
        if path is None:
            missing.append(f"{place.name}: {_absent(folder, place)}")
            continue
        found = _found(path, place)
        networks.append(_with_adapters(folder, found))
        if place.adapter and not (folder / place.adapter).is_dir():
            missing.append(f"{place.adapter}: the adapter of {place.name}")
    if system.prompt and not (folder / PROMPT_FILE).is_file():
        missing.append(f"{PROMPT_FILE}: the fixed prompt that {system.title}'s own code has; copy it from there")
    return Layout(folder, name, system, tuple(networks), tuple(missing), _pipeline(folder))


def unread_files(layout: Layout) -> list[str]:
    """Return what lies in a teacher's folder and nothing of it is read.

    Parameters
    ----------
    layout
        Of the folder.
    """
    known = {PROMPT_FILE, _INDEX, "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "scheduler"}
    known |= {"tokenizer", "processor", "feature_extractor", "image_processor"}
    if layout.name is SystemName.PAIR:
        known |= {BRIDGE_FILE, FIXED_FILE, CONFIG_FILE}
    for found in layout.networks:
        if found.path.resolve() == layout.folder.resolve():
            return []
        known |= set(found.place.paths) | ({found.place.adapter} if found.place.adapter else set())
        # A pipeline's scheduler and words lie beside its networks.
        known |= {f"{Path(path).parent}/{name}" for path in found.place.paths for name in tuple(known) if "/" in path}
    return sorted(_strange(layout.folder, Path(), known))


def _strange(folder: Path, below: Path, known: set[str]) -> Iterator[str]:
    for entry in sorted((folder / below).iterdir()):
        name = (below / entry.name).as_posix()
        if entry.name.startswith(".") or name in known:
            continue
        if entry.is_dir() and any(path.startswith(f"{name}/") for path in known):
            yield from _strange(folder, below / entry.name, known)
        else:
            yield name


def _own_places(folder: Path) -> tuple[Place, ...]:
    """Return the networks of a pipeline, or the one model that a folder is."""
    if not (folder / _INDEX).is_file():
        config = read_config(folder)
        kind = class_of(config)
        if "vision_config" not in config:
            raise CheckpointError(
                f"{folder / CONFIG}: {kind or 'what it names'} sees no picture; a critic has a `vision_config`, "
                f"and an artist is a whole pipeline, with {_INDEX}."
            )
        return (Place("critic", Part.CRITIC, (".",), (kind,)),)
    index = read_json(folder / _INDEX, "download it again")
    return tuple(
        Place(name, part, (name,), (str(index[name][1]),))
        for name, part in _PARTS.items()
        if isinstance(index.get(name), list) and len(index[name]) == 2 and index[name][1]
    )


def _pair(folder: Path) -> tuple[System, tuple[Place, ...]]:
    """Return how a latent pair samples, and where its networks lie."""
    pair = read_pair(folder)
    row = SYSTEMS[SystemName.PAIR]
    sampling = replace(
        row.sampling,
        steps=pair.config.steps if pair.artist else 0,
        side=pair.artist.side if pair.artist else row.sampling.side,
        answer=pair.config.longest_answer if pair.critic else 0,
        seed=pair.config.seed,
    )
    found = [(CRITIC_FOLDER, CRITIC_FOLDER, Part.CRITIC)]
    found += [(name, f"{ARTIST_FOLDER}/{name}", part) for name, part in _PARTS.items()]
    places = []
    for name, path, part in found:
        if (folder / path / CONFIG).is_file():
            lora = f"{Path(path).parts[0]}/lora"
            has_lora = (folder / lora).is_dir() and part in {Part.CRITIC, Part.ARTIST}
            kind = class_of(read_config(folder / path))
            places.append(Place(name, part, (path,), (kind,), adapter=lora if has_lora else None))
    return replace(row, sampling=sampling), tuple(places)


def _absent(folder: Path, place: Place) -> str:
    """Say what of a network is not there, and where it is a pickle, how to convert it."""
    for path in map(Path, place.paths):
        for suffix in _PICKLES:
            if path.suffix == SUFFIX and (pickled := (folder / path).with_suffix(suffix)).is_file():
                return (
                    f"{pickled.relative_to(folder).as_posix()} is a pickle, which can run code when it is read. Where "
                    f"you trust it: pocketcrafter teacher convert {pickled} --out {folder / path}"
                )
    return f"{' or '.join(place.paths)} ({' or '.join(place.classes)})"


def _found(path: Path, place: Place) -> Found:
    if path.is_file():
        stored = Checkpoint(read_header(path), (path,), None)
        return Found(place, path, place.classes[0], _told_by_shapes(path, place.classes[0], stored), stored)
    config = read_config(path)
    kind = class_of(config)
    if kind not in place.classes:
        raise CheckpointError(f"{path / CONFIG}: is {kind or 'no class'}; {' or '.join(place.classes)} belongs there.")
    stem = "diffusion_pytorch_model" if "_class_name" in config else "model"
    stored = read_checkpoint(path, stem)
    return Found(place, path, kind, {**_told_by_shapes(path, kind, stored), **config}, stored)


def _told_by_shapes(path: Path, kind: str, stored: Checkpoint) -> dict[str, Any]:
    """Return what the shapes of a class's tensors tell of its configuration."""
    if kind != QWEN_IMAGE:
        return {}
    config = qwen_image_config({name: tensor.shape for name, tensor in stored.tensors.items()})
    if config is None:
        raise CheckpointError(f"{path}: is no {kind}: img_in, txt_in, proj_out or the first block is missing.")
    return config


def _with_adapters(folder: Path, found: Found) -> Found:
    place = found.place
    if place.adapter is None or not (folder / place.adapter).is_dir():
        return found
    written = adapters_in(folder / place.adapter)
    applied = written if place.scale is None else tuple(adapter.scaled(place.scale) for adapter in written)
    return Found(place, found.path, found.kind, found.config, found.stored, applied, written)


def _pipeline(folder: Path) -> str:
    if not (folder / _INDEX).is_file():
        return ""
    return str(read_json(folder / _INDEX, "download it again").get("_class_name", ""))
