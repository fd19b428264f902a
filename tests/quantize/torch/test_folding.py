import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.quantize.torch.folding import fold_batchnorm
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db


def _trained(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    nn.init.uniform_(norm.weight, 0.2, 2)
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.2, 3)
    return norm


class ResidualOverNorm(nn.Module):
    """The convolution's output is read by the BatchNorm and by the residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = _trained(nn.BatchNorm2d(8))
        self.project = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.project(torch.relu(self.norm(y)))


class SharedConvolution(nn.Module):
    """One convolution feeds two BatchNorms in two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.first, self.second = _trained(nn.BatchNorm2d(3)), _trained(nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


def _plain() -> nn.Module:
    return nn.Sequential(
        _trained(nn.BatchNorm2d(3)), nn.Conv2d(3, 8, 3, bias=False), _trained(nn.BatchNorm2d(8)), nn.ReLU6()
    )


@pytest.mark.parametrize("build", [_plain, ResidualOverNorm, SharedConvolution])
def test_folded_model_equals_eager_and_has_no_batchnorm(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(2, 3, 16, 16)
    folded = fold_batchnorm(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        assert sqnr_db(model(x).numpy(), folded(x).numpy()) > 100


def test_the_given_model_is_left_as_it_is() -> None:
    model = _plain().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fold_batchnorm(model)
    assert model.training
    assert isinstance(model[2], nn.BatchNorm2d)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_exclusive_pair_costs_no_extra_convolution() -> None:
    folded = fold_batchnorm(nn.Sequential(nn.Conv2d(3, 8, 3), _trained(nn.BatchNorm2d(8))))
    assert sum(isinstance(m, nn.Conv2d) for m in folded.modules()) == 1


def test_untraceable_model_with_batchnorm_is_refused_with_a_reason() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) if x.sum() > 0 else x

    with pytest.raises(ConfigError, match="cannot trace"):
        fold_batchnorm(Branching())
