"""INT8 for the artist of a latent pair: what each method gains, and which modules must stay float for the picture.

Everything is judged by a reference record: the pictures that the pair's own libraries make of its photos.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from pydantic import Field
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.in_place import InPlace, Run
from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.picture_metrics import LOSSLESS_DB, Reference
from pocketcrafter.benchmarks.common.reference_record import Record, RecordedPhoto
from pocketcrafter.benchmarks.quantization.trials import blocks_of_modules
from pocketcrafter.export.families.family import WEIGHTS, Part, Sample
from pocketcrafter.export.families.latent.networks import LATENT_NETWORKS, PHOTOS, TorchPair
from pocketcrafter.export.families.latent.pair import Pair, read_pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.families.latent.plan import infer_recipe
from pocketcrafter.export.lower.measure import as_tensors, run_torch
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.quantize.algorithms.blocks import IntegerFormat, round_to_nearest
from pocketcrafter.quantize.algorithms.convolutions import observed_patches
from pocketcrafter.quantize.algorithms.equalization import smoothed
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.algorithms.rounding import round_gptq
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration, held_back
from pocketcrafter.quantize.config import ActivationRange, Gptq, MinMax, Mse, Percentile, StaticInt8, StaticInt16
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.onnxruntime import open_session, unoptimized_options
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.latent.artist import LatentArtist, Network
from pocketcrafter.runtime.latent.picture import artists_picture
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.targets import ONNX

TRIED_OF_PAIR: Final = (Latent.ENCODE, Latent.DENOISE, Latent.DECODE)
"""Components whose quantization a picture shows."""
_RANGES: Final[tuple[ActivationRange, ...]] = (MinMax(), Percentile(), Mse())
_MARGIN_DB: Final = 1.5
"""What a mixture must have beyond its gate: a build draws other samples, and its artifact lies up to 1 dB off."""
_STRENGTH: Final = 0.5
_RANK: Final = 8
_LEVELS: Final = 127
_READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "norm1": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "norm2": ("attn2.to_q",),
    "norm3": ("ff.net.0.proj",),
}
"""Linear layers of diffusers' transformer blocks by the normalization that they alone read."""


class PairGates(Config):
    """What a mixture must reach."""

    psnr_db: float = Field(35.0, description="Of the worst picture.")
    delta_e: float = Field(1.0, ge=0, description="CIEDE2000, mean over pictures.")
    sqnr_db: float = Field(30.0, description="Of the component's output on samples that calibration did not see.")


class PairDamage(Config):
    """A quantized component in its pair."""

    sqnr_db: float = Field(description="Of its output on samples held back.")
    psnr_db: float = Field(description="Of the worst picture, 8 bits; 100 where equal.")
    delta_e: float = Field(ge=0, description="CIEDE2000, mean over pictures.")

    def keeps(self, gates: PairGates) -> bool:
        """Whether it keeps all gates."""
        return self.sqnr_db >= gates.sqnr_db and self.psnr_db >= gates.psnr_db and self.delta_e <= gates.delta_e


class PairRow(Config):
    """One method, or one module quantized alone, or one mixture."""

    what: str
    damage: PairDamage


class PairReport(Config):
    """What `pocketcrafter quantize pair` found."""

    pair: str
    component: str
    photos: int = Field(ge=1)
    samples: int = Field(ge=1, description="Calibration samples, of all steps alike.")
    gates: PairGates
    methods: tuple[PairRow, ...]
    modules: tuple[PairRow, ...] = Field(description="Each quantized alone, the most harmful first.")
    mixtures: tuple[PairRow, ...] = Field(description="With one module more left float each time.")
    keep_fp32: tuple[str, ...] = Field(description="What stays float in the first mixture that keeps the gates.")
    int8_share: float = Field(ge=0, le=1, description="Share of the weights that are INT8 in it.")


