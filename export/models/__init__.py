"""The networks in torch: the default pair's, the latent studio's, and the layout of language models to lower."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from pocketcrafter.export.models.composition import Composition
from pocketcrafter.export.models.critic import Critic, CriticConfig
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.estimator import Estimator
from pocketcrafter.export.models.plan_judge import PlanJudge
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.export.models.tone import Tone
from pocketcrafter.export.shipped import not_installed
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.validation import check_json

MODELS: Final[Mapping[str, type[nn.Module]]] = {
    Pocket.CRITIC: Critic,
    Pocket.TONE: Tone,
    Pocket.RESTORE: Restore,
    Pocket.COMPOSITION: Composition,
    Pocket.DECODER: Decoder,
    Pocket.JUDGE: PlanJudge,
}

ESTIMATOR: Final = "estimator"
_NETWORKS: Final[Mapping[str, type[nn.Module]]] = {**MODELS, ESTIMATOR: Estimator}
"""Components, and what one of them has inside."""
_CONFIG: Final = "config"
_Network = TypeVar("_Network", bound=nn.Module)


def load_component(component: str, weights: Path) -> nn.Module:
    """Build a component with its weights: float32, in evaluation mode, on the CPU, nothing trainable.

    Parameters
    ----------
    component
        Which one.
    weights
        A safetensors file as `save_component` writes it.

    Raises
    ------
    ConfigError
        If the file is missing, damaged, or holds another component's weights.
    """
    try:
        model = _build(component, weights)
        state = {name: tensor.float() for name, tensor in load_file(weights).items()}
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        advice = not_installed(weights) or "Train it again."
        raise ConfigError(f"{weights} does not hold weights of the {component} ({reason}). {advice}") from error
    return model.eval().requires_grad_(False)


def critic_network(weights: Path) -> Critic:
    """Load a critic of any size; arguments and errors as in `load_component`."""
    return _expect(Critic, load_component(Pocket.CRITIC, weights))


def estimator_network(weights: Path) -> Estimator:
    """Load an estimator, which a critic has inside; arguments and errors as in `load_component`."""
    if not weights.exists():
        raise ConfigError(f"{weights}: no estimator; train one with `pocketcrafter train estimator`.")
    return _expect(Estimator, load_component(ESTIMATOR, weights))


def restore_network(weights: Path) -> Restore:
    """Load a restoration network of any size; arguments and errors as in `load_component`."""
    return _expect(Restore, load_component(Pocket.RESTORE, weights))


def decoder_network(weights: Path) -> Decoder:
    """Load a decoder; arguments and errors as in `load_component`."""
    return _expect(Decoder, load_component(Pocket.DECODER, weights))


def _expect(kind: type[_Network], model: nn.Module) -> _Network:
    if not isinstance(model, kind):
        raise TypeError(type(model))
    return model


def _build(component: str, weights: Path) -> nn.Module:
    with safe_open(weights, framework="pt") as file:
        config = (file.metadata() or {}).get(_CONFIG, "{}")
    if component == Pocket.RESTORE:
        where = f"{weights}: no restoration network of a known form (train it again)"
        return Restore(check_json(RestoreConfig, config, where))
    if component == Pocket.CRITIC:
        return Critic(check_json(CriticConfig, config, f"{weights}: no critic of a known form (train it again)"))
    return _NETWORKS[component]()


def save_component(model: nn.Module, weights: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a component's weights as float16 safetensors, through a temporary file.

    Parameters
    ----------
    model, weights
        What to write, and where.
    facts
        What else to record in the file's header: what the weights were trained with.
    """
    state = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    header = dict(facts or {})
    if isinstance(model, Restore | Critic):
        header[_CONFIG] = model.config.model_dump_json()
    write_bytes(weights, save(state, header))


def weights_facts(weights: Path) -> dict[str, str]:
    """Return what a weights file's header records.

    Raises
    ------
    ConfigError
        If it is missing or damaged.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{weights}: not weights that were trained ({error}).") from error
