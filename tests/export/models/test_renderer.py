"""The torch renderer does what the runtime's does, and can be differentiated everywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pocketcrafter.export.models.renderer import render
from pocketcrafter.runtime.plan import TONAL, UNITS, Attribute, EditPlan, attribute_limits
from pocketcrafter.runtime.render import render as render_numpy

LIMITS = dict(zip(Attribute, zip(*attribute_limits(), strict=True), strict=True))
CORNERS = torch.tensor(
    np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1], [0, 0.5, 1])).reshape(1, 3, 1, 27), dtype=torch.float32
)


@st.composite
def tonal_plans(draw: st.DrawFn, reach: float = 1.0) -> EditPlan:
    return EditPlan(**{a.value: draw(st.floats(LIMITS[a][0] * reach, LIMITS[a][1] * reach)) for a in TONAL})


def both(plan: EditPlan, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    batch = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy())
    rendered = render(torch.from_numpy(plan.vector()[None]), batch)
    return rendered[0].numpy().transpose(1, 2, 0), render_numpy(plan, picture)


@given(plan=tonal_plans(), seed=st.integers(0, 2**31))
@settings(max_examples=300)
def test_it_equals_the_runtime(plan: EditPlan, seed: int) -> None:
    picture = np.random.default_rng(seed).random((8, 9, 3), dtype=np.float32)
    picture[0, :3] = [[0, 0, 0], [1, 1, 1], [0, 1, 0.04045]]
    ours, theirs = both(plan, picture)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_empty_plan_changes_nothing() -> None:
    torch.testing.assert_close(render(torch.zeros(1, len(Attribute)), CORNERS), CORNERS, atol=1e-5, rtol=0)


def test_each_plan_of_a_batch_meets_its_own_picture() -> None:
    plans = torch.from_numpy(np.stack([EditPlan(exposure_ev=1).vector(), EditPlan(saturation=-1).vector()]))
    pictures = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    together = render(plans, pictures)
    for i in range(2):
        torch.testing.assert_close(together[i], render(plans[i : i + 1], pictures[i : i + 1])[0])


@given(tonal_plans())
def test_gradients_are_finite_even_at_black_and_white(plan: EditPlan) -> None:
    vector = torch.from_numpy(plan.vector()[None]).requires_grad_()
    picture = CORNERS.clone().requires_grad_()
    render(vector, picture).square().sum().backward()
    assert vector.grad is not None
    assert torch.isfinite(vector.grad).all()
    assert picture.grad is not None
    assert torch.isfinite(picture.grad).all()


@pytest.mark.parametrize("attribute", TONAL)
def test_a_plan_can_be_found_from_its_picture(attribute: Attribute) -> None:
    """Guards every attribute's gradient: descent from nothing arrives at the amount that made the target."""
    index = list(Attribute).index(attribute)
    true = torch.zeros(1, len(Attribute))
    true[0, index] = 0.3
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    target = render(true, picture)
    found = torch.full((1, 1), 0.05).requires_grad_()
    optimizer = torch.optim.Adam([found], 0.03)
    select = torch.nn.functional.one_hot(torch.tensor([index]), len(Attribute)).float()
    for _ in range(120):
        optimizer.zero_grad()
        (render(found * select, picture) - target).square().mean().backward()
        optimizer.step()
    assert found.item() == pytest.approx(0.3, abs=0.02)


def test_vector_units_are_the_plans() -> None:
    picture: Tensor = torch.full((1, 3, 1, 1), 0.5)
    one_unit = torch.zeros(1, len(Attribute))
    one_unit[0, 0] = 1 / UNITS[0]
    expected = render_numpy(EditPlan(exposure_ev=1), np.full((1, 1, 3), 0.5, np.float32))
    np.testing.assert_allclose(render(one_unit, picture).numpy().ravel(), expected.ravel(), atol=1e-5)
