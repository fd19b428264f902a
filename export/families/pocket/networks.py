"""Loads the pocket family's networks, and draws what they are calibrated with from photos."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from pocketcrafter.export.calibration import frames_in_strata, samples
from pocketcrafter.export.families.family import NO_OPTIONS, WEIGHTS, Drawn, Part
from pocketcrafter.export.families.pocket.plan import PHOTOS, VOCABULARY
from pocketcrafter.export.models import load_component
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.runtime.pocket import POCKET_SPECS

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def photos_in(folder: Path) -> list[Path]:
    """Return the photos that lie in a folder, in order."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))


class _PocketNetworks:
    """See `pocketcrafter.export.families.family.NetworkSource`."""

    def content(self, weights: Path) -> Path:
        return weights

    def load(self, component: str, inputs: Mapping[str, Path], options: Mapping[str, JsonValue] = NO_OPTIONS) -> Part:
        del options  # every component of the pair has one contract
        return Part(load_component(component, inputs[WEIGHTS]), POCKET_SPECS[component])

    def draw(
        self,
        part: Part,
        inputs: Mapping[str, Path],
        count: int,
        seed: int,
        collector: HessianCollector | None = None,
        function: str | None = None,
    ) -> Drawn:
        del function  # no component of the pair has further ones
        component = part.spec.name
        photos = photos_in(inputs[PHOTOS])
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-weights-") as name:
            weights = Path(name)
            for key, path in inputs.items():
                if key == VOCABULARY:
                    shutil.copyfile(path, weights / TOKENIZER)
                elif key != PHOTOS:
                    shutil.copyfile(path, weights / f"{component if key == WEIGHTS else key}.safetensors")
            drawn = samples(component, photos, weights, count, seed, collector)
        return Drawn(drawn, tuple(photos), frames_in_strata(component, count, seed))


POCKET_NETWORKS: Final = _PocketNetworks()
