"""Vectors of prose: vocabulary, prompt, outline, the grammar's greedy decoding, and reading critiques back."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.pocket import PROSE_ROWS, PROSE_WORDS, TOKEN_DIM, TOKENS
from pocketcrafter.runtime.prose.parse import ProseError, parse_prose
from pocketcrafter.runtime.prose.prompt import (
    LADDERS,
    Outline,
    StatedPlan,
    nearest_step,
    outline,
    plan_word,
    prompt_words,
    score_word,
    stated_plan,
    voice_of,
)
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS, Words
from pocketcrafter.runtime.prose.wording import CLAUSES, FILLERS, INSTRUCTIONS, NO_CHANGE, STOPS, Strength, amount_text
from pocketcrafter.runtime.vectors.pictures import PLANS
from pocketcrafter.runtime.vectors.plans import GATE
from pocketcrafter.runtime.vectors.recording import Recording

VOCABULARY: Final = "tokenizer.json"
"""The vocabulary of the cases, beside them."""
_FACTS: Final = (
    (EditPlan(), 71.5),
    (EditPlan(exposure_ev=0.75, tint_mired=-12.5, denoise=0.31), 42.5),
    (EditPlan(exposure_ev=-3.2, contrast=0.125, highlights=-0.55, shadows=0.3, saturation=0.02), 0.0),
    (EditPlan(temperature_mired=33, saturation=-0.4, dehaze=0.6, deblur=0.9, dejpeg=0.2), 99.6),
)
_MULTIPLIERS: Final = (2654435761, 40503, 2246822519)


def synthetic_vocabulary() -> bytes:
    """Return a tokenizer file that holds every word that prose needs, and pieces of instructions: 1,280 words."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {b: chr(b) for b in printable}
    symbols |= {b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in set(printable))}
    lines = [line.format(amount="") for lines in (*INSTRUCTIONS.values(), NO_CHANGE) for line in lines]
    pieces = sorted({word[:size] for line in lines for word in line.split() for size in range(2, 7)})
    spelled = ["".join(symbols[b] for b in piece.encode()) for piece in (*pieces, *(f" {p}" for p in pieces))]
    words = list(dict.fromkeys((*symbols.values(), *spelled)))[: PROSE_WORDS - len(SPECIAL_WORDS)]
    content = {
        "model": {"vocab": {word: n for n, word in enumerate(words, len(SPECIAL_WORDS))}},
        "added_tokens": [{"id": n, "content": word} for n, word in enumerate(SPECIAL_WORDS)],
    }
    return json.dumps(content, ensure_ascii=False).encode()


def record_words(recording: Recording, out: Path, vocabulary: bytes) -> None:
    """Add the cases of prose, and write the vocabulary beside them.

    Parameters
    ----------
    recording
        Receives the cases.
    out
        The folder that the vocabulary goes to.
    vocabulary
        Content of a decoder's tokenizer file.

    Raises
    ------
    BundleError
        If it is no vocabulary of a decoder.
    StorageError
        If it cannot be written.
    """
    write_bytes(out / VOCABULARY, vocabulary)
    words = Words.read(out / VOCABULARY)
    recording.add("vocabulary", [{"texts": words.texts, "plain": np.flatnonzero(words.plain).tolist()}])
    rng = np.random.default_rng(5)
    said = [rng.integers(0, PROSE_WORDS, 80).tolist() for _ in range(4)]
    recording.add("text", [{"ids": ids, "text": words.text(ids)} for ids in said])
    recording.add("words_of_ladders", [_ladder(attribute) for attribute in Attribute])
    recording.add(
        "score_word", [{"score": s, "word": score_word(s)} for s in (-3.0, 0.0, 42.5, 47.5, 52.6, 100.0, 180.0)]
    )
    facts = [*_FACTS, *((plan, 13.0 * n) for n, plan in enumerate(PLANS))]
    told = [(stated_plan(plan, GATE), plan, score, mode) for plan, score in facts for mode in Mode]
    recording.add(
        "prompt",
        [
            {
                "plan": plan.model_dump(mode="json"),
                "gate": GATE.model_dump(mode="json"),
                "score": score,
                "mode": mode,
                "stated": {a.value: amount for a, amount in stated.items()},
                "voice": voice_of(stated, score),
                "words": prompt_words(stated, score, mode),
                "outline": _outlined(outline(stated, score, mode, voice_of(stated, score))),
            }
            for stated, plan, score, mode in told
        ],
    )
    recording.add(
        "decode", [_decoded(words, stated, score, mode, seed) for seed, (stated, _, score, mode) in enumerate(told)]
    )
    recording.add("parse", [_parsed(text) for text in _critiques()])


