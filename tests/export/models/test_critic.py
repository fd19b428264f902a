"""What the critic says has the contract's shapes and ranges, and comes from each photo alone."""

import pytest
import torch
from torch import Tensor

from pocketcrafter.export.models.critic import FORESEEABLE, VECTOR_DIM, Critic, CriticConfig, Ensemble, Judgement
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import CROP_PX, CROPS, POCKET_SPECS, TOKEN_DIM, TOKENS, VIEW_PX, Pocket

SPEC = POCKET_SPECS[Pocket.CRITIC]


@pytest.fixture(scope="module")
def critic() -> Critic:
    torch.manual_seed(0)
    return Critic().eval().requires_grad_(False)


def photos(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    view = torch.rand(count, 3, VIEW_PX, VIEW_PX, generator=generator)
    return view, torch.rand(count * CROPS, 3, CROP_PX, CROP_PX, generator=generator)


def test_outputs_are_the_contracts(critic: Critic) -> None:
    said = critic(*photos(1))
    assert Judgement._fields == tuple(o.name for o in SPEC.outputs)
    for tensor, output in zip(said, SPEC.outputs, strict=True):
        assert tuple(tensor.shape) == output.shape
        assert torch.isfinite(tensor).all()
        if output.minimum is not None and output.maximum is not None:
            assert output.minimum <= float(tensor.min())
            assert float(tensor.max()) <= output.maximum


def test_the_scene_has_unit_length(critic: Critic) -> None:
    said = Judgement(*critic(*photos(3)))
    torch.testing.assert_close(said.scene.norm(dim=1), torch.ones(3), atol=1e-3, rtol=0)


def test_stored_evidence_gives_the_same_judgement(critic: Critic) -> None:
    inputs = photos(2)
    evidence = critic.evidence(*inputs)
    assert evidence.shape == (2, VECTOR_DIM)
    torch.testing.assert_close(critic(*inputs), tuple(critic.judge(evidence)))


def test_an_ensemble_says_the_mean_and_hands_on_all_tokens() -> None:
    torch.manual_seed(1)
    ensemble = Ensemble(CriticConfig(hidden=16, judges=3)).eval()
    vector = torch.randn(2, VECTOR_DIM)
    with torch.inference_mode():
        said, single = ensemble(vector), [judge(vector) for judge in ensemble.judges]
    torch.testing.assert_close(said.plan, torch.stack([s.plan for s in single]).mean(0))
    assert said.tokens.shape == (2, 3 * TOKENS, TOKEN_DIM)
    torch.testing.assert_close(said.tokens[:, TOKENS : 2 * TOKENS], single[1].tokens)


def test_each_photo_of_a_batch_is_judged_from_its_own_crops(critic: Critic) -> None:
    view, crops = photos(2)
    together = critic(view, crops)
    for i in range(2):
        alone = critic(view[i : i + 1], crops[i * CROPS : (i + 1) * CROPS])
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], atol=1e-4, rtol=1e-3)


def test_the_order_of_the_crops_does_not_matter(critic: Critic) -> None:
    view, crops = photos(1)
    torch.testing.assert_close(critic(view, crops), critic(view, crops.flip(0)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_photo_of_one_color_is_judged_too(critic: Critic, level: float) -> None:
    view, crops = photos(1)
    said = critic(torch.full_like(view, level), torch.full_like(crops, level))
    assert all(torch.isfinite(tensor).all() for tensor in said)


def test_what_cannot_be_foreseen_is_left_alone(critic: Critic) -> None:
    said = Judgement(*critic(*photos(2)))
    for index, attribute in enumerate(Attribute):
        silent = bool((said.plan[:, index] == 0).all() and (said.presence[:, index] == 0).all())
        assert silent == (attribute not in FORESEEABLE)
