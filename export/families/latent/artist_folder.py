"""What a pair's folder ``artist/`` holds: the networks of a diffusers pipeline, read by their configurations alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.families.latent.artists.kinds import (
    ARTISTS,
    AUTOENCODERS,
    CLASSES,
    CONTROL,
    ArtistKind,
    Layout,
    Network,
)
from pocketcrafter.export.families.latent.config import PairConfig
from pocketcrafter.export.families.networks.architecture import read_config, read_folder, read_json
from pocketcrafter.export.families.networks.checkpoint import (
    CheckpointError,
    StoredTensor,
    read_header,
    refuse_adapters,
)
from pocketcrafter.export.families.networks.lora import Adapter, placed, read_adapters

PROMPT_FILE: Final = "prompt.safetensors"
"""Fixed conditions: what the artist reads in place of the critic's hidden states, or beside them."""
PROMPT: Final = "prompt_embeds"
POOLED: Final = "pooled_prompt_embeds"
SCHEDULERS: Final = (
    "FlowMatchEulerDiscreteScheduler",
    "EulerDiscreteScheduler",
    "DDIMScheduler",
    "LCMScheduler",
)
"""Schedulers of diffusers whose steps are linear in latents and prediction."""
_MASK_COVERS: Final = 0.5
"""diffusers leaves out of the masked picture what its mask covers to this share or more."""
_UNSCALED: Final = ("InstructPix2Pix", "DreamLite")
"""In the names of pipelines that show the photo's latents as the autoencoder gives them, not scaled."""


@dataclass(frozen=True)
class Artist:
    """The networks of a few-step artist, and what their configurations say.

    Attributes
    ----------
    folder
        The pipeline's.
    config, autoencoder
        Configurations of the denoising network and of the autoencoder.
    network
        What the former takes.
    scheduler, pipeline
        Their classes.
    channels, factor
        Channels of latents, and pixels along the side of one.
    latent_side
        Latents along the side of its square picture.
    autoencoder_side
        Latents along the side of what its autoencoder encodes and decodes at once.
    control
        Folder of the ControlNet beside a U-Net; `None` without one.
    mask
        How much of the picture an inpainting network's mask covers, everywhere alike.
    adapters
        What is merged into the weights of the denoising network.
    """

    folder: Path
    config: Mapping[str, Any]
    autoencoder: Mapping[str, Any]
    network: Network
    scheduler: str
    pipeline: str
    channels: int
    factor: int
    latent_side: int
    autoencoder_side: int
    control: Path | None
    mask: float
    adapters: tuple[Adapter, ...]

    @property
    def kind(self) -> ArtistKind:
        """The row of its denoising network's class."""
        return ARTISTS[self.config["_class_name"]]

    @property
    def denoiser(self) -> Path:
        """The denoising network's folder."""
        return self.folder / self.kind.folder

    @property
    def side(self) -> int:
        """Pixels of its square picture."""
        return self.latent_side * self.factor

    @property
    def shows_photo(self) -> bool:
        """Whether its denoising network is given the photo's latents."""
        layout = self.network.layout
        return layout is not Layout.NONE and (layout is not Layout.INPAINT or self.mask < _MASK_COVERS)

    @property
    def begins_at_photo(self) -> bool:
        """Whether the steps begin at the photo's latents, with noise, and not at noise alone."""
        blind = self.network.layout is Layout.NONE and self.control is None
        return blind or self.network.layout is Layout.INPAINT or "Img2Img" in self.pipeline

    @property
    def shows_unscaled(self) -> bool:
        """Whether the photo's latents are given as the autoencoder makes them."""
        return any(name in self.pipeline for name in _UNSCALED)

    @property
    def scale(self) -> float:
        """Factor on the autoencoder's latents, less `shift`, that makes those that are denoised."""
        return float(self.autoencoder.get("scaling_factor") or 1.0)

    @property
    def shift(self) -> float:
        """What is taken off the autoencoder's latents first."""
        return float(self.autoencoder.get("shift_factor") or 0.0)


@dataclass(frozen=True)
class FixedConditions:
    """Conditions that are the same for every photo; those that the file lacks come of the critic.

    Attributes
    ----------
    file
        Where they lie.
    length
        Positions of the prompt's embeddings; 0 where it has none.
    pooled
        Whether it has the pooled vector.
    """

    file: Path
    length: int
    pooled: bool


