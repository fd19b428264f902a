"""The losses agree with their published definitions."""

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede94, rgb2lab

from pocketcrafter.export.train.losses import delta_e94


def _lab(pictures: torch.Tensor) -> np.ndarray:
    return np.asarray(rgb2lab(pictures.permute(0, 2, 3, 1).numpy()))


def test_the_color_difference_is_cie94() -> None:
    output, target = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    published = deltaE_ciede94(_lab(target), _lab(output)).mean((1, 2))
    assert delta_e94(output, target).numpy() == pytest.approx(published, rel=1e-3)


def test_equal_pictures_differ_by_next_to_nothing_and_have_a_gradient() -> None:
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    picture[..., 0], picture[..., 1] = 0, 1
    output = picture.clone().requires_grad_()
    difference = delta_e94(output, picture)
    difference.sum().backward()  # type: ignore[no-untyped-call]
    assert difference.item() < 0.02
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
