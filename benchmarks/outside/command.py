"""``pocketcrafter bench outside``: foreign networks up the ladder of every target, in one table."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.targets import ONNX, TARGETS, XNNPACK, TargetKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketcrafter.export.outside import PartResult
    from pocketcrafter.runtime.bundle.results import Fidelity

_USUAL: Final = (ONNX, XNNPACK, TargetKind("coreml:ios18"), TargetKind("qnn-context:sm8750"))
_HEAD: Final = (
    f"{'network':<16} {'part':<9} {'target':<20} {'as':<6} "
    f"{'rung 1 dB':>9} {'rung 2 dB':>9} {'whole dB':>9} {'MACs':>7}  remarks"
)


@click.command("outside")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--target",
    "targets",
    type=click.Choice(list(TARGETS)),
    multiple=True,
    help=f"Lower for this target; may be given again. Without: {', '.join(_USUAL)}.",
)
@click.option(
    "--precision",
    type=click.Choice([p.value for p in Precision]),
    help="Lower to this, calibrated on random inputs. Without: floating point.",
)
@json_option
def outside(folders: tuple[Path, ...], targets: tuple[str, ...], precision: str | None, *, as_json: bool) -> None:
    r"""Lower networks that are not ours, and show what each target makes of them.

    FOLDERS are in Hugging Face's layout, with safetensors: diffusers' UNet2DConditionModel, AutoencoderTiny and
    AutoencoderKL; transformers' SmolVLM, Idefics3, Qwen2.5-VL and VisionEncoderDecoder (exported by optimum, for onnx
    alone). Nothing is fetched. Inputs are random: the table tells whether an artifact computes what its network does,
    not whether that is any good. "Whole" is the artifact against full precision, both rungs at once: where it is as
    good as rung 1, two roundings went apart, not a target.
    Exit code 0: measured, whether or not a target refused. 2: bad input, or something is missing.

    \b
    Example:
      pocketcrafter bench outside checkpoints/unet checkpoints/taesd --target onnx --target coreml:ios18
      pocketcrafter bench outside checkpoints/smolvlm --target onnx --precision w4
    """
    from pocketcrafter.export.builder.preflight import check_packages, check_targets
    from pocketcrafter.export.outside import climb, load_folder

    check_packages()
    chosen = tuple(TargetKind(t) for t in dict.fromkeys(targets)) or _USUAL
    check_targets(chosen)
    asked = Precision(precision) if precision else None
    loaded = [(folder, part) for folder in folders for part in load_folder(folder)]
    jobs = [(folder, part, target) for folder, part in loaded for target in chosen]
    found: list[dict[str, object]] = []
    if not as_json:
        click.echo(_HEAD)
    with Bars() as bars, tempfile.TemporaryDirectory(prefix="pocketcrafter-outside-") as scratch:
        for done, (folder, part, target) in enumerate(jobs):
            bars.update(f"{folder.name} {part.name} on {target}", done, len(jobs))
            rung = climb(part, target, Path(scratch) / str(done), asked)
            found.append({"folder": str(folder)} | rung.model_dump(mode="json"))
            if not as_json:
                # At once: a foreign network can take a toolchain long, and what is known by then should not be lost.
                click.echo(_row(folder, rung))
        bars.update("outside", len(jobs), len(jobs))
    if as_json:
        click.echo(json.dumps(found, indent=1))


def _row(folder: Path, rung: "PartResult") -> str:
    start = f"{folder.name[:16]:<16} {rung.part:<9} {rung.target:<20} {rung.precision:<6}"
    if rung.refusal is not None or rung.coverage is None:
        return f"{start} {'':>9} {'refused':>9} {'':>9} {'':>7}  {rung.refusal}"
    outside = [f"{f.op} ×{f.count}" for f in rung.coverage.fallbacks if not f.allowed]
    remarks = f"left outside: {', '.join(outside)}" if outside else "" if rung.rung2 else "a phone must run it"
    ratios = " ".join(f"{_worst(fidelity):>9}" for fidelity in (rung.rung1, rung.rung2, rung.whole))
    return f"{start} {ratios} {rung.coverage.share:>7.1%}  {remarks}".rstrip()


def _worst(fidelity: "Sequence[Fidelity]") -> str:
    found = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(found):.1f}" if found else "equal" if fidelity else "-"
