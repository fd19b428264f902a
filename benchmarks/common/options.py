"""Options that the commands measured on prepared photos share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.errors import ConfigError

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.common.picture_metrics import Extras
    from pocketcrafter.export.data.manifest import Manifest

SEED: Final = 20_260
"""Draws every benchmark's frames, so that figures of different days are of the same frames."""

_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)
_FOLDER = click.Path(file_okay=False, path_type=Path)

data_option = click.option(
    "--data", type=_FOLDER, default=Path("data"), show_default=True, help="Made by `pocketcrafter data prepare`."
)
split_option = click.option(
    "--split", type=click.Choice([s.value for s in Split]), default="heldout", show_default=True, help="Which photos."
)
most_photos_option = click.option(
    "--most-photos", type=click.IntRange(1), help="Only the first photos of the split: a quick look, not a figure."
)
features_option = click.option(
    "--features/--no-features",
    default=True,
    show_default=True,
    help="Measure the distance of MobileNetV2 features; its ImageNet weights are fetched once.",
)
weights_option = click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the full-precision weights, or a checkpoint's own  [default: what is installed].",
)
run_option = click.option(
    "--run", type=_FOLDER, default=Path("runs"), show_default=True, help="Where training keeps ImageNet weights."
)


def brisque_option(*, default: bool) -> Callable[[_Command], _Command]:
    """Return the option that measures BRISQUE or leaves it out."""
    return click.option(
        "--brisque/--no-brisque",
        default=default,
        show_default=True,
        help="Measure BRISQUE too, a third of a second a picture; it needs the extra of that name.",
    )


def load_extras(pretrained: Path, *, features: bool, brisque: bool) -> "Extras":
    """Load the metrics that were asked for.

    Parameters
    ----------
    pretrained
        Folder that keeps the ImageNet weights.
    features
        Measure the distance of MobileNetV2 features.
    brisque
        Measure BRISQUE.

    Raises
    ------
    ConfigError
        If the ImageNet weights cannot be fetched.
    BackendError
        If BRISQUE is not installed.
    """
    from pocketcrafter.benchmarks.common.picture_metrics import Brisque, Extras, FeatureDistance
    from pocketcrafter.export.models.pretrained import imagenet_backbone

    return Extras(
        features=FeatureDistance(imagenet_backbone(pretrained)) if features else None,
        brisque=Brisque() if brisque else None,
    )


def kinds_option(kinds: Sequence[FrameKind] = tuple(FrameKind)) -> Callable[[_Command], _Command]:
    """Return the option that names kinds of frames."""
    choice = click.Choice([kind.value for kind in kinds])
    return click.option("--kind", "kinds", type=choice, multiple=True, help="Only these frames; repeatable.")


def per_photo_option(frames: int) -> Callable[[_Command], _Command]:
    """Return the option of how many frames a photo gives."""
    return click.option(
        "--per-photo", type=click.IntRange(1), default=frames, show_default=True, help="Frames of each kind a photo."
    )


def photos_of(data: Path, split: str, most: int | None = None) -> "tuple[Manifest, list[Path]]":
    """Return the manifest of a prepared folder and the photos of one side, or the first of them.

    Parameters
    ----------
    data
        The prepared folder.
    split
        Which side.
    most
        Only so many photos; all when `None`.

    Raises
    ------
    DataError
        If the manifest is missing or damaged.
    ConfigError
        If that side has no photo.
    """
    from pocketcrafter.export.data.manifest import load_manifest

    manifest = load_manifest(data)
    photos = [data / record.file for record in manifest.photos(Split(split))]
    if not photos:
        raise ConfigError(f"{data} has no {split} photos; `pocketcrafter data prepare --out {data}` adds them.")
    return manifest, photos[:most]
