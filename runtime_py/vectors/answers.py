"""Vectors of a latent critic's words: ids to text, and what critiques are made of answers."""

import json
from pathlib import Path
from typing import Any, Final

from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.latent.answer import Vocabulary, critique_of
from pocketcrafter.runtime.vectors.recording import Recording

ANSWER_VOCABULARY: Final = "answers.json"
"""The vocabulary of the cases, beside them: byte-level BPE, as SmolVLM's and Qwen's are."""
_SPECIAL: Final = ("<|im_start|>", "<end_of_utterance>")
_STOP: Final = 1
_SAID: Final = (
    "",
    "A fine photo.",
    "Zu dunkel – später, café, 照片太暗 📷",
    "<think>\n1. a\n2. b\n3. c\n4. d\n5. e\n</think>\n<edit_start>\nRaise exposure by 0.50 EV.\n</edit_end>\n<answer>6",
)


def record_answers(recording: Recording, out: Path) -> None:
    """Add the cases of a critic's words, and write the vocabulary beside them.

    Parameters
    ----------
    recording
        Receives the cases.
    out
        The folder that the vocabulary goes to.

    Raises
    ------
    ConfigError
        If the package `tokenizers` is not installed.
    StorageError
        If the vocabulary cannot be written.
    """
    write_bytes(out / ANSWER_VOCABULARY, _vocabulary())
    words = Vocabulary(out / ANSWER_VOCABULARY)
    ids = _numbered()
    spelled = [[ids[_symbols()[byte]] for byte in text.encode()] for text in _SAID]
    # A sequence that is cut off, one that never begins, ones out of range, a special word, an id that no word has.
    odd = ([0xE7, 0x85], [0x80, 0x41], [0xF8, 0x41, 0xED, 0xA0, 0x80], [0xE7, 0x85, 0x41, 0xC3])
    spelled += [[ids[_symbols()[byte]] for byte in text] for text in odd]
    spelled += [[0, *spelled[1]], [*spelled[1], ids["Ġa"], 0, len(ids)]]
    recording.add("answer_text", [{"ids": said, "text": words.text(tuple(said))} for said in spelled])
    answers = [tuple(said) for said in spelled if said]
    answers += [(*said, _STOP) for said in answers]
    recording.add("answer", [_critique(said, words) for said in answers])


def _critique(ids: tuple[int, ...], words: Vocabulary) -> dict[str, Any]:
    critique = critique_of(ids, (_STOP,), words, 0)
    return {"stops": [_STOP], **critique.model_dump(mode="json", exclude={"seconds"})}


def _symbols() -> list[str]:
    """Return the printable symbol of each byte in byte-level BPE (Radford et al., 2019)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _numbered() -> dict[str, int]:
    """Return the words by their text: two special ones, one for each byte, and one of two bytes."""
    return {word: number for number, word in enumerate((*_SPECIAL, *_symbols(), "Ġa"))}


def _vocabulary() -> bytes:
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": n, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for n, word in enumerate(_SPECIAL)
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": _numbered(), "merges": [["Ġ", "a"]]},
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False).encode()
