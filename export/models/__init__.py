"""The default pair's networks in torch, and their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pocketcrafter.export.models.critic import Critic
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.models.tone import Tone
from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.errors import ConfigError

MODELS: Final[Mapping[Component, type[nn.Module]]] = {
    Component.CRITIC: Critic,
    Component.TONE: Tone,
    Component.RESTORE: Restore,
    Component.DECODER: Decoder,
}


def load_component(component: Component, weights: Path) -> nn.Module:
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
    model = MODELS[component]()
    try:
        state = {name: tensor.float() for name, tensor in load_file(weights).items()}
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{weights} does not hold weights of the {component} ({reason}); train it again.") from error
    return model.eval().requires_grad_(False)


def save_component(model: nn.Module, weights: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a component's weights as float16 safetensors, through a temporary file.

    Parameters
    ----------
    model, weights
        What to write, and where.
    facts
        What else to record in the file's header: what the weights were trained with.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    temporary = weights.with_suffix(".tmp")
    state = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, temporary, dict(facts or {}))
    temporary.replace(weights)
