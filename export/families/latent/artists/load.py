"""Loads one network of an artist."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from pocketcrafter.export.families.latent.artists.kinds import CLASSES
from pocketcrafter.export.families.networks import diffusion
from pocketcrafter.export.families.networks.architecture import architecture_of
from pocketcrafter.export.families.networks.folder import load_checked
from pocketcrafter.export.families.networks.lora import Adapter, merge


def load_artist_network(folder: Path, adapters: Sequence[Adapter] = ()) -> nn.Module:
    """Load a network of diffusers, in float32, held against its files, and merge adapters into it.

    Parameters
    ----------
    folder
        Of one network, as ``save_pretrained`` leaves it.
    adapters
        What is merged into its weights.

    Raises
    ------
    CheckpointError
        If what was loaded is not what the files hold, value by value.
    """
    network = load_checked(folder, architecture_of(folder, CLASSES), diffusion.load)
    merge(network, adapters)
    return network
