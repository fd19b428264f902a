"""Folds BatchNorm into convolutions before export, including the residual case that PT2E's own folding gets wrong."""

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.fx import Node, symbolic_trace
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pocketcrafter.runtime.errors import ConfigError


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """Return an equivalent model in evaluation mode without any ``BatchNorm2d``.

    A BatchNorm is folded into the convolution before it if nothing else reads that convolution's output. Where the
    output has another reader, such as a residual, folding would change what that reader gets: the BatchNorm becomes a
    1×1 depthwise convolution, as it does where no convolution comes before.

    Parameters
    ----------
    model
        Not modified. A model without ``BatchNorm2d`` is only copied; any other must be traceable by ``torch.fx``.
        The copy shares the memory of all parameters that are not folded: large models are not held twice.

    Returns
    -------
    torch.nn.Module
        A copy with the same structure and module names.

    Raises
    ------
    ConfigError
        If ``torch.fx`` cannot trace a model that has BatchNorm.
    """
    shared: dict[int, object] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
    folded = copy.deepcopy(model, shared).eval()
    norms = {name: m for name, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)}
    if not norms:
        return folded
    pairs = _exclusive_pairs(folded)
    for name, norm in norms.items():
        if name in pairs:
            convolution = folded.get_submodule(pairs[name])
            if not isinstance(convolution, nn.Conv2d):
                raise TypeError(f"{pairs[name]} is not a Conv2d")
            folded.set_submodule(pairs[name], fuse_conv_bn_eval(convolution, norm))
            folded.set_submodule(name, nn.Identity())
        else:
            folded.set_submodule(name, _as_convolution(norm))
    return folded


def _exclusive_pairs(model: nn.Module) -> dict[str, str]:
    """Map each BatchNorm that may be folded to the convolution before it; both are called exactly once."""
    try:
        graph = symbolic_trace(model).graph
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__} has BatchNorm but torch.fx cannot trace it ({error}): fold BatchNorm into the "
            "convolutions when the model is built."
        ) from error
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    pairs = {}
    for node in graph.nodes:
        if not _calls(node, nn.BatchNorm2d, model) or not isinstance(node.args[0], Node):
            continue
        before = node.args[0]
        alone = len(before.users) == 1 and calls[str(node.target)] == 1 and calls[str(before.target)] == 1
        if alone and _calls(before, nn.Conv2d, model):
            pairs[str(node.target)] = str(before.target)
    return pairs


def _calls(node: Node, kind: type[nn.Module], model: nn.Module) -> bool:
    return node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), kind)


def _as_convolution(norm: nn.BatchNorm2d) -> nn.Conv2d:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ConfigError("A BatchNorm2d without running statistics cannot be folded: train it with them.")
    scale, shift = _affine(norm, mean, variance)
    channels = norm.num_features
    convolution = nn.Conv2d(channels, channels, 1, groups=channels, dtype=mean.dtype, device=mean.device)
    convolution.weight = nn.Parameter(scale.reshape(-1, 1, 1, 1), requires_grad=False)
    convolution.bias = nn.Parameter(shift, requires_grad=False)
    return convolution.eval()


def _affine(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        scale = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        shift = -mean * scale
        return scale, shift + norm.bias if norm.affine else shift
