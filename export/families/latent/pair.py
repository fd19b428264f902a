"""What a pair's folder holds: ``critic/``, ``artist/``, a bridge and ``pair.yaml``.

It is checked by configurations and the headers of weights, without torch: what does not fit is told before any work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.networks.architecture import read_config, read_folder, read_json
from pocketcrafter.export.families.networks.checkpoint import (
    Checkpoint,
    CheckpointError,
    StoredTensor,
    read_header,
    refuse_adapters,
)
from pocketcrafter.export.yaml_file import read_yaml
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.settings import ARTIST, CRITIC, Latent
from pocketcrafter.runtime.validation import check

CRITIC_FOLDER: Final = "critic"
ARTIST_FOLDER: Final = "artist"
BRIDGE_FILE: Final = "bridge.safetensors"
CONFIG_FILE: Final = "pair.yaml"
TOKENIZER_FILE: Final = "tokenizer.json"
PREPROCESSOR_FILE: Final = "preprocessor_config.json"
PROJECTION: Final = "projection.weight"
OFFSET: Final = "projection.bias"
IMAGE_WORD: Final = "<image>"
"""What stands in a prompt for a token of the picture."""
ROLES: Final[Mapping[Latent, Role]] = {
    Latent.VISION: Role.VISION,
    Latent.LANGUAGE: Role.LANGUAGE,
    Latent.BRIDGE: Role.BRIDGE,
    Latent.ENCODE: Role.ENCODE,
    Latent.DENOISE: Role.DENOISE,
    Latent.DECODE: Role.DECODE,
}
_CRITICS: Final = ("Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration")
_UNET: Final = "UNet2DConditionModel"
_AUTOENCODERS: Final = ("AutoencoderTiny", "AutoencoderKL")
SCHEDULERS: Final = (
    "FlowMatchEulerDiscreteScheduler",
    "EulerDiscreteScheduler",
    "DDIMScheduler",
    "LCMScheduler",
)
"""Schedulers of diffusers whose steps are linear in latents and prediction."""
_FURTHER_CONDITIONS: Final = ("addition_embed_type", "class_embed_type", "encoder_hid_dim", "time_cond_proj_dim")
_BESIDE_CRITIC: Final = (
    TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", PREPROCESSOR_FILE,
    "processor_config.json", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip
_MAX_TOKENIZER_BYTES: Final = 64 << 20
_PROMPT: Final = (
    "Look at this photo and judge its quality, color and light, composition and mood. Then say how it should be "
    "edited, and give it a score from 0 to 100."
)


class PairConfig(Config):
    """What ``pair.yaml`` says; a pair without one has the defaults."""

    prompt: str = Field(_PROMPT, min_length=1, description="What the critic is asked beside the photo.")
    longest_answer: int = Field(64, ge=1, le=4096, description="Most words of its answer; the artist reads them all.")
    steps: int = Field(4, ge=1, le=100, description="Steps of the artist.")
    seed: int = Field(0, ge=0, lt=1 << 64, description="Of the artist's noise.")
    strength: float = Field(
        0.5, gt=0, le=1, description="For an artist that begins at the photo's own latents: how much noise they get."
    )
    whole_picture: bool = Field(
        False, description="Show the critic one picture even where its processor would cut the photo into several."
    )


@dataclass(frozen=True)
class Artist:
    """The folders of a few-step artist, and what their configurations say."""

    folder: Path
    unet: Mapping[str, Any]
    autoencoder: Mapping[str, Any]
    scheduler: str
    """The scheduler's class."""
    pipeline: str
    """The class of the whole, which says whether the photo's latents are scaled."""
    latent_channels: int
    side: int
    """Pixels of its square picture."""

    @property
    def shows_photo(self) -> bool:
        """Whether the photo's latents are further channels of its input; it begins at them otherwise."""
        return bool(self.unet["in_channels"] != self.latent_channels)


@dataclass(frozen=True)
class Pair:
    """A pair's folder, checked.

    Attributes
    ----------
    files
        All that is read of it.
    critic_width
        Width of the critic's hidden states.
    bridge
        Where the projection lies; `None` where the artist reads hidden states as they are.
    weights_mib
        Its weights in float32.
    """

    folder: Path
    config: PairConfig
    files: FolderFiles
    critic_width: int
    artist: Artist | None
    bridge: Path | None
    weights_mib: float

    @property
    def critic(self) -> Path:
        """The critic's folder."""
        return self.folder / CRITIC_FOLDER

    @property
    def roles(self) -> dict[str, Role]:
        """Its components, in the order in which they run."""
        names = [*CRITIC, *((Latent.BRIDGE,) if self.bridge else ()), *(ARTIST if self.artist else ())]
        return {name: ROLES[name] for name in names}

    @property
    def functions(self) -> dict[str, tuple[str, ...]]:
        """Further functions of its components."""
        return {Latent.LANGUAGE: (PREFILL,)}


