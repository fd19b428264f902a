"""The pair in INT8 and in INT4 against itself in full precision: network by network, then all of it together."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.frames import measured_frames
from pocketcrafter.benchmarks.common.machine import Machine, this_machine
from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.options import SEED, photos_of
from pocketcrafter.benchmarks.quantization.sensitivity import damage_cells
from pocketcrafter.benchmarks.quantization.subjects import (
    Damage,
    PictureSubject,
    TriedSession,
    WordsSubject,
    full_precision,
)
from pocketcrafter.benchmarks.quantization.trials import (
    TrialSettings,
    WordsTrial,
    decoder_hessians,
    picture_trial,
    words_subject,
)
from pocketcrafter.export.data.sources import NOISE_FILE
from pocketcrafter.export.distill.qat import weight_scheme
from pocketcrafter.export.models import decoder_network
from pocketcrafter.export.recipe import load_recipe, resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.config import Nearest, WeightOnly
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import XNNPACK

_KINDS: Final = (FrameKind.DEGRADED, FrameKind.CLEAN, FrameKind.NOISE)
_NETWORKS: Final = (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE)
_SHIPPED_FOR: Final = XNNPACK
"""Whose precisions the pair has together: what is float32 there has a row of its own in INT8, and no part in that."""


class Bars(Config):
    """What a scheme must reach."""

    psnr_db: float | None = Field(None, description="Least mean PSNR between the two pipelines' pictures.")
    delta_e: float = Field(description="Most mean CIEDE2000.")
    plan_error: float = 0.01
    disagreement: float = Field(0.02, description="Most greedy choices of 64 that differ.")
    quality_drop_db: float = Field(description="Most PSNR lost against the clean pictures.")
    size_share: float = Field(1.0, description="Most bytes of the decoder's weights, in shares of INT8's.")


INT8_BARS: Final = Bars(psnr_db=42, delta_e=0.6, quality_drop_db=0.1)
INT4_BARS: Final = Bars(delta_e=1.0, quality_drop_db=0.3, size_share=0.35)


class BarRow(Config):
    """One network, or several, quantized."""

    what: str
    damage: Damage
    quality_drop_db: float | None = Field(None, description="Against the clean pictures; null for words.")
    size_share: float | None = Field(None, description="Bytes of the weights in shares of INT8's; null for pictures.")
    missed: tuple[str, ...]


class BarsReport(Config):
    """What `pocketcrafter bench quantization` found."""

    machine: Machine
    trial: TrialSettings
    pictures: int
    changed: int = Field(description="Pictures that full precision changes, behind the shipped gate.")
    choices: int
    rows: tuple[BarRow, ...]

    @property
    def missed(self) -> list[str]:
        """Every bar that was missed, in words."""
        return [f"{row.what}: {miss}" for row in self.rows for miss in row.missed]


def measure_bars(
    settings: TrialSettings, gate: GateSettings, recipes: Sequence[Path], progress: Progress
) -> BarsReport:
    """Measure the pair in INT8 and as it is shipped, and the decoder in few bits as each recipe builds it for ``onnx``.

    ``settings.component`` is not looked at, and ``settings.samples`` are the decoder's: the others are calibrated with
    as many as the shipped recipe gives them.

    Parameters
    ----------
    settings
        Photos, samples and weights.
    gate
        Applied to the critic's plan.
    recipes
        Recipes with the decoder's schemes.
    progress
        Called with steps done and steps in all.

    Raises
    ------
    ConfigError
        If a recipe is not valid, or quantizes something else than the decoder's weights.
    """
    schemes = {path: weight_scheme(path) for path in recipes}
    _, photos = photos_of(settings.data, settings.split, settings.photos)
    frames = [f.frame for f in measured_frames(photos, settings.data / NOISE_FILE, _KINDS, 1, SEED)]
    subject = PictureSubject(full_precision(settings.weights, gate, threads=1), [f.degraded for f in frames])
    clean = [f.clean for f in frames]
    right_db = subject.nearness_db(clean)
    rows = []
    shipped = load_recipe(DEFAULT_RECIPE).components
    tried: dict[str, TriedSession] = {}
    alone = len(_NETWORKS)
    steps = alone + 3
    for done, component in enumerate(_NETWORKS):
        progress(done, steps)
        made = shipped[component]
        own = settings.model_copy(update={"component": component, "samples": made.samples})
        trial = picture_trial(own, subject, made.keep_fp32)
        damage = trial.damage(trial.units)
        session = trial.session()
        drop = right_db - subject.nearness_db(clean, {component: session})
        rows.append(_row(f"{component} INT8", damage, INT8_BARS, drop))
        if made.precision[_SHIPPED_FOR] is Precision.INT8:
            tried[component] = session
    progress(alone, steps)
    drop = right_db - subject.nearness_db(clean, tried)
    rows.append(_row(f"all of {_SHIPPED_FOR}", subject.damage(tried), INT8_BARS, drop))
    progress(alone + 1, steps)
    words = words_subject(settings, gate)
    rows += list(_words(settings, schemes, words))
    progress(steps, steps)
    return BarsReport(
        machine=this_machine(),
        trial=settings,
        pictures=len(frames),
        changed=subject.changed,
        choices=words.choices,
        rows=tuple(rows),
    )


def bars_table(report: BarsReport) -> str:
    """Return the rows as a Markdown table, with what they were measured on."""
    head = ("", "ΔE2000 mean", "worst", "PSNR dB", "plan error", "tokens that differ", "SQNR dB", "quality lost dB",
            "size / INT8", "missed")  # fmt: skip
    rows = [
        (
            row.what,
            *damage_cells(row.damage),
            plain(row.quality_drop_db, 3),
            plain(row.size_share, 3),
            "; ".join(row.missed) or "–",
        )
        for row in report.rows
    ]
    measured_on = (
        f"{report.pictures} frames of {report.trial.photos} {report.trial.split} photos, {report.changed} of them "
        f"changed; {report.choices} choices of critiques. Simulated in torch, by the schemes that the artifacts are "
        "built with."
    )
    return f"{markdown(head, rows)}\n\n{measured_on}"


def _words(settings: TrialSettings, schemes: Mapping[Path, WeightOnly], subject: WordsSubject) -> Iterator[BarRow]:
    """Compare with the decoder in full precision whatever weights a recipe names."""
    decoder, hessians = decoder_network(settings.weights / "decoder.safetensors"), decoder_hessians(settings)
    eight = WordsTrial(
        decoder, round_linears(decoder, WeightOnly(bits=8, rounding=Nearest()), bfloat16_scales=True), None, subject
    )
    whole = eight.size(eight.units)
    yield _row("decoder INT8", eight.damage(eight.units), INT8_BARS, size_share=1.0)
    for path, scheme in schemes.items():
        recipe = load_recipe(path)
        own = decoder_network(resolve(path, recipe.components[Pocket.DECODER].weights))
        rounded = round_linears(own, scheme, hessians, bfloat16_scales=True)
        few = WordsTrial(own, rounded, None, subject)
        size = few.size(few.units) / whole
        yield _row(f"decoder {recipe.name}", few.damage(few.units), INT4_BARS, size_share=size)


def _row(
    what: str, damage: Damage, bars: Bars, quality_drop_db: float | None = None, size_share: float | None = None
) -> BarRow:
    limits = (
        ("ΔE2000", damage.delta_e, bars.delta_e),
        ("plan error", damage.plan_error, bars.plan_error),
        ("tokens that differ", damage.disagreement, bars.disagreement),
        ("quality lost", quality_drop_db, bars.quality_drop_db),
        ("size", size_share, bars.size_share),
    )
    missed = [f"{name} <= {most:g}" for name, value, most in limits if value is not None and value > most]
    if bars.psnr_db is not None and damage.psnr_db is not None and damage.psnr_db < bars.psnr_db:
        missed.append(f"PSNR >= {bars.psnr_db:g} dB")
    return BarRow(
        what=what, damage=damage, quality_drop_db=quality_drop_db, size_share=size_share, missed=tuple(missed)
    )