def read_artist(folder: Path, config: PairConfig) -> tuple[Artist, list[Path], list[StoredTensor]]:
    """Read an artist's folder; also return the files that loading it reads, and their tensors.

    Parameters
    ----------
    folder
        The pipeline's.
    config
        What ``pair.yaml`` says.

    Raises
    ------
    CheckpointError
        If something is missing, is of a class that is not known, is damaged, or does not fit the rest.
    """
    refuse_adapters(folder)
    index = folder / "model_index.json"
    said = read_json(index, "an artist is a pipeline of diffusers, as pipeline.save_pretrained leaves it")
    pipeline = str(said.get("_class_name"))
    names = dict.fromkeys(kind.folder for kind in ARTISTS.values())
    if len(here := [name for name in names if (folder / name).is_dir()]) != 1:
        raise CheckpointError(
            f"{folder}: has {' and '.join(here) or f'none of {list(names)}'}; an artist has one of them, and beside it "
            "vae and scheduler."
        )
    network_config, files, weights = _read_network(
        folder / here[0], [n for n, k in ARTISTS.items() if k.folder == here[0]]
    )
    adapters = read_adapters(folder)
    for adapter in adapters:
        placed(adapter, {tensor.name: tensor.shape for tensor in weights})
        files += adapter.files
    autoencoder, more_files, more_weights = _read_network(folder / "vae", list(AUTOENCODERS))
    files, weights = [index, *files, *more_files], [*weights, *more_weights]
    control = folder / CONTROL if (folder / CONTROL).is_dir() else None
    if control is not None:
        _, more_files, more_weights = _read_network(control, ["ControlNetModel"])
        files, weights = [*files, *more_files], [*weights, *more_weights]
        if here[0] != "unet":
            raise CheckpointError(f"{control}: steers a U-Net alone; this artist has a {here[0]}. Move it away.")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    kind = str(read_json(scheduler, "save the pipeline again").get("_class_name"))
    if kind not in SCHEDULERS:
        raise CheckpointError(f"{scheduler}: is {kind}; known are {', '.join(SCHEDULERS)}.")
    latent = AUTOENCODERS[autoencoder["_class_name"]]
    channels, factor = latent.channels(autoencoder), latent.factor(autoencoder)
    where = folder / here[0] / "config.json"
    network = ARTISTS[network_config["_class_name"]].read(where, network_config, channels, pipeline)
    size = _latent_side(where, network, factor, config)
    artist = Artist(
        folder, network_config, autoencoder, network, kind, pipeline, channels, factor,
        size, _autoencoder_side(where, size, factor, config), control, config.mask, adapters,
    )  # fmt: skip
    return artist, [*files, scheduler], weights


def read_fixed(path: Path, network: Network) -> FixedConditions | None:
    """Read the header of fixed conditions; `None` where there is no such file.

    Parameters
    ----------
    path
        The file.
    network
        What the artist's network takes.

    Raises
    ------
    CheckpointError
        If it holds anything else, or of other widths than the artist reads.
    """
    if not path.is_file():
        return None
    found = {name: tensor.shape for name, tensor in read_header(path).items()}
    text, pooled = found.pop(PROMPT, None), found.pop(POOLED, None)
    fits = (text is None or (len(text) == 2 and text[1] == network.width and text[0] > 0)) and (
        pooled is None or (network.pooled and pooled == (network.pooled,))
    )
    if found or not fits or (text is None and pooled is None):
        wanted = f"`{PROMPT}` [positions, {network.width}]"
        wanted += f", `{POOLED}` [{network.pooled}], or one of them" if network.pooled else ""
        shapes = {
            name: shape for name, shape in ((PROMPT, text), (POOLED, pooled), *found.items()) if shape is not None
        }
        raise CheckpointError(f"{path}: holds {shapes}; this artist reads {wanted}.")
    return FixedConditions(path, text[0] if text else 0, pooled is not None)


def _read_network(folder: Path, known: Sequence[str]) -> tuple[Mapping[str, Any], list[Path], list[StoredTensor]]:
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder.parent}: has no {folder.name}; an artist has unet or transformer, vae, scheduler."
        )
    architecture, found, stored = read_folder(folder, CLASSES)
    if architecture.name not in known:
        raise CheckpointError(f"{folder}: is {architecture.name}; known are {', '.join(known)}.")
    return read_config(folder), list(found.files), list(stored.tensors.values())


def _latent_side(where: Path, network: Network, factor: int, config: PairConfig) -> int:
    side = network.size * factor if config.side is None and isinstance(network.size, int) else config.side
    if side is None:
        raise CheckpointError(
            f"{where}: sample_size is {network.size}, which does not say how large a picture the artist makes: give "
            "`side`, in pixels, in pair.yaml."
        )
    if side % (factor * network.multiple):
        raise CheckpointError(
            f"{where}: pictures of {side} px do not come out even: their side must be a multiple of "
            f"{factor * network.multiple}; set `side` in pair.yaml."
        )
    return side // factor


def _autoencoder_side(where: Path, size: int, factor: int, config: PairConfig) -> int:
    asked = config.autoencoder_side
    if asked is None:
        return size
    if asked % factor or asked > size * factor:
        raise CheckpointError(
            f"{where.parents[2] / 'pair.yaml'}: autoencoder_side is {asked}; it must be a multiple of {factor}, and "
            f"at most the artist's side, {size * factor}."
        )
    return asked // factor
