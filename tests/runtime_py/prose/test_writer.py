"""Whatever the decoder wants to say, what is written is a critique of this plan, and fits."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_LENGTH, TOKEN_DIM, TOKENS
from pocketcrafter.runtime.prose.prompt import LADDERS, StatedPlan
from pocketcrafter.runtime.prose.tokenizer import Mark, Words
from pocketcrafter.runtime.prose.writer import Writer

NO_TOKENS = np.zeros((1, TOKENS, TOKEN_DIM), np.float32)
PLANS = st.fixed_dictionaries({a: st.sampled_from([None, *LADDERS[a]]) for a in Attribute})


@settings(max_examples=30)
@given(plan=PLANS, score=st.floats(-5, 105), mode=st.sampled_from(Mode), seed=st.integers(0, 99), data=st.data())
def test_nothing_malformed_can_be_written(
    words: Words, babbler: Callable, plan: StatedPlan, score: float, mode: Mode, seed: int, data: st.DataObject
) -> None:
    """Darlings are words that a mindless decoder asks for again and again: they must break nothing."""
    darling = data.draw(st.none() | st.integers(0, len(words.texts) - 1))
    session = babbler(seed, darling)
    written = Writer(session, words).write(NO_TOKENS, plan, score, mode)
    assert written.prose.score == round(min(max(score, 0), 100))
    assert written.prose.text.count(Mark.ITEM) == max(1, sum(1 for amount in plan.values() if amount))
    assert written.steps <= PROSE_LENGTH
    assert all(thought.endswith(".") for thought in written.prose.thoughts)
    edits = {(said.attribute, said.direction, said.amount) for said in written.prose.instructions}
    assert edits == {(a, 1 if amount > 0 else -1, abs(amount)) for a, amount in plan.items() if amount}
    assert written.prose.unread == ()
    assert session.positions == list(range(written.steps))


def test_the_same_photo_is_told_the_same_way(words: Words, babbler: Callable) -> None:
    plan = {a: LADDERS[a][-1] for a in Attribute}
    first, second = (Writer(babbler(3, None), words).write(NO_TOKENS, plan, 40, Mode.FULL) for _ in range(2))
    assert first.ids == second.ids


def test_a_plan_of_everything_fits(words: Words, babbler: Callable) -> None:
    """The longest outline there is, told by a decoder that never ends a sentence of itself."""
    letter = words.ids["e"]
    plan = {a: LADDERS[a][-1] for a in Attribute}
    written = Writer(babbler(0, letter), words).write(NO_TOKENS, plan, 100, Mode.FULL)
    assert written.prose.text.count(Mark.ITEM) == len(Attribute)


def test_tokens_of_another_shape_are_refused(words: Words, babbler: Callable) -> None:
    with pytest.raises(ShapeMismatchError, match="Plan tokens"):
        Writer(babbler(0, None), words).write(NO_TOKENS[:, :2], dict.fromkeys(Attribute), 50, Mode.SHORT)