class ScriptedDecoder:
    """A decoder whose logits follow from what goes in: word, position and a seed; for the loop around decoders.

    The logit of word ``i`` at position ``p`` after word ``w`` (0 for none) is the upper 24 bits of the 32-bit integer
    ``i·2654435761 + (p·1280 + w)·40503 + seed·2246822519`` (mod 2³², then multiplied by 2246822519 mod 2³²),
    over 2²⁴: exact in float32.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run one step; keys and values stay zero."""
        word, position = int(inputs["word"].argmax()), int(inputs["position"].argmax())
        spread, mixed, seeded = (np.uint64(m) for m in _MULTIPLIERS)
        place = np.uint64(position * PROSE_WORDS + word)
        numbers = np.arange(PROSE_WORDS, dtype=np.uint64) * spread + place * mixed + np.uint64(self._seed) * seeded
        numbers = (numbers % np.uint64(1 << 32)) * seeded % np.uint64(1 << 32)
        logits = ((numbers >> np.uint64(8)).astype(np.float32) / np.float32(1 << 24))[None]
        rows = np.zeros(PROSE_ROWS, np.float32)
        return {"logits": logits, "key": rows, "value": rows}


def _ladder(attribute: Attribute) -> dict[str, Any]:
    steps = LADDERS[attribute]
    between = [(a + b) / 2 for a, b in pairwise(steps)]
    return {
        "attribute": attribute.value,
        "unassessed": plan_word(attribute, None),
        "steps": [{"amount": a, "word": plan_word(attribute, a), "text": amount_text(a)} for a in steps],
        "nearest": [{"amount": a, "step": nearest_step(attribute, a)} for a in (-1e3, *between, 0.013, 1e3)],
    }


def _outlined(told: Outline) -> dict[str, Any]:
    def sentences(some: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a tuple of sentences
        return [{"topic": s.topic, "words": s.words, "attributes": s.attributes} for s in some]

    return {"thoughts": [sentences(thought) for thought in told.thoughts], "items": sentences(told.items)}


def _decoded(words: Words, stated: StatedPlan, score: float, mode: Mode, seed: int) -> dict[str, Any]:
    # Imported late: a writer is the only thing here that knows of sessions.
    from pocketcrafter.runtime.prose.writer import Writer  # noqa: PLC0415

    written = Writer(ScriptedDecoder(seed), words).write(
        np.zeros((1, TOKENS, TOKEN_DIM), np.float32), stated, score, mode
    )
    return {
        "seed": seed,
        "stated": {a.value: amount for a, amount in stated.items()},
        "score": score,
        "mode": mode,
        "ids": written.ids,
        "choices": written.choices,
        "steps": written.steps,
        "text": written.prose.text,
    }


def _critiques() -> list[str]:
    """Return critiques that name every fault and give every instruction, and some that are none."""
    texts = []
    gaps = {name: by[Strength.CLEAR][0] for name, by in FILLERS.items()} | {"stops": next(iter(STOPS.values()))}
    for fault, clauses in CLAUSES.items():
        thought = "; ".join(clause.format(**gaps) for clause in clauses)
        edits = "".join(f"\n- {line.format(amount=0.35)}" for line in INSTRUCTIONS[fault])
        texts.append(_critique(thought.capitalize(), edits))
    good = _critique("All is fine", f"\n- {NO_CHANGE[0]}\n* Sing a song.")
    broken = [
        "",
        good.replace("<think>", ""),
        good.replace("</think>", ""),
        good.replace("</edit_end>", "<edit_start>"),
        good.replace("</edit_end>", ""),
        good.replace("3. ", "4. "),
        good.replace("2. Two.", "2.  "),
        good.replace("<answer>64", "<answer>640"),
        good.replace("</answer>", ""),
        good.replace("64</answer>", "64.25 </answer>"),
        good.replace("\n- No change.\n* Sing a song.", "\n\n"),
        good.replace("\n", "\r\n"),
        good.replace("Three.", "Three   and\ta\u2003half."),
        good + "x" * 20_001,
        _critique("Much", "\n- Dehaze: 0.5." * 65),
    ]
    return [*texts, good, *broken]


def _critique(thought: str, edits: str) -> str:
    return (
        f"<think>\n1. {thought}.\n2. Two.\n3. Three.\n4. Four.\n5. Five.\n</think>\n<edit_start>{edits}\n</edit_end>\n"
        "<answer>64</answer>"
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        return {"text": text, "prose": parse_prose(text).model_dump(mode="json")}
    except ProseError:
        return {"text": text, "prose": None}
