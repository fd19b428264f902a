"""Instructions are spelled with whatever words there are, and end while there is room."""

import pytest

from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.grammar import Spelling, sentences_of
from pocketcrafter.runtime.prose.prompt import Sentence, Topic, plan_word
from pocketcrafter.runtime.prose.tokenizer import Words

DARK = sentences_of(Sentence(Topic.EDIT, (plan_word(Attribute.EXPOSURE, 0.5),), (Attribute.EXPOSURE,)))


@pytest.fixture(scope="module")
def spelling(words: Words) -> Spelling:
    return Spelling(words)


def test_an_item_says_its_own_direction_or_that_nothing_is_to_be_done() -> None:
    assert DARK[0] == "Raise exposure by <amount> EV."
    bright = sentences_of(Sentence(Topic.EDIT, (plan_word(Attribute.EXPOSURE, -0.5),), (Attribute.EXPOSURE,)))
    assert not set(DARK) & set(bright)
    assert "No change." in sentences_of(Sentence(Topic.EDIT, ()))


def test_every_word_that_goes_on_leads_to_the_end_in_time(words: Words, spelling: Spelling) -> None:
    """The longest way is taken: as many words as the room allows, and never one more."""
    fewest = min(map(spelling.fewest, DARK))
    for room in (fewest, fewest + 1, fewest + 5, 60):
        said, used = "", 0
        while said not in DARK:
            choices = spelling.going_on(said, DARK, room - used)
            said += min((words.texts[n] for n in choices), key=len)
            used += 1
        assert fewest <= used <= room
    assert spelling.going_on("", DARK, fewest - 1) == []


def test_what_is_no_beginning_goes_on_with_nothing(spelling: Spelling) -> None:
    assert spelling.going_on("Lower", DARK, 60) == []
    assert spelling.fewest("\u00e9") > 60
