"""What a pair's folder holds: ``critic/``, ``artist/``, what leads from one to the other, and ``pair.yaml``.

It is checked by configurations and the headers of weights, without torch: what does not fit is told before any work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.latent.artist_folder import (
    POOLED,
    PROMPT,
    PROMPT_FILE,
    Artist,
    FixedConditions,
    read_artist,
    read_fixed,
)
from pocketcrafter.export.families.latent.config import PairConfig
from pocketcrafter.export.families.latent.critic_folder import CONFIG_FILE, Critic, read_critic
from pocketcrafter.export.families.networks.checkpoint import CheckpointError, StoredTensor, read_header
from pocketcrafter.export.yaml_file import read_yaml
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.settings import ARTIST, CRITIC, Latent
from pocketcrafter.runtime.validation import check

CRITIC_FOLDER: Final = "critic"
ARTIST_FOLDER: Final = "artist"
BRIDGE_FILE: Final = "bridge.safetensors"
PROJECTION: Final = "projection"
"""Of hidden states, one by one, to the artist's conditions."""
SUMMARY: Final = "pooled"
"""Of the mean of hidden states to the vector that sums the conditions up."""
ROLES: Final[Mapping[Latent, Role]] = {
    Latent.VISION: Role.VISION,
    Latent.LANGUAGE: Role.LANGUAGE,
    Latent.BRIDGE: Role.BRIDGE,
    Latent.ENCODE: Role.ENCODE,
    Latent.DENOISE: Role.DENOISE,
    Latent.DECODE: Role.DECODE,
}


@dataclass(frozen=True)
class Bridge:
    """What makes an artist's conditions of hidden states: linear maps in a file, and their widths out, by name."""

    file: Path
    widths: Mapping[str, int]


@dataclass(frozen=True)
class Pair:
    """A pair's folder, checked.

    Attributes
    ----------
    files
        All that is read of it.
    critic, artist
        `None` where there is none; one of them always is.
    fixed
        Conditions that are the same for every photo; `None` where the critic gives all.
    bridge
        `None` where the artist reads hidden states as they are, or none.
    weights
        Its tensors, as the headers of their files have them.
    """

    folder: Path
    config: PairConfig
    files: FolderFiles
    critic: Critic | None
    artist: Artist | None
    fixed: FixedConditions | None
    bridge: Bridge | None
    weights: tuple[StoredTensor, ...]

    @property
    def weights_mib(self) -> float:
        """Its weights in float32."""
        return sum(t.size * (2 if t.dtype in {"F16", "BF16"} else 1) for t in self.weights) / (1 << 20)

    @property
    def roles(self) -> dict[str, Role]:
        """Its components, in the order in which they run."""
        names = [
            *(CRITIC if self.critic else ()),
            *((Latent.BRIDGE,) if self.bridge else ()),
            *(ARTIST if self.artist else ()),
        ]
        return {name: ROLES[name] for name in names}

    @property
    def functions(self) -> dict[str, tuple[str, ...]]:
        """Further functions of its components."""
        return {Latent.LANGUAGE: (PREFILL,)} if self.critic else {}


def is_pair(folder: Path) -> bool:
    """Whether a folder is laid out as a pair.

    Parameters
    ----------
    folder
        It need not exist.
    """
    return any((folder / name).exists() for name in (CRITIC_FOLDER, ARTIST_FOLDER, CONFIG_FILE))


def read_pair(folder: Path) -> Pair:
    """Read a pair's folder.

    Parameters
    ----------
    folder
        Holds ``critic/``, ``artist/`` or both.

    Raises
    ------
    CheckpointError
        If something is missing, is of a class that is not known, is damaged, or does not fit the rest.
    ConfigError
        If ``pair.yaml`` is not valid.
    """
    if not any((folder / name).is_dir() for name in (CRITIC_FOLDER, ARTIST_FOLDER)):
        raise CheckpointError(
            f"{folder}: a pair has a folder {CRITIC_FOLDER} with a vision-language model, a folder {ARTIST_FOLDER} "
            "with a pipeline of diffusers, or both; there is neither."
        )
    yaml = folder / CONFIG_FILE
    said = (read_yaml(yaml) or {}) if yaml.is_file() else {}
    config = check(PairConfig, said, f"{yaml}: not a valid configuration of a pair")
    files, weights = [yaml] if yaml.is_file() else list[Path](), list[StoredTensor]()
    critic = artist = fixed = bridge = None
    if (folder / CRITIC_FOLDER).is_dir():
        critic, read, stored = read_critic(folder / CRITIC_FOLDER, config)
        files, weights = [*files, *read], [*weights, *stored]
    if (folder / ARTIST_FOLDER).is_dir():
        artist, read, stored = read_artist(folder / ARTIST_FOLDER, config)
        fixed = read_fixed(folder / PROMPT_FILE, artist.network)
        bridge = _read_bridge(folder / BRIDGE_FILE, critic, artist, fixed)
        beside = [each.file for each in (fixed, bridge) if each is not None]
        more = [tensor for file in beside for tensor in read_header(file).values()]
        files, weights = [*files, *read, *beside], [*weights, *stored, *more]
    elif lost := [name for name in (BRIDGE_FILE, PROMPT_FILE) if (folder / name).exists()]:
        raise CheckpointError(f"{folder / lost[0]}: is for an artist, and there is no {folder / ARTIST_FOLDER}.")
    return Pair(folder, config, FolderFiles(folder, tuple(files)), critic, artist, fixed, bridge, tuple(weights))


def _read_bridge(path: Path, critic: Critic | None, artist: Artist, fixed: FixedConditions | None) -> Bridge | None:
    said = fixed is not None and fixed.length > 0
    summed = not artist.network.pooled or (fixed is not None and fixed.pooled)
    wanted = {
        **({} if said else {PROJECTION: artist.network.width}),
        **({} if summed else {SUMMARY: artist.network.pooled}),
    }
    if wanted and (critic is None or said):
        raise CheckpointError(
            f"{path.parent / PROMPT_FILE}: an artist that does not read a critic needs `{PROMPT}` [positions, "
            f"{artist.network.width}] there"
            + (f", and `{POOLED}` [{artist.network.pooled}]." if artist.network.pooled else ".")
        )
    if not path.is_file():
        needed = {name: width for name, width in wanted.items() if name == SUMMARY or width != _width(critic)}
        if needed:
            raise CheckpointError(
                f"{path.parent}: the critic's hidden states have {_width(critic)} channels, the artist's conditions "
                f"{' and '.join(map(str, needed.values()))}: {path.name} with {_described(needed, critic)} must lead "
                "from one to the other."
            )
        return None
    found = {name: tensor.shape for name, tensor in read_header(path).items()}
    widths = {name: width for name, width in wanted.items() if f"{name}.weight" in found}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (width, _width(critic)) for name, width in widths.items()}
    shapes |= {f"{name}.bias": (width,) for name, width in widths.items() if f"{name}.bias" in found}
    needed = {name: width for name, width in wanted.items() if name == SUMMARY or width != _width(critic)}
    if found != shapes or not widths or needed.keys() - widths.keys():
        raise CheckpointError(
            f"{path}: holds {found}; a bridge here is {_described(wanted, critic) or 'not needed: move it away'}."
        )
    return Bridge(path, widths)


def _width(critic: Critic | None) -> int:
    return 0 if critic is None else critic.width


def _described(widths: Mapping[str, int], critic: Critic | None) -> str:
    return ", ".join(
        f"`{name}.weight` [{width}, {_width(critic)}] with `{name}.bias` [{width}] or none"
        for name, width in widths.items()
    )