@dataclass
class PairLaboratory:
    """A pair in full precision, one of whose components is tried.

    Attributes
    ----------
    pair, component, part
        What is tried.
    artist
        The artist in full precision.
    record
        The photos and their pictures.
    used, held
        Samples to calibrate with, and to measure with.
    """

    pair: Pair
    component: str
    part: Part
    artist: LatentArtist
    record: Sequence[RecordedPhoto]
    used: Sequence[Sample]
    held: Sequence[Sample]
    model: nn.Module = field(init=False)
    _expected: list[dict[str, FloatArray]] = field(init=False)

    def __post_init__(self) -> None:
        network = self.part.network
        if not isinstance(network, nn.Module):
            raise ConfigError(f"`{self.component}` comes as ONNX, which cannot be tried.")
        self.model = frozen(network, ())
        self._expected = run_torch(self.model, self.held, self.part.spec)

    @classmethod
    def open(cls, folder: Path, component: str, record: Record, photos: Path, samples: int) -> "PairLaboratory":
        """Load a pair, and draw samples as a build does.

        Parameters
        ----------
        folder
            The pair's.
        component
            The one that is tried, by its name in the pair.
        record
            Photos and the pictures that the pair's own libraries made of them.
        photos
            Calibration photos.
        samples
            How many are drawn of these, those that are held back included.

        Raises
        ------
        ConfigError
            If there is no artist, or the record is of none.
        """
        torch.set_num_threads(1)
        pair = read_pair(folder)
        found = [photo for _, photo in record.photos() if photo.artist is not None]
        if pair.artist is None or not found:
            raise ConfigError(f"{folder}: an artist is judged by its pictures, and pair or record have none.")
        part = load_part(pair, component)
        drawn = LATENT_NETWORKS.draw(part, {WEIGHTS: folder, PHOTOS: photos}, samples, 0).samples
        artist = TorchPair(pair).artist
        if artist is None:
            raise ConfigError(f"{folder}: has no artist.")
        held = held_back(len(drawn))
        return cls(pair, component, part, artist, found, drawn[:-held], drawn[-held:])

    def tensors(self, samples: Sequence[Sample]) -> list[tuple[Tensor, ...]]:
        """Return samples in calling order."""
        return [as_tensors(sample, self.part.spec) for sample in samples]

    def damage(self, run: Run) -> PairDamage:
        """Measure the pair with another network in the component's place."""
        tried = InPlace(run, self.part.spec)
        (output,) = (tensor.name for tensor in self.part.spec.outputs)
        said = [tried.run(sample) for sample in self.held]
        ratio = sqnr_db(*(np.stack([one[output] for one in made]) for made in (self._expected, said)))
        changed: dict[str, Any] = {self.component: Network(tried, self.part.spec)}
        artist = dataclasses.replace(self.artist, **changed)
        figures = [self._figures(artist, recorded) for recorded in self.record]
        return PairDamage(
            sqnr_db=min(ratio, LOSSLESS_DB),
            psnr_db=min(psnr for psnr, _ in figures),
            delta_e=float(np.mean([delta_e for _, delta_e in figures])),
        )

    def _figures(self, artist: LatentArtist, recorded: RecordedPhoto) -> tuple[float, float]:
        if recorded.artist is None:
            raise ConfigError("The record has no picture.")
        photo = Photo(recorded.photo, source_format=PhotoFormat.PNG)
        picture = recorded.artist.picture
        hidden = None if recorded.critic is None else recorded.critic.hidden
        made = artist.edit(artists_picture(photo, len(picture)), hidden)
        first, second = (np.rint(one * 255).astype(np.uint8) for one in (picture, made))
        found = Reference(first).figures(second)
        return found.psnr_db, found.delta_e


def tune_pair(laboratory: PairLaboratory, gates: PairGates, name: str, progress: NamedProgress) -> PairReport:
    """Try all methods, rank the modules, and leave them float one after another until the gates are kept.

    Parameters
    ----------
    laboratory
        What is tried.
    gates
        What the mixture must reach.
    name
        The pair's, for the report.
    progress
        Called with what is tried, how much is done and how much there is.

    Raises
    ------
    GateError
        If nothing but the whole component in float keeps the gates.
    """
    methods = list(_methods(laboratory, progress))
    asked = gates.model_copy(update={"sqnr_db": gates.sqnr_db + _MARGIN_DB})
    board = FakeQuantSwitches(laboratory.model, laboratory.tensors(laboratory.used), StaticInt8())
    units = blocks_of_modules(board.modules)
    alone = []
    for number, unit in enumerate(units):
        progress(unit, number, len(units))
        board.only((unit,))
        alone.append(PairRow(what=unit, damage=laboratory.damage(board.run)))
    alone.sort(key=lambda row: row.damage.sqnr_db)
    mixtures: list[PairRow] = []
    for count in range(len(units)):
        progress("mixtures", count, len(units))
        kept = [row.what for row in alone[:count]]
        board.all_but(kept)
        mixtures.append(PairRow(what=kept[-1] if kept else "nothing", damage=laboratory.damage(board.run)))
        if mixtures[-1].damage.keeps(asked):
            break
    else:
        raise GateError(
            f"{laboratory.component}: no mixture keeps the gates ({mixtures[-1].damage.sqnr_db:.1f} dB, PSNR "
            f"{mixtures[-1].damage.psnr_db:.1f} dB with one module in INT8): build it in float."
        )
    chosen = tuple(row.what for row in alone[: len(mixtures) - 1])
    return PairReport(
        pair=name,
        component=laboratory.component,
        photos=len(laboratory.record),
        samples=len(laboratory.used),
        gates=gates,
        methods=tuple(methods),
        modules=tuple(alone),
        mixtures=tuple(mixtures),
        keep_fp32=chosen,
        int8_share=_int8_share(laboratory.model, units, chosen),
    )


