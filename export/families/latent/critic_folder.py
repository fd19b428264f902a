"""What a pair's folder ``critic/`` holds: a vision-language model of transformers, read by its configurations alone."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from pocketcrafter.export.families.latent.config import PairConfig
from pocketcrafter.export.families.latent.critics import CRITIC_CLASSES, CRITICS, CriticKind
from pocketcrafter.export.families.networks.architecture import read_config, read_folder, read_json
from pocketcrafter.export.families.networks.checkpoint import Checkpoint, CheckpointError, StoredTensor
from pocketcrafter.export.families.networks.lora import Adapter, read_adapters

CONFIG_FILE: Final = "pair.yaml"
TOKENIZER_FILE: Final = "tokenizer.json"
PREPROCESSOR_FILE: Final = "preprocessor_config.json"
_BESIDE_CRITIC: Final = (
    TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", PREPROCESSOR_FILE,
    "processor_config.json", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip
_MAX_TOKENIZER_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Critic:
    """A critic's folder, checked.

    Attributes
    ----------
    folder
        Where it lies.
    kind
        The row of its class.
    width
        Of its hidden states.
    adapters
        What is merged into its weights.
    """

    folder: Path
    kind: CriticKind
    width: int
    adapters: tuple[Adapter, ...]


def read_critic(folder: Path, config: PairConfig) -> tuple[Critic, list[Path], list[StoredTensor]]:
    """Read a critic's folder; also return the files that loading it reads, and their tensors.

    Parameters
    ----------
    folder
        As ``save_pretrained`` of model and processor leave it.
    config
        What ``pair.yaml`` says.

    Raises
    ------
    CheckpointError
        If something is missing, is of a class that is not known, is damaged, or does not fit the rest.
    """
    architecture, files, stored = read_folder(folder, CRITIC_CLASSES)
    kind = CRITICS[architecture.name]
    if absent := [name for name in (TOKENIZER_FILE, PREPROCESSOR_FILE) if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder}: lacks {', '.join(absent)}; save the critic's processor there too: processor.save_pretrained."
        )
    table = embedding_table(folder, stored)
    rows, width = table.shape
    ids = words_of(folder / TOKENIZER_FILE)
    if (highest := max(ids.values())) >= rows:
        word = next(text for text, number in ids.items() if number == highest)
        raise CheckpointError(
            f"{folder}: {TOKENIZER_FILE} has words up to {highest} ({word!r}), and {table.name} in {table.file.name} "
            f"has {rows} rows. Tokenizer and weights are not of one model: download both again, or resize the "
            "embeddings where words were added (model.resize_token_embeddings) and train them."
        )
    said = read_config(folder)
    if kind.word not in ids or ids[kind.word] != said.get("image_token_id", ids.get(kind.word)):
        raise CheckpointError(
            f"{folder}: the word {kind.word} is {ids.get(kind.word)} in {TOKENIZER_FILE}, and image_token_id is "
            f"{said.get('image_token_id')} in config.json; they are not of one model."
        )
    processor = read_json(folder / PREPROCESSOR_FILE, "save the processor again")
    if kind.cuts and processor.get("do_image_splitting", True) and not config.whole_picture:
        raise CheckpointError(
            f"{folder / PREPROCESSOR_FILE}: do_image_splitting is on, and bundles show the critic one whole picture. "
            f"Where the critic is to be used so (it sees less detail), say `whole_picture: true` in "
            f"{folder.parent / CONFIG_FILE}, or turn it off there, as it should have been in training."
        )
    adapters = read_adapters(folder)
    beside = [file for adapter in adapters for file in adapter.files]
    beside += [folder / name for name in _BESIDE_CRITIC if (folder / name).is_file()]
    return (
        Critic(folder, kind, width, adapters),
        [*dict.fromkeys([*files.files, *beside])],
        list(stored.tensors.values()),
    )


def embedding_table(folder: Path, stored: Checkpoint) -> StoredTensor:
    """Return the table of a language model's words: as many rows as it has words.

    Parameters
    ----------
    folder, stored
        The model's folder, and what it holds.

    Raises
    ------
    CheckpointError
        If there is none, or more than one.
    """
    found = [t for name, t in stored.tensors.items() if name.endswith("embed_tokens.weight") and len(t.shape) == 2]
    if len(found) != 1:
        raise CheckpointError(f"{folder}: has {len(found)} tensors embed_tokens.weight; a language model has one.")
    return found[0]


def words_of(path: Path) -> dict[str, int]:
    """Return the words of a tokenizer's file by text.

    Parameters
    ----------
    path
        A ``tokenizer.json``.

    Raises
    ------
    CheckpointError
        If it is not such a file.
    """
    said = read_json(path, "save the tokenizer again", _MAX_TOKENIZER_BYTES)
    try:
        vocabulary = said["model"]["vocab"]
        listed = vocabulary.items() if isinstance(vocabulary, dict) else ((w[0], n) for n, w in enumerate(vocabulary))
        added = ((word["content"], word["id"]) for word in said.get("added_tokens", ()))
        return {str(text): int(number) for text, number in chain(listed, added)}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path}: not a tokenizer ({error!r}); save it again.") from error
