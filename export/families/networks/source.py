"""Loads components from checkpoint folders, and draws random inputs of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from pocketcrafter.export.calibration.language import language_samples
from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.family import NO_OPTIONS, WEIGHTS, Drawn, Part
from pocketcrafter.export.families.networks.architecture import read_folder
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.folder import load_folder
from pocketcrafter.export.families.networks.language import LanguagePart, LanguageSizes
from pocketcrafter.export.families.networks.parts import draw_samples
from pocketcrafter.quantize.algorithms.hessians import HessianCollector


class _Checkpoints:
    """See `pocketcrafter.export.families.family.NetworkSource`."""

    def content(self, weights: Path) -> FolderFiles:
        return read_folder(weights)[1]

    def load(self, component: str, inputs: Mapping[str, Path], options: Mapping[str, JsonValue] = NO_OPTIONS) -> Part:
        parts = load_folder(inputs[WEIGHTS])
        found = next((part for part in parts if part.spec.name == component), None)
        if found is None:
            has = ", ".join(part.spec.name for part in parts)
            raise CheckpointError(f"{inputs[WEIGHTS]}: has no network `{component}`; it has {has}.")
        if not isinstance(found, LanguagePart):
            return found
        sizes = LanguageSizes.model_validate(options)
        return found.with_positions(sizes.positions).with_embedding(sizes.embedding_bits)

    def draw(
        self,
        part: Part,
        inputs: Mapping[str, Path],
        count: int,
        seed: int,
        collector: HessianCollector | None = None,
        function: str | None = None,
    ) -> Drawn:
        del inputs
        if isinstance(part, LanguagePart):
            return Drawn(language_samples(part.model, part.table, part.spec, count, seed, collector)[function])
        # Hessians of random inputs would tell nothing of the inputs that the network will see.
        return Drawn(draw_samples(part.spec.of(function), count, seed))


CHECKPOINTS: Final = _Checkpoints()
