"""The folder of a distilled pair: the teacher's own files, but for the artist's weights, its bridge and its steps."""

import json
import re
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from safetensors.torch import save
from torch import Tensor, nn

from pocketcrafter.export.content import FolderFiles, content_hash
from pocketcrafter.export.distill.latent.critic import Learner
from pocketcrafter.export.distill.latent.flow import FLOW_SCHEDULER, FlowArtist
from pocketcrafter.export.families.latent.critic_folder import CONFIG_FILE
from pocketcrafter.export.families.latent.pair import ARTIST_FOLDER, CRITIC_FOLDER, Pair
from pocketcrafter.export.families.latent.prompt import critic_of
from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.export.families.networks.checkpoint import read_header
from pocketcrafter.export.families.networks.lora import FOLDER as ADAPTERS
from pocketcrafter.export.licenses import UNKNOWN, stated_license
from pocketcrafter.export.train.workers import Workers
from pocketcrafter.export.yaml_file import read_yaml
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import replacing, write_bytes, write_text

_SCHEDULER: Final = "scheduler/scheduler_config.json"
_WEIGHTS: Final = "diffusion_pytorch_model.safetensors"
_CRITIC_WEIGHTS: Final = "model.safetensors"
_TEACHERS: Final = "teachers"
_SIGHT: Final = frozenset({CRITIC_FOLDER, f"{ARTIST_FOLDER}/vae"})
"""What makes hidden states and latents."""


def lay_out(pair: Pair, teacher: Pair, folder: Path, steps: int, *, fresh: bool) -> None:
    """Write the folder of a pair whose artist runs a few evenly spaced steps, with the weights that it has.

    Parameters
    ----------
    pair
        What the student begins as.
    teacher
        What it is taught by: its licence goes with the student.
    folder
        Where it is written; an earlier one is replaced.
    steps
        Of its artist.
    fresh
        Whether each step draws new noise: what consistency and matched distributions are trained for.

    Raises
    ------
    ConfigError
        If its scheduler is of another class, or critic or autoencoder are not the teacher's.
    """
    artist = pair.artist
    if artist is None or artist.scheduler != FLOW_SCHEDULER:
        raise ConfigError(
            f"{pair.folder}: {'has no artist' if artist is None else f'has {artist.scheduler}'}; an artist with "
            f"{FLOW_SCHEDULER} can be distilled."
        )
    if _seen_by(pair, _SIGHT) != _seen_by(teacher, _SIGHT):
        raise ConfigError(
            f"{pair.folder}: its critic or its autoencoder is not that of {teacher.folder}; the artists of teacher and "
            "student read the same hidden states and latents."
        )
    with replacing(folder) as made:
        _begin(pair, teacher, made, steps=steps)
        scheduler = made / artist.folder.relative_to(pair.folder) / _SCHEDULER
        said = dict(read_json(scheduler, "save the pipeline again"))
        write_text(scheduler, json.dumps(said | _few_steps(said, steps, fresh=fresh), indent=2) + "\n")


def lay_out_critic(pair: Pair, teacher: Pair, folder: Path) -> None:
    """Write the folder of a pair whose critic is going to learn, with the weights that it has.

    Parameters
    ----------
    pair
        What the student begins as.
    teacher
        What it is taught by: its licence goes with the student.
    folder
        Where it is written; an earlier one is replaced.

    Raises
    ------
    ConfigError
        If the artists are not the same: conditions that one reads mean nothing to another.
    """
    if _seen_by(pair, {ARTIST_FOLDER}) != _seen_by(teacher, {ARTIST_FOLDER}):
        raise ConfigError(
            f"{pair.folder}: its artist is not that of {teacher.folder}; a student's critic learns what one artist "
            f"reads: copy the teacher's {ARTIST_FOLDER} there."
        )
    with replacing(folder) as made:
        _begin(pair, teacher, made)


def lay_out_again(pair: Pair, folder: Path) -> None:
    """Write the folder of a pair that goes on learning and is its own teacher, with the weights that it has.

    Parameters
    ----------
    pair
        What the student begins as.
    folder
        Where it is written; an earlier one is replaced.
    """
    with replacing(folder) as made:
        _begin(pair, pair, made)


