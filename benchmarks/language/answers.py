"""Greedy answers of a bundle's language model beside its checkpoint's, word by word."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import Config

PROMPTS: Final = Path(__file__).parent / "prompts.txt"
"""Questions, one a line."""
Read = Callable[[Sequence[int]], FloatArray]
"""Reads further words of one text; returns the logits of what follows."""


class Agreement(Config):
    """How a bundle answers the questions, beside what its checkpoint says."""

    words: int = Field(ge=1, description="Of all answers of the checkpoint, each ended by itself or by its length.")
    followed: float = Field(ge=0, le=1, description="Share chosen alike, given the same words before each.")
    written: float = Field(ge=0, le=1, description="Share of the words before an answer first differs, left to itself.")
    equal: int = Field(ge=0, description="Answers that are equal from end to end, left to themselves.")
    answers: int = Field(ge=1)


@torch.no_grad()
def library_answers(folder: Path, longest: int) -> list[tuple[list[int], list[int]]]:
    """Return ids of each question, in the checkpoint's chat template if it has one, and of transformers' greedy answer.

    Parameters
    ----------
    folder
        A causal language model and its tokenizer.
    longest
        Most words of an answer.
    """
    transformers: Any = importlib.import_module("transformers")
    words = transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()
    found = []
    for question in PROMPTS.read_text(encoding="utf-8").splitlines():
        if words.chat_template:
            said = [{"role": "user", "content": question}]
            prompt = words.apply_chat_template(said, add_generation_prompt=True, return_dict=True)["input_ids"]
        else:
            prompt = words(question)["input_ids"]
        given = torch.tensor([prompt])
        made = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=longest, do_sample=False, num_beams=1
        )
        found.append((list(prompt), made[0, len(prompt) :].tolist()))
    return found


def compare_answers(answers: Sequence[tuple[list[int], list[int]]], begin: Callable[[], Read]) -> Agreement:
    """Hold a language model against answers.

    Parameters
    ----------
    answers
        Ids of prompts and of what is to follow.
    begin
        Opens an empty text.
    """
    alike = []
    for prompt, answer in answers:
        read = begin()
        chosen = [int(read(prompt).argmax()), *(int(read([word]).argmax()) for word in answer[:-1])]
        alike.append([ours == theirs for ours, theirs in zip(chosen, answer, strict=True)])
    # Left to itself it writes the same words up to the first that it chooses otherwise.
    before = [each.index(False) if False in each else len(each) for each in alike]
    total = sum(map(len, alike))
    return Agreement(
        answers=len(alike),
        words=total,
        followed=sum(map(sum, alike)) / total,
        written=sum(before) / total,
        equal=sum(map(all, alike)),
    )
