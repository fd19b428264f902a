"""The decoder's single steps are transformers' Llama over the whole prefix."""

import pytest
import torch
from torch import Tensor

from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.llama import ProseLlama, as_decoder, as_llama, shared_parts
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_CACHE, PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM, TOKENS
from pocketcrafter.runtime.prose.prompt import plan_word
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS

LENGTH = 40


@pytest.fixture(scope="module")
def trained() -> ProseLlama:
    """A model whose weights are large enough for its attention to choose."""
    torch.manual_seed(0)
    model = ProseLlama().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(3)
    return model


@pytest.fixture(scope="module")
def prefix() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, TOKENS, TOKEN_DIM, generator=generator)
    return tokens, torch.randint(0, PROSE_WORDS, (1, LENGTH), generator=generator)


def stepped(decoder: Decoder, tokens: Tensor, words: Tensor) -> Tensor:
    """Return the logits after each word, one step at a time."""
    caches = [torch.zeros(PROSE_CACHE) for _ in range(2 * PROSE_LAYERS)]
    positions, vocabulary = torch.eye(PROSE_LENGTH), torch.eye(PROSE_WORDS)
    logits = []
    with torch.no_grad():
        for index in range(TOKENS + words.shape[1]):
            soft = tokens[:, index] if index < TOKENS else torch.zeros(1, TOKEN_DIM)
            word = torch.zeros(1, PROSE_WORDS) if index < TOKENS else vocabulary[words[:, index - TOKENS]]
            said, keys, values = decoder(word, soft, positions[index : index + 1], *caches)
            for cache, row in zip(caches, (*keys, *values), strict=True):
                cache[:, index : index + 1] = row
            logits.append(said)
    return torch.cat(logits[TOKENS:])


def test_steps_equal_the_whole_prefix(trained: ProseLlama, prefix: tuple[Tensor, Tensor]) -> None:
    whole = trained(*prefix)[0]
    steps = stepped(as_decoder(trained), *prefix)
    assert float(whole.std()) > 0.5, "a model that says nothing would pass for any other"
    assert float((steps - whole).abs().max()) < 1e-3


def test_nothing_from_a_position_on_is_read_of_its_caches(trained: ProseLlama) -> None:
    """What lies there, garbage of an earlier critique, must not change the step."""
    decoder = as_decoder(trained)
    word, position = torch.eye(PROSE_WORDS)[7:8], torch.eye(PROSE_LENGTH)[2:3]
    clean, dirty, other = (torch.zeros(PROSE_CACHE) for _ in range(3))
    dirty[:, 2:] = 50
    other[:, 1] = 1
    with torch.no_grad():
        said = [
            decoder(word, torch.zeros(1, TOKEN_DIM), position, *[cache] * 2 * PROSE_LAYERS)
            for cache in (clean, dirty, other)
        ]
    for of_clean, of_dirty in zip(said[0], said[1], strict=True):
        torch.testing.assert_close(of_clean, of_dirty)
    assert not torch.allclose(said[0][0], said[2][0]), "what lies before it is read"


def test_conversion_there_and_back_changes_nothing(trained: ProseLlama, prefix: tuple[Tensor, Tensor]) -> None:
    back = as_llama(as_decoder(trained))
    torch.testing.assert_close(back(*prefix), trained(*prefix), atol=1e-4, rtol=0)


def test_words_of_a_plan_share_attribute_amount_and_sign() -> None:
    shares = shared_parts()

    def parts(attribute: Attribute, amount: float | None) -> set[int]:
        return set(shares[SPECIAL_WORDS.index(plan_word(attribute, amount))].nonzero().flatten().tolist())

    assert len(parts(Attribute.CONTRAST, 0.3) & parts(Attribute.SHADOWS, 0.3)) == 3
    assert len(parts(Attribute.CONTRAST, 0.3) & parts(Attribute.CONTRAST, -0.3)) == 3
    assert parts(Attribute.TINT, None) != parts(Attribute.TINT, 0.0)
    assert not shares[len(SPECIAL_WORDS) :].any()
