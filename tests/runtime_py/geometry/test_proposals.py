"""The grid of boxes: inside the photo, of the right aspects, the same every time."""

from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime.geometry.proposals import LEAST_SIDE_PX, Aspect, proposals
from pocketcrafter.runtime.plan import CropBox

sides = st.integers(1, 5000)


def size(box: CropBox) -> tuple[int, int]:
    return box.right - box.left, box.bottom - box.top


@given(sides, sides)
def test_boxes_lie_in_the_photo_and_none_comes_twice(width: int, height: int) -> None:
    boxes = [p.box for p in proposals(width, height)]
    assert boxes[0] == CropBox(left=0, top=0, right=width, bottom=height)
    assert len(set(boxes)) == len(boxes)
    for box in boxes[1:]:
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        assert min(size(box)) >= LEAST_SIDE_PX
    assert proposals(width, height) == proposals(width, height)


@given(sides, sides)
def test_a_reference_is_proposed_too_is_centered_and_as_large(width: int, height: int) -> None:
    found = proposals(width, height)
    boxes = {p.box for p in found}
    for proposal in found:
        reference = proposal.reference
        assert reference in boxes
        assert size(reference) == size(proposal.box)
        assert abs(reference.left + reference.right - width) <= 1
        assert abs(reference.top + reference.bottom - height) <= 1


@given(st.integers(200, 5000), st.integers(200, 5000))
def test_aspects_are_what_they_are_called_and_lie_as_the_photo_does(width: int, height: int) -> None:
    ratios = {Aspect.ORIGINAL: width / height, Aspect.SQUARE: 1.0, Aspect.FIVE_FOUR: 1.25 if width >= height else 0.8}
    for proposal in proposals(width, height):
        across, down = size(proposal.box)
        # Half a pixel of rounding on each side.
        assert abs(across - ratios[proposal.aspect] * down) <= 0.5 + 0.5 * ratios[proposal.aspect] + 1e-6


def test_a_square_photo_has_no_second_square() -> None:
    assert {p.aspect for p in proposals(600, 600)} == {Aspect.ORIGINAL, Aspect.FIVE_FOUR}