def is_pair(folder: Path) -> bool:
    """Whether a folder is laid out as a pair."""
    return any((folder / name).exists() for name in (CRITIC_FOLDER, ARTIST_FOLDER, CONFIG_FILE))


def read_pair(folder: Path) -> Pair:
    """Read a pair's folder.

    Raises
    ------
    CheckpointError
        If something is missing, is of a class that is not known, is damaged, or does not fit the rest.
    ConfigError
        If ``pair.yaml`` is not valid.
    """
    if not (folder / CRITIC_FOLDER).is_dir():
        raise CheckpointError(
            f"{folder}: a pair has a folder {CRITIC_FOLDER} with a vision-language model, and beside it "
            f"{ARTIST_FOLDER} with a pipeline of diffusers; there is no {CRITIC_FOLDER}."
        )
    yaml = folder / CONFIG_FILE
    said = (read_yaml(yaml) or {}) if yaml.is_file() else {}
    config = check(PairConfig, said, f"{yaml}: not a valid configuration of a pair")
    width, critic_files, weights = _read_critic(folder / CRITIC_FOLDER, config)
    files, artist, bridge = [*critic_files, *([yaml] if yaml.is_file() else [])], None, None
    if (folder / ARTIST_FOLDER).exists():
        artist, artist_files, more = _read_artist(folder / ARTIST_FOLDER)
        bridge = _read_bridge(folder / BRIDGE_FILE, width, artist)
        files += [*artist_files, *([bridge] if bridge else [])]
        weights += more
    elif (folder / BRIDGE_FILE).exists():
        raise CheckpointError(f"{folder / BRIDGE_FILE}: leads to an artist, and there is no {folder / ARTIST_FOLDER}.")
    mib = sum(tensor.size * (2 if tensor.dtype in {"F16", "BF16"} else 1) for tensor in weights) / (1 << 20)
    return Pair(folder, config, FolderFiles(folder, tuple(files)), width, artist, bridge, mib)


def _read_critic(folder: Path, config: PairConfig) -> tuple[int, list[Path], list[StoredTensor]]:
    architecture, files, stored = read_folder(folder)
    if architecture.name not in _CRITICS:
        raise CheckpointError(f"{folder}: a critic is one of {', '.join(_CRITICS)}; {architecture.name} is not yet.")
    if absent := [name for name in (TOKENIZER_FILE, PREPROCESSOR_FILE) if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder}: lacks {', '.join(absent)}; save the critic's processor there too: processor.save_pretrained."
        )
    table = _table(folder, stored)
    rows, width = table.shape
    ids = _ids(folder / TOKENIZER_FILE)
    if (highest := max(ids.values())) >= rows:
        word = next(text for text, number in ids.items() if number == highest)
        raise CheckpointError(
            f"{folder}: {TOKENIZER_FILE} has words up to {highest} ({word!r}), and {table.name} in {table.file.name} "
            f"has {rows} rows. Tokenizer and weights are not of one model: download both again, or resize the "
            "embeddings where words were added (model.resize_token_embeddings) and train them."
        )
    said = read_config(folder)
    if IMAGE_WORD not in ids or ids[IMAGE_WORD] != said.get("image_token_id", ids.get(IMAGE_WORD)):
        raise CheckpointError(
            f"{folder}: the word {IMAGE_WORD} is {ids.get(IMAGE_WORD)} in {TOKENIZER_FILE}, and image_token_id is "
            f"{said.get('image_token_id')} in config.json; they are not of one model."
        )
    if read_json(folder / PREPROCESSOR_FILE, "save the processor again").get("do_image_splitting", True) and not (
        config.whole_picture
    ):
        raise CheckpointError(
            f"{folder / PREPROCESSOR_FILE}: do_image_splitting is on, and bundles show the critic one whole picture. "
            f"Where the critic is to be used so (it sees less detail), say `whole_picture: true` in "
            f"{folder.parent / CONFIG_FILE}, or turn it off there, as it should have been in training."
        )
    beside = [folder / name for name in _BESIDE_CRITIC if (folder / name).is_file()]
    return width, [*dict.fromkeys([*files.files, *beside])], list(stored.tensors.values())


