"""Critiques of any origin are read: well-formed ones to numbers, others to an error that says what is wrong."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.parse import MAX_CHARACTERS, Instruction, Prose, ProseError, parse_prose
from pocketcrafter.runtime.prose.wording import INSTRUCTIONS, Fault

GOOD = """<think>
1. Noise and blur need no correction.
2. The frame is clearly underexposed.
3. Not assessed.
4. Not assessed.
5. Brighten it.
</think>
<edit_start>
- Raise exposure by 0.8 EV.
- Turn the moon around.
</edit_end>
<answer>46</answer>"""


def test_a_critique_is_read_as_numbers() -> None:
    prose = parse_prose(GOOD)
    assert prose.thoughts[1] == "The frame is clearly underexposed."
    assert prose.faults == (Instruction(attribute=Attribute.EXPOSURE, direction=1, amount=None),)
    assert prose.instructions == (Instruction(attribute=Attribute.EXPOSURE, direction=1, amount=0.8),)
    assert prose.unread == ("Turn the moon around.",)
    assert prose.score == 46


def test_a_second_opener_closes_the_edit_block_too() -> None:
    other = GOOD.replace("</edit_end>", "<edit_start>")
    assert parse_prose(other).instructions == parse_prose(GOOD).instructions


@pytest.mark.parametrize("ending", ["<answer>46", "<answer> 46.5 </answer> bye", "\n\n<answer>46</answer>"])
def test_the_answer_is_read_however_it_is_closed(ending: str) -> None:
    assert parse_prose(GOOD.replace("<answer>46</answer>", ending)).score == 46


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<think>", "", "<think> is missing"),
        ("</think>", "", "not closed"),
        ("<edit_start>", "", "<edit_start> is missing"),
        ("</edit_end>", "", "</edit_end> or <edit_start> is missing"),
        ("- Raise exposure by 0.8 EV.\n- Turn the moon around.\n", "", "edit block is empty"),
        ("3. Not assessed.\n", "", "numbered 1 to 5"),
        ("2. The", "6. The", "numbered 1 to 5"),
        ("<answer>46", "<answer>146", "no answer"),
        ("<answer>46", "<answer>\N{ARABIC-INDIC DIGIT FOUR}\N{ARABIC-INDIC DIGIT TWO}", "no answer"),
        ("<answer>46</answer>", "", "no answer"),
        ("- Turn the moon around.", "- a\n" * 65, "66 lines|67 lines"),
        ("<think>", "<think>" + "x" * MAX_CHARACTERS, "characters"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, told: str) -> None:
    with pytest.raises(ProseError, match=told):
        parse_prose(GOOD.replace(old, new))


_PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<edit_start>",
        "</edit_end>",
        "<answer>",
        "</answer>",
        "\n",
        "1. ",
        "2. a",
        "- ",
        "99",
        "²",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=8), max_size=40).map("".join))
@example("<think><edit_start></think>1. <edit_start>")
@example("<answer>99999999999999999999</answer>")
def test_hostile_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        prose = parse_prose(text)
    except ProseError:
        return
    assert Prose.model_validate_json(prose.model_dump_json()) == prose


@given(st.text(alphabet="<>/think12345. \n", max_size=3000))
def test_no_text_takes_long(text: str) -> None:
    with pytest.raises(ProseError):
        parse_prose(text + "<think>")


@pytest.mark.parametrize("fault", INSTRUCTIONS, ids=str)
def test_every_instruction_is_read_as_what_it_says(fault: Fault) -> None:
    for template in INSTRUCTIONS[fault]:
        line = template.format(amount="0.35")
        prose = parse_prose(GOOD.replace("Turn the moon around.", line))
        assert prose.instructions[-1] == Instruction(attribute=fault[0], direction=fault[1], amount=0.35)
