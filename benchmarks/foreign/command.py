"""``pocketcrafter bench foreign``: foreign networks up the ladder of every target, in one table."""

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

    from pocketcrafter.benchmarks.foreign.measure import ForeignResult
    from pocketcrafter.runtime.bundle.results import Fidelity

_USUAL: Final = (ONNX, XNNPACK, TargetKind("coreml:ios18"), TargetKind("qnn-context:sm8750"))
_HEAD: Final = (
    f"{'network':<16} {'component':<9} {'target':<20} {'as':<6} "
    f"{'rung 1 dB':>9} {'rung 2 dB':>9} {'whole dB':>9} {'MACs':>7}  remarks"
)


@click.command("foreign")
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
def foreign(folders: tuple[Path, ...], targets: tuple[str, ...], precision: str | None, *, as_json: bool) -> None:
    r"""Lower networks that are not ours, and show what each target makes of them.

    FOLDERS are in Hugging Face's layout, with safetensors: diffusers' UNet2DConditionModel, AutoencoderTiny and
    AutoencoderKL; transformers' SmolVLM, Idefics3, Qwen2.5-VL and VisionEncoderDecoder (exported by optimum, for onnx
    alone). Nothing is fetched. Inputs are random: the table tells whether an artifact computes what its network does,
    not whether that is any good. "Whole" is the artifact against full precision, both rungs at once: where it is as
    good as rung 1, two roundings went apart, not a target.
    Exit code 0: measured, whether or not a target refused. 2: bad input, or something is missing.

    \b
    Example:
      pocketcrafter bench foreign checkpoints/unet checkpoints/taesd --target onnx --target coreml:ios18
      pocketcrafter bench foreign checkpoints/smolvlm --target onnx --precision w4
    """
    from pocketcrafter.benchmarks.foreign.measure import try_target
    from pocketcrafter.export.builder.preflight import check_packages, check_targets
    from pocketcrafter.export.families.networks.folder import load_folder

    check_packages()
    chosen = tuple(TargetKind(t) for t in dict.fromkeys(targets)) or _USUAL
    check_targets(chosen)
    asked = Precision(precision) if precision else None
    loaded = [(folder, part) for folder in folders for part in load_folder(folder)]
    jobs = [(folder, part, target) for folder, part in loaded for target in chosen]
    found: list[dict[str, object]] = []
    if not as_json:
        click.echo(_HEAD)
    with Bars() as bars, tempfile.TemporaryDirectory(prefix="pocketcrafter-foreign-") as scratch:
        for done, (folder, part, target) in enumerate(jobs):
            bars.update(f"{folder.name} {part.spec.name} on {target}", done, len(jobs))
            result = try_target(part, target, Path(scratch) / str(done), asked)
            found.append({"folder": str(folder)} | result.model_dump(mode="json"))
            if not as_json:
                # At once: a foreign network can take a toolchain long, and what is known by then should not be lost.
                click.echo(_row(folder, result))
        bars.update("foreign", len(jobs), len(jobs))
    if as_json:
        click.echo(json.dumps(found, indent=1))


def _row(folder: Path, result: "ForeignResult") -> str:
    start = f"{folder.name[:16]:<16} {result.component:<9} {result.target:<20} {result.precision:<6}"
    if result.refusal is not None or result.coverage is None:
        return f"{start} {'':>9} {'refused':>9} {'':>9} {'':>7}  {result.refusal}"
    left = [f"{f.op} ×{f.count}" for f in result.coverage.fallbacks if not f.allowed]
    remarks = f"left outside: {', '.join(left)}" if left else "" if result.rung2 else "a phone must run it"
    ratios = " ".join(f"{_worst(fidelity):>9}" for fidelity in (result.rung1, result.rung2, result.whole))
    return f"{start} {ratios} {result.coverage.share:>7.1%}  {remarks}".rstrip()


def _worst(fidelity: "Sequence[Fidelity]") -> str:
    found = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(found):.1f}" if found else "equal" if fidelity else "-"