def _begin(pair: Pair, teacher: Pair, made: Path, **changed: int) -> None:
    """Copy a pair's files, and say in its configuration what is changed and who teaches it."""
    for file in pair.files.files:
        target = made / file.relative_to(pair.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    config = made / CONFIG_FILE
    kept = (read_yaml(config) or {}) if config.is_file() else {}
    said = {**kept, **changed, **_teachers(pair, teacher, made)}
    write_text(config, yaml.safe_dump(said, sort_keys=False, allow_unicode=True))


def _few_steps(said: Mapping[str, Any], steps: int, *, fresh: bool) -> dict[str, Any]:
    """Return what of a scheduler's configuration makes few steps even: else the last one would begin at no noise."""
    even = None
    if steps > 1 and not said.get("use_dynamic_shifting"):
        shift = float(said.get("shift") or 1.0)
        even = shift / steps / (1 + (shift - 1) / steps)
    return {"shift_terminal": even, "stochastic_sampling": fresh}


def _seen_by(pair: Pair, folders: Set[str]) -> str:
    """Return a hash of what lies in some folders of a pair."""
    kept = [f for f in pair.files.files if any(f.is_relative_to(pair.folder / name) for name in folders)]
    return content_hash(FolderFiles(pair.folder, tuple(kept)))


def _teachers(pair: Pair, teacher: Pair, made: Path) -> dict[str, Any]:
    """Return the teachers of both pairs and the teacher itself, with the texts of their licences in the new folder."""
    said: dict[str, dict[str, Any]] = {}
    for one in (pair, teacher):
        for each in one.config.teachers:
            shutil.copyfile(one.folder / each.text, made / each.text)
            said[each.name] = each.model_dump(exclude_none=True)
    spdx, text = stated_license(teacher.folder)
    name = teacher.folder.resolve().name
    if spdx != UNKNOWN and Path(text).is_file():
        copy = f"teacher-{name}.txt"
        shutil.copyfile(text, made / copy)
        said[name] = {"name": name, "license": spdx, "text": copy}
    return {_TEACHERS: [*said.values()]} if said else {}


def save_student(pair: Pair, student: FlowArtist) -> None:
    """Write a trained artist and its bridge into its pair's folder, in the types that the files there have.

    Adapters are in the weights by now, and their files go.

    Parameters
    ----------
    pair
        As `lay_out` has left it.
    student
        Trained.

    Raises
    ------
    ConfigError
        If the pair has no artist.
    """
    artist = pair.artist
    if artist is None:
        raise ConfigError(f"{pair.folder}: has no artist.")
    folder = artist.denoiser
    files = sorted(folder.glob("*.safetensors"))
    dtype = _dtype(files[0])
    network: Any = student.denoise
    weights = getattr(network.network, artist.kind.folder).state_dict()
    write_bytes(folder / _WEIGHTS, save(_stored(weights, dtype), {"format": "pt"}))
    for surplus in (*(f for f in files if f.name != _WEIGHTS), *folder.glob("*.safetensors.index.json")):
        surplus.unlink()
    shutil.rmtree(artist.folder / ADAPTERS, ignore_errors=True)
    _save_bridge(pair, student.bridge)


def whole_learner(learner: Learner, pair: Pair, workers: Workers) -> Learner | None:
    """Return a learner with all of its weights in the first of the processes that trained it, in the others `None`.

    All of them call it together.

    Parameters
    ----------
    learner
        Trained, its weights sharded or not.
    pair
        What it began as.
    workers
        The processes.
    """
    if not workers.sharded:
        return learner if workers.rank == 0 else None
    weights = {}
    for name, value in learner.state_dict().items():
        # In parts they are gathered by all, and kept by one.
        gathered = workers.whole(value)
        if workers.rank == 0:
            weights[name] = gathered.cpu()
    if workers.rank > 0:
        return None
    made = Learner(pair)
    made.load_state_dict(weights)
    return made


def save_learner(pair: Pair, learner: Learner) -> None:
    """Write a trained critic and its bridge into its pair's folder, as :func:`save_student`.

    Parameters
    ----------
    pair
        As `lay_out_critic` has left it.
    learner
        Trained.
    """
    folder = critic_of(pair).folder
    files = sorted(folder.glob("*.safetensors"))
    dtype = _dtype(files[0])
    state, renamed = learner.critic.state_dict(), learner.critic._checkpoint_conversion_mapping
    weights = {name: state[_loaded_name(name, renamed)] for file in files for name in read_header(file)}
    write_bytes(folder / _CRITIC_WEIGHTS, save(_stored(weights, dtype), {"format": "pt"}))
    for surplus in (*(f for f in files if f.name != _CRITIC_WEIGHTS), *folder.glob("*.safetensors.index.json")):
        surplus.unlink()
    shutil.rmtree(folder / ADAPTERS, ignore_errors=True)
    _save_bridge(pair, learner.bridge)


def _loaded_name(stored: str, renamed: Mapping[str, str]) -> str:
    """Return the name in a model of transformers of a tensor in its files: the first pattern that is found counts."""
    for pattern, name in renamed.items():
        made, count = re.subn(pattern, name, stored)
        if count:
            return made
    return stored


def _save_bridge(pair: Pair, bridge: nn.Module | None) -> None:
    if pair.bridge is not None and bridge is not None:
        maps = {name.removeprefix("maps."): value for name, value in bridge.state_dict().items()}
        kept = {name: maps[name] for name in read_header(pair.bridge.file)}
        write_bytes(pair.bridge.file, save(_stored(kept, _dtype(pair.bridge.file))))


def _dtype(file: Path) -> torch.dtype:
    known = {"F16": torch.float16, "BF16": torch.bfloat16}
    return known.get(next(iter(read_header(file).values())).dtype, torch.float32)


def _stored(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: value.detach().cpu().to(dtype).contiguous() for name, value in weights.items()}


def copy_pair(folder: Path, out: Path) -> None:
    """Copy a pair's folder; what was there before is replaced when the copy is whole.

    Parameters
    ----------
    folder
        The pair's.
    out
        Where to.
    """
    with replacing(out) as made:
        shutil.copytree(folder, made)