def _int8_share(model: nn.Module, units: Collection[str], kept: Collection[str]) -> float:
    # An autoencoder's other half lies in the same module, and does not run.
    weights = {
        n: v.numel() for n, v in model.named_parameters() if n.endswith(".weight") and is_within(n, tuple(units))
    }
    return sum(size for name, size in weights.items() if not is_within(name, tuple(kept))) / sum(weights.values())


def _methods(laboratory: PairLaboratory, progress: NamedProgress) -> "list[PairRow]":
    rows: list[PairRow] = []

    def measured(what: str, run: Run) -> None:
        progress(what, len(rows), 10)
        rows.append(PairRow(what=what, damage=laboratory.damage(run)))

    used = laboratory.tensors(laboratory.used)
    for ranges in _RANGES:
        board = FakeQuantSwitches(laboratory.model, used, StaticInt8(range=ranges))
        measured(f"INT8, {ranges.method} ranges", board.run)
        if isinstance(ranges, Percentile):
            for what, weights in (("weights", True), ("activations", False)):
                board.only_kind(weights=weights)
                measured(f"INT8, {ranges.method} ranges, {what} alone", board.run)
    if laboratory.component == Latent.DENOISE:
        measured("ranges of each step alone", _by_step(laboratory))
        measured(f"SmoothQuant, strength {_STRENGTH:g}", _smoothed(laboratory).run)
    measured(f"low-rank branch of rank {_RANK} in float (SVDQuant)", _low_rank(laboratory))
    measured("GPTQ, convolutions too", _gptq(laboratory))
    measured("INT8 weights, 16-bit activations (a16w8)", _sixteen_bits(laboratory))
    return rows


def _by_step(laboratory: PairLaboratory) -> Run:
    """Return a network that has other ranges at each timestep, each from the samples of that step."""
    place = [tensor.name for tensor in laboratory.part.spec.inputs].index("time")
    samples: dict[bytes, list[tuple[Tensor, ...]]] = {}
    for sample in laboratory.tensors(laboratory.used):
        samples.setdefault(sample[place].numpy().tobytes(), []).append(sample)
    boards = {key: FakeQuantSwitches(laboratory.model, given, StaticInt8()) for key, given in samples.items()}
    return lambda inputs: boards[inputs[place].numpy().tobytes()].run(inputs)


def _smoothed(laboratory: PairLaboratory) -> FakeQuantSwitches:
    names = {name for name, _ in laboratory.model.named_modules()}
    pairs = {
        norm: [norm.removesuffix(own) + reader for reader in readers]
        for own, readers in _READERS.items()
        for norm in names
        if norm.endswith(f".{own}") and all(norm.removesuffix(own) + reader in names for reader in readers)
    }
    used, collector = laboratory.tensors(laboratory.used), HessianCollector()
    with collector.attached(laboratory.model), torch.no_grad():
        for sample in used:
            laboratory.model(*sample)
    made, _ = smoothed(laboratory.model, pairs, collector.hessians(), _STRENGTH)
    return FakeQuantSwitches(made, used, StaticInt8())


