"""Asks a vision-language model of transformers: prompt, greedy answer, and the hidden states of all that was read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer, BatchFeature, Qwen2VLImageProcessor

from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.teachers.layout import Found
from pocketcrafter.export.teachers.loading import load_network
from pocketcrafter.export.teachers.teacher import Critique
from pocketcrafter.runtime.arrays import FloatArray

IdArray: TypeAlias = npt.NDArray[np.int32]

PICTURE: Final = "<|image_pad|>"
"""The word that stands for a picture's places."""


class PillowProcessor:
    """Words and pictures for Qwen's vision-language models, as ``Qwen2VLProcessor`` joins them.

    Pictures go through the image processor over Pillow, which the releases' configurations name; transformers' joint
    class would need torchvision for videos, which nobody asks of.

    Parameters
    ----------
    words, pictures
        Folders of the tokenizer and of the image processor's configuration.
    """

    def __init__(self, words: Path, pictures: Path) -> None:
        load: Any = AutoTokenizer.from_pretrained
        self.tokenizer: Any = load(words, local_files_only=True)
        self.image_processor: Any = Qwen2VLImageProcessor.from_pretrained(pictures, local_files_only=True)

    def __call__(
        self, text: Sequence[str], images: Sequence[Image.Image] | None = None, *, return_tensors: str = "pt",
        **words: Any,  # noqa: ANN401 - the tokenizer's
    ) -> BatchFeature:  # fmt: skip
        """Return ids and mask, and of pictures patches and grids; a picture's word is repeated for each of its places.

        Parameters
        ----------
        text
            One for each row of the batch.
        images
            In the order of their words; Pillow's.
        return_tensors
            As for transformers' processors.
        words
            Options of the tokenizer: ``padding``, ``add_special_tokens``.
        """
        shown = self.image_processor(images=list(images), return_tensors=return_tensors) if images else {}
        grids = iter(shown["image_grid_thw"].prod(-1).tolist() if images else ())
        merged = self.image_processor.merge_size**2
        spread = [re.sub(re.escape(PICTURE), lambda _: PICTURE * (next(grids) // merged), row) for row in text]
        return BatchFeature({**self.tokenizer(spread, return_tensors=return_tensors, **words), **shown})


def processor_of(kind: str, folder: Path) -> Any:  # noqa: ANN401 - the libraries are untyped
    """Return what makes a model's inputs of words and pictures.

    Parameters
    ----------
    kind
        The model's class.
    folder
        Of its tokenizer and processor.

    Raises
    ------
    CheckpointError
        If transformers cannot load it here.
    """
    if kind.startswith("Qwen"):
        return PillowProcessor(folder, folder)
    load: Any = AutoProcessor.from_pretrained
    try:
        return load(folder, local_files_only=True)
    except Exception as error:  # transformers raises whatever it meets
        raise CheckpointError(f"{folder}: the processor of {kind} cannot be loaded here: {error}") from error


class VisionLanguageCritic:
    """A vision-language model with its words and its picture processor.

    Parameters
    ----------
    found
        Where it lies.
    dtype
        Of its weights.
    device
        As torch names it.
    special
        Whether special words stay in the text: a release may mark parts of its answer with words that it added.
    """

    def __init__(self, found: Found, dtype: torch.dtype, device: str, *, special: bool = False) -> None:
        self._model, self._special = load_network(found, dtype, device), special
        self._processor = processor_of(found.kind, found.path)
        self._words = self._processor.tokenizer
        # Rows of a batch then end with their prompts, and their answers begin at one place.
        self._words.padding_side = "left"
        self._words.pad_token = self._words.pad_token or self._words.eos_token

    def inputs(self, photos: Sequence[Image.Image], prompt: str) -> BatchFeature:
        """Return what the model reads: for each photo one turn of the user, of a picture and words.

        Parameters
        ----------
        photos
            The pictures, one a row; shorter rows are padded in front, so that all answers begin at one place.
        prompt
            The words.
        """
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        text = self._words.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        # A template may write the word that begins a text, which the tokenizer would write once more.
        begins = self._words.bos_token
        further = begins is None or not text.startswith(begins)
        made: BatchFeature = self._processor(
            text=[text] * len(photos),
            images=[[photo] for photo in photos],
            return_tensors="pt",
            padding=len(photos) > 1,
            add_special_tokens=further,
        )
        return made

    def answers(self, photos: Sequence[Image.Image], prompt: str, most: int) -> list[Critique]:
        """Let it answer of several photos at once, greedily.

        Parameters
        ----------
        photos
            The pictures.
        prompt
            The words.
        most
            Most words of an answer.
        """
        model, inputs = self._model, self.inputs(photos, prompt)
        given = {name: value.to(model.device) for name, value in inputs.items()}
        given["pixel_values"] = given["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            made = model.generate(
                **given,
                max_new_tokens=most,
                do_sample=False,
                num_beams=1,
                output_hidden_states=True,
                return_dict_in_generate=True,
            )
        begin = inputs["input_ids"].shape[1]
        # The first entry is of the whole prompt, the picture's places too; one more of each word but the last.
        hidden = torch.cat([states[-1] for states in made.hidden_states], 1).float().cpu().numpy()
        answers = made.sequences[:, begin:].int().cpu().numpy()
        prompts = inputs["input_ids"].int().numpy()
        padded = (begin - inputs["attention_mask"].sum(1)).tolist()
        return [self._critique(prompts[row, pad:], answers[row], hidden[row, pad:]) for row, pad in enumerate(padded)]

    def _critique(self, prompt: IdArray, ids: IdArray, hidden: FloatArray) -> Critique:
        # Where others of the batch answered longer, words of no meaning follow the one that ends an answer.
        ends = np.flatnonzero(np.isin(ids, self._model.generation_config.eos_token_id or ()))
        ids = ids[: ends[0] + 1] if ends.size else ids
        return Critique(self._decoded(ids), prompt, ids, np.ascontiguousarray(hidden[: len(prompt) + len(ids) - 1]))

    def _decoded(self, ids: Any) -> str:  # noqa: ANN401 - an array
        text = str(self._words.decode(ids, skip_special_tokens=not self._special))
        return text.replace(str(self._words.eos_token), "").strip() if self._special else text.strip()