def _table(folder: Path, stored: Checkpoint) -> StoredTensor:
    found = [t for name, t in stored.tensors.items() if name.endswith("embed_tokens.weight") and len(t.shape) == 2]
    if len(found) != 1:
        raise CheckpointError(f"{folder}: has {len(found)} tensors embed_tokens.weight; a language model has one.")
    return found[0]


def _ids(path: Path) -> dict[str, int]:
    """Return the words of a tokenizer's file by text."""
    said = read_json(path, "save the tokenizer again", _MAX_TOKENIZER_BYTES)
    try:
        vocabulary = said["model"]["vocab"]
        listed = vocabulary.items() if isinstance(vocabulary, dict) else ((w[0], n) for n, w in enumerate(vocabulary))
        added = ((word["content"], word["id"]) for word in said.get("added_tokens", ()))
        return {str(text): int(number) for text, number in chain(listed, added)}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path}: not a tokenizer ({error!r}); save it again.") from error


def _read_artist(folder: Path) -> tuple[Artist, list[Path], list[StoredTensor]]:
    refuse_adapters(folder)
    index = folder / "model_index.json"
    classes = read_json(index, "an artist is a pipeline of diffusers, as pipeline.save_pretrained leaves it")
    files, weights = [index], list[StoredTensor]()
    configs: dict[str, Mapping[str, Any]] = {}
    for name, known in (("unet", (_UNET,)), ("vae", _AUTOENCODERS)):
        if not (folder / name).is_dir():
            raise CheckpointError(f"{folder}: has no {name}; an artist has unet, vae and scheduler.")
        architecture, found, stored = read_folder(folder / name)
        if architecture.name not in known:
            raise CheckpointError(f"{folder / name}: is {architecture.name}; known are {', '.join(known)}.")
        files += found.files
        weights += stored.tensors.values()
        configs[name] = read_config(folder / name)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    kind = str(read_json(scheduler, "save the pipeline again").get("_class_name"))
    if kind not in SCHEDULERS:
        raise CheckpointError(f"{scheduler}: is {kind}; known are {', '.join(SCHEDULERS)}.")
    artist = _fitting(folder, configs, kind, str(classes.get("_class_name")))
    return artist, [*files, scheduler], weights


def _fitting(folder: Path, configs: Mapping[str, Mapping[str, Any]], scheduler: str, pipeline: str) -> Artist:
    unet, autoencoder = configs["unet"], configs["vae"]
    where = folder / "unet" / "config.json"
    if more := [name for name in _FURTHER_CONDITIONS if unet.get(name)]:
        raise CheckpointError(
            f"{where}: the network wants further conditions ({', '.join(more)}), which none gives yet."
        )
    channels = int(autoencoder.get("latent_channels", 4))
    if unet.get("out_channels", 4) != channels or unet.get("in_channels", 4) not in {channels, 2 * channels}:
        raise CheckpointError(
            f"{where}: in_channels {unet.get('in_channels')} and out_channels {unet.get('out_channels')} do not fit "
            f"an autoencoder of {channels} latent channels: an artist takes {channels}, or {2 * channels} with the "
            "photo's."
        )
    if not isinstance(unet.get("cross_attention_dim"), int):
        raise CheckpointError(
            f"{where}: cross_attention_dim is {unet.get('cross_attention_dim')}; it must be one number."
        )
    blocks = autoencoder.get("encoder_block_out_channels") or autoencoder.get("block_out_channels") or (1,) * 4
    size = unet.get("sample_size")
    if not isinstance(size, int):
        raise CheckpointError(f"{where}: sample_size is {size}; it must say the side of the latents.")
    return Artist(folder, unet, autoencoder, scheduler, pipeline, channels, size * 2 ** (len(blocks) - 1))


def _read_bridge(path: Path, width: int, artist: Artist) -> Path | None:
    wanted = artist.unet["cross_attention_dim"]
    if not path.is_file():
        if width != wanted:
            raise CheckpointError(
                f"{path.parent}: the critic's hidden states have {width} channels, the artist's conditions {wanted}: "
                f"{path.name} with `{PROJECTION}` [{wanted}, {width}] must lead from one to the other."
            )
        return None
    found = {name: tensor.shape for name, tensor in read_header(path).items()}
    if found not in ({PROJECTION: (wanted, width)}, {PROJECTION: (wanted, width), OFFSET: (wanted,)}):
        raise CheckpointError(
            f"{path}: holds {found}; a bridge is `{PROJECTION}` [{wanted}, {width}], and `{OFFSET}` [{wanted}] or none."
        )
    return path