def _low_rank(laboratory: PairLaboratory) -> Run:
    """Return a network whose weights are a low-rank part in float and a rest in INT8, its activations INT8."""

    def split(_name: str, matrix: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        low = (left[:, :_RANK] * values[:_RANK]) @ right[:_RANK]
        rest = matrix - low
        steps = (rest.abs().amax(1, keepdim=True) / _LEVELS).clamp(min=1e-12)
        made: Tensor = low + (rest / steps).round() * steps
        return made

    return _rounded(laboratory, split)


def _gptq(laboratory: PairLaboratory) -> Run:
    """Return a network whose weights GPTQ rounded to INT8 by output channel, its activations INT8.

    A convolution is a product with the patches that it sees; those of one group alone are rounded so.
    """
    with observed_patches(laboratory.model) as sums:
        run_torch(laboratory.model, laboratory.used, laboratory.part.spec)

    def rounded(name: str, matrix: Tensor) -> Tensor:
        integers = IntegerFormat(8, matrix.shape[1])
        seen = sums.get(name)  # one for each group of channels; None where the layer never ran
        if seen is None or len(seen) > 1:
            return round_to_nearest(matrix, integers).weight()
        return round_gptq(matrix, seen[0], integers, Gptq().damping).weight()

    return _rounded(laboratory, rounded)


def _rounded(laboratory: PairLaboratory, rounded: Callable[[str, Tensor], Tensor]) -> Run:
    """Return a network with other weights, given as one row for each output, its activations INT8."""
    made = frozen(laboratory.model, ())
    with torch.no_grad():
        for name, module in made.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                matrix = rounded(name, module.weight.reshape(len(module.weight), -1))
                module.weight = nn.Parameter(matrix.reshape(module.weight.shape), requires_grad=False)
    board = FakeQuantSwitches(made, laboratory.tensors(laboratory.used), StaticInt8())
    board.only_kind(weights=False)
    return board.run


def _sixteen_bits(laboratory: PairLaboratory) -> Run:
    """Return a network as QNN is given it, in 16-bit activations and INT8 weights; ONNX Runtime computes its pairs."""
    spec, used = laboratory.part.spec, laboratory.used
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-methods-") as folder:
        path = Path(folder) / "fp32.onnx"
        export_onnx(laboratory.model, laboratory.tensors(used)[0], spec, path)
        made = quantize(onnx.load(path), StaticInt16(), Calibration(used))
    session = open_session(made.SerializeToString(), unoptimized_options())

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        given = {tensor.name: value.numpy() for tensor, value in zip(spec.inputs, inputs, strict=True)}
        return [torch.from_numpy(array) for array in session.run([t.name for t in spec.outputs], given)]

    return run


def pair_table(report: PairReport) -> str:
    """Return methods, modules and mixtures as Markdown tables."""
    head = ("SQNR dB", "worst PSNR dB", "ΔE2000 mean")
    parts = (
        ("method", report.methods),
        ("INT8 alone", report.modules),
        ("left float, beside those above", report.mixtures),
    )
    tables = [markdown((what, *head), [(row.what, *_cells(row.damage)) for row in rows]) for what, rows in parts]
    kept = f"{report.int8_share:.0%} of the weights are INT8; float: {', '.join(report.keep_fp32) or 'nothing'}"
    return "\n\n".join([*tables, kept])


def _cells(damage: PairDamage) -> tuple[str, ...]:
    return plain(damage.sqnr_db, 1), plain(damage.psnr_db, 1), plain(damage.delta_e, 3)


def write_recipe(folder: Path, report: PairReport, out: Path, base: Path | None = None) -> None:
    """Write the recipe that builds a pair for ``onnx`` with the mixture that was found.

    Parameters
    ----------
    folder
        The pair.
    report
        What was found.
    out
        Where to, ``.yaml``.
    base
        A recipe whose other components stay as they are, as this function wrote it for one of them; all else is float
        without.

    Raises
    ------
    ConfigError
        If the base is no recipe.
    """
    import yaml  # noqa: PLC0415 - the build's own

    inferred = infer_recipe(folder, [ONNX], {report.component: Precision.INT8})
    recipe = (inferred if base is None else load_recipe(base)).model_dump(mode="json")
    recipe["components"][report.component] = inferred.components[report.component].model_dump(mode="json") | {
        "keep_fp32": list(report.keep_fp32),
        "rung1_sqnr_db": report.gates.sqnr_db,
    }
    write_text(out, yaml.safe_dump(recipe, sort_keys=False))
