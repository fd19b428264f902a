"""The registry of families: which ones a recipe can be of. `docs/add-a-family.md` walks through adding one."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pocketcrafter.export.families.family import WEIGHTS, Family, Part, network_source
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.families import LATENT, NETWORKS, POCKET
from pocketcrafter.runtime.validation import nearest

if TYPE_CHECKING:
    from torch import nn

_HERE: Final = "pocketcrafter.export.families"

FAMILIES: Final[dict[str, Family]] = {
    POCKET: Family(
        recipe=f"{_HERE}.pocket.plan:PocketRecipe",
        plan=f"{_HERE}.pocket.plan:plan",
        networks=f"{_HERE}.pocket.networks:POCKET_NETWORKS",
        tools=("torch", "safetensors", "numpy", "pillow", "opencv-python-headless"),
        not_run={0: "the model card has the held-out figures", 3: "whole photos are not part of the build"},
        settings={"gate": "weights/gate.json"},
    ),
    NETWORKS: Family(
        recipe=f"{_HERE}.networks.plan:NetworksRecipe",
        plan=f"{_HERE}.networks.plan:plan",
        networks=f"{_HERE}.networks.source:CHECKPOINTS",
        tools=("torch", "safetensors", "numpy", "diffusers", "transformers", "optimum", "onnx", "onnxruntime"),
        not_run={
            0: "the checkpoint is what is built: there is no teacher",
            3: "networks alone are no pair that could be run on whole photos",
        },
    ),
    LATENT: Family(
        recipe=f"{_HERE}.latent.plan:LatentRecipe",
        plan=f"{_HERE}.latent.plan:plan",
        networks=f"{_HERE}.latent.networks:LATENT_NETWORKS",
        tools=("torch", "safetensors", "numpy", "diffusers", "transformers", "tokenizers", "pillow"),
        not_run={
            0: "the pair is what is built: there is no teacher",
            3: "whole photos are not part of the build",
        },
    ),
}
"""Every family by the name that recipes and manifests have."""


def family_of(name: str) -> Family:
    """Return how a family is built.

    Raises
    ------
    ConfigError
        If there is no such family, or this version cannot build it.
    """
    if name not in FAMILIES:
        raise ConfigError(f"There is no family `{name}` to build; {nearest(name, FAMILIES, 'families')}.")
    return FAMILIES[name]


def student_part(family: str, component: str, weights: Path) -> Part:
    """Return a component's full-precision network and its contract.

    Parameters
    ----------
    family, component
        Of a bundle.
    weights
        The file or folder that it was built from.

    Raises
    ------
    BackendError
        If this version cannot build the family.
    ConfigError
        If the weights are not the component's.
    """
    if family not in FAMILIES:
        raise BackendError(f"Networks of the family `{family}` cannot be made from weights alone.")
    return network_source(FAMILIES[family].networks).load(component, {WEIGHTS: weights})


def student_network(family: str, component: str, weights: Path) -> "nn.Module":
    """Return a component's full-precision network in torch; parameters and errors as :func:`student_part`.

    Parameters
    ----------
    family, component
        Of a bundle.
    weights
        The file or folder that it was built from.

    Raises
    ------
    BackendError
        If the network is no torch module, too.
    """
    network = student_part(family, component, weights).network
    if not hasattr(network, "named_modules"):
        raise BackendError(f"{weights}: the network of `{component}` comes as ONNX, which torch does not run.")
    return cast("nn.Module", network)
