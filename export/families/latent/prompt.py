"""Renders a critic's prompt as its own chat template has it: ids, with a place for each of the picture's tokens."""

import importlib
from typing import Any, Final

from pocketcrafter.export.families.latent.critic_folder import Critic
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.families.networks.architecture import read_config, read_json
from pocketcrafter.export.families.networks.checkpoint import CheckpointError

_TEMPLATE: Final = "chat_template.json"


def critic_of(pair: Pair) -> Critic:
    """Return a pair's critic.

    Parameters
    ----------
    pair
        Read from its folder.

    Raises
    ------
    CheckpointError
        If it has none.
    """
    if pair.critic is None:
        raise CheckpointError(f"{pair.folder}: has no critic, but an artist alone.")
    return pair.critic


def tokenizer_of(pair: Pair) -> Any:  # noqa: ANN401 - transformers is untyped
    """Return the critic's tokenizer, from disk alone.

    Parameters
    ----------
    pair
        Whose critic it is.

    Raises
    ------
    CheckpointError
        If it has no chat template.
    """
    folder = critic_of(pair).folder
    kind = importlib.import_module("transformers").PreTrainedTokenizerFast
    tokenizer = kind.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None and (folder / _TEMPLATE).is_file():
        tokenizer.chat_template = read_json(folder / _TEMPLATE, "save the processor again").get("chat_template")
    if tokenizer.chat_template is None:
        raise CheckpointError(
            f"{folder}: has no chat template (chat_template.jinja, or a key of tokenizer_config.json); save the "
            "critic's processor there: processor.save_pretrained."
        )
    return tokenizer


def render_prompt(pair: Pair, places: int) -> tuple[int, ...]:
    """Return the ids of the whole prompt.

    Parameters
    ----------
    pair
        Whose critic is asked.
    places
        Tokens of a picture.

    Raises
    ------
    CheckpointError
        If there is no chat template, or it has no place for a picture.
    """
    tokenizer = tokenizer_of(pair)
    said = [{"type": "image"}, {"type": "text", "text": pair.config.prompt}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": said}], tokenize=False, add_generation_prompt=True
    )
    critic = critic_of(pair)
    kind = critic.kind
    if text.count(kind.word) != 1:
        raise CheckpointError(
            f"{critic.folder}: its chat template makes {text.count(kind.word)} places {kind.word} for one "
            "picture; the template of its processor makes one."
        )
    text = text.replace(kind.word, f"{kind.before}{kind.word * places}{kind.after}")
    begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    ids = tuple(int(number) for number in tokenizer(text, add_special_tokens=not begun)["input_ids"])
    found = ids.count(picture_word(pair, tokenizer))
    if found != places:
        raise CheckpointError(f"{critic.folder}: its tokenizer reads {found} of {places} places {kind.word}.")
    return ids


def picture_word(pair: Pair, tokenizer: Any) -> int:  # noqa: ANN401 - likewise
    """Return the id of a picture's token.

    Parameters
    ----------
    pair
        Whose critic it is.
    tokenizer
        The critic's.
    """
    critic = critic_of(pair)
    own = tokenizer.convert_tokens_to_ids(critic.kind.word)
    return int(read_config(critic.folder).get("image_token_id", own))


def stop_words(pair: Pair, tokenizer: Any) -> tuple[int, ...]:  # noqa: ANN401 - likewise
    """Return the ids that end an answer: those of the generation's configuration, or else the model's.

    Parameters
    ----------
    pair
        Whose critic it is.
    tokenizer
        The critic's.

    Raises
    ------
    CheckpointError
        If neither says any.
    """
    generation = critic_of(pair).folder / "generation_config.json"
    config = read_config(critic_of(pair).folder)
    places = [
        read_json(generation, "save the model again") if generation.is_file() else {},
        config,
        config.get("text_config") or {},
        {"eos_token_id": tokenizer.eos_token_id},
    ]
    for place in places:
        if (said := place.get("eos_token_id")) is not None:
            return tuple(dict.fromkeys(said if isinstance(said, list) else [said]))
    raise CheckpointError(f"{critic_of(pair).folder}: says nowhere which word ends an answer (eos_token_id).")
