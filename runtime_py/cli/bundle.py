"""``pocketcrafter inspect``, ``verify``, ``split``, ``doctor``: what a bundle holds, is it whole, what runs here."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.errors import GateError, PocketCrafterError
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from pocketcrafter.runtime.bundle.manifest import Manifest
    from pocketcrafter.runtime.bundle.results import Rung
    from pocketcrafter.runtime.bundle.verify import GoldenRun, VerifyReport
    from pocketcrafter.runtime.capabilities import Diagnosis

_BUNDLE = click.argument("bundle", type=click.Path(exists=True, path_type=Path))


@click.command("inspect")
@_BUNDLE
@json_option
def inspect_command(bundle: Path, *, as_json: bool) -> None:
    r"""Show what a bundle holds: targets, components, precisions, sizes, gates and how each was proved.

    \b
    Example:
      pocketcrafter inspect build/default.pcbundle
    """
    from pocketcrafter.runtime.bundle.reader import Bundle

    manifest = Bundle.open(bundle).manifest
    click.echo(json.dumps(manifest.model_dump(mode="json"), indent=1) if as_json else "\n".join(_contents(manifest)))


@click.command("verify")
@_BUNDLE
@click.option("--threads", type=click.IntRange(1, 256), default=2, show_default=True, help="Threads to compute with.")
@json_option
def verify_command(bundle: Path, threads: int, as_json: bool) -> None:
    r"""Hash every file again and re-run the goldens on every target that this machine can run.

    Exit code 0: whole, and every golden that could run passed. 1: something is wrong.

    \b
    Example:
      pocketcrafter verify build/default.pcbundle
    """
    from pocketcrafter.runtime.bundle.verify import verify

    with Bars() as bar:
        report = verify(bundle, threads, bar.update)
    result = report.model_dump(mode="json") | {"ok": report.ok}
    click.echo(json.dumps(result, indent=1) if as_json else "\n".join(_findings(report)))
    if not report.ok:
        sys.exit(GateError.exit_code)


@click.command("split")
@_BUNDLE
@click.option("--out", type=OutputFolder(), required=True, help="Folder of the parts.")
@click.option(
    "--ort", is_flag=True, help="Write what ONNX Runtime runs in its own format, for builds without the ONNX parser."
)
@json_option
def split_command(bundle: Path, out: Path, ort: bool, as_json: bool) -> None:
    r"""Write each target of a bundle as a zipped bundle of its own, for phones to download.

    \b
    Example:
      pocketcrafter split build/default.pcbundle --out build/parts
      pocketcrafter split build/default.pcbundle --out build/parts --ort
    """
    from pocketcrafter.runtime.bundle.split import split

    with Bars() as bar:
        written = split(bundle, out, bar.update, ort_format=ort)
    sizes = {target: part.stat().st_size for target, part in written.items()}
    result = {target: {"path": str(part), "bytes": sizes[target]} for target, part in written.items()}
    lines = [f"{target:<22} {_mib(sizes[target]):>9}  {part}" for target, part in written.items()]
    click.echo(json.dumps(result, indent=1) if as_json else "\n".join(lines))


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    r"""Show what this machine has, which backends and targets run here, and the command that mends what is missing.

    \b
    Example:
      pocketcrafter doctor
    """
    from pocketcrafter.runtime.capabilities import diagnose
    from pocketcrafter.runtime.cli.streams import log_path

    diagnosis = diagnose()
    result = diagnosis.model_dump(mode="json") | {"ok": diagnosis.ok, "libraries_log": str(log_path())}
    lines = [*_health(diagnosis), "", f"What libraries log goes to {log_path()}; --verbose shows it."]
    click.echo(json.dumps(result, indent=1) if as_json else "\n".join(lines))
    if not diagnosis.ok:
        sys.exit(PocketCrafterError.exit_code)


def _contents(manifest: "Manifest") -> list[str]:
    from pocketcrafter.runtime.bundle.goldens import GOLDENS_ARE_ROUNDED
    from pocketcrafter.runtime.families import FAMILIES, family_settings

    whole = sum(f.size for f in manifest.files)
    lines = [
        f"{manifest.name} ({manifest.family}): {counted(len(manifest.files), 'file')}, {_mib(whole)}",
        "",
        "targets",
    ]
    for name, target in manifest.targets.items():
        needs = ", ".join(x for x in (target.soc, target.minimum_os) if x) or "no minimum"
        size = sum(manifest.artifact_bytes(entry.artifacts[name]) for entry in manifest.components)
        lines.append(f"  {name:<22} runs on {target.backend} ({needs}), {_mib(size)}")
    lines += ["", f"{'component':<10} {'target':<20} {'precision':<9} {'size':>9} {'coverage':>9}  parity rungs"]
    for entry in manifest.components:
        for target_name, artifact in entry.artifacts.items():
            lines.append(
                f"{entry.spec.name:<10} {target_name:<20} {artifact.precision:<9} "
                f"{_mib(manifest.artifact_bytes(artifact)):>9} {artifact.coverage.share:>9.1%}  "
                + ", ".join(_rung(r) for r in artifact.rungs)
            )
    lines += ["", f"Ratios are the build's, on samples of its own in float32. {GOLDENS_ARE_ROUNDED}"]
    if settings := family_settings(manifest):
        lines += ["", *FAMILIES[manifest.family].describe(settings)]
    lines += ["", "weights"]
    lines += [f"  {c.source.weights} ({c.source.license}) {c.source.sha256[:16]}" for c in manifest.components]
    return lines


def _rung(rung: "Rung") -> str:
    state = {True: "passed", False: "FAILED", None: "not run"}[rung.passed]
    worst = [f.sqnr_db for f in rung.fidelity if f.sqnr_db is not None]
    return f"{rung.rung} {state}" + (f" ({min(worst):.1f} dB)" if worst else "")


def _findings(report: "VerifyReport") -> list[str]:
    from pocketcrafter.runtime.bundle.goldens import GOLDENS_ARE_ROUNDED
    from pocketcrafter.runtime.bundle.verify import Outcome

    if report.problems:
        return [f"{report.bundle}: the bundle is damaged; nothing was run:", *(f"  {p}" for p in report.problems)]
    lines = [
        f"{report.bundle}: {counted(report.files, 'file')}, {_mib(report.bytes)}, every hash as in the manifest",
        "",
    ]
    lines += [_golden(run) for run in report.goldens]
    verdicts = {run.outcome for run in report.goldens}
    if report.ok:
        some = " on every target that runs here" if Outcome.NOT_RUN in verdicts else ""
        return [*lines, "", f"The bundle is whole and its goldens pass{some}.", GOLDENS_ARE_ROUNDED]
    return [*lines, "", "A golden failed." if Outcome.FAILED in verdicts else "No target of this bundle can run here."]


def _golden(run: "GoldenRun") -> str:
    from pocketcrafter.runtime.bundle.verify import Outcome

    worst = [f.sqnr_db for f in run.fidelity if f.sqnr_db is not None]
    measured = f"{min(worst):.1f} dB ({run.gate})" if worst else "identical" if run.fidelity else ""
    detail = run.reason if run.outcome is not Outcome.PASSED else measured
    return f"{run.target:<20} {run.component:<10} {run.outcome:<8} {detail}".rstrip()


def _health(diagnosis: "Diagnosis") -> list[str]:
    lines = [
        f"pocketcrafter {diagnosis.version}, Python {diagnosis.python}",
        f"{diagnosis.system}, {counted(diagnosis.cores, 'core')}, "
        f"{diagnosis.ram_mib} MiB RAM ({diagnosis.free_ram_mib} free), {diagnosis.free_disk_mib} MiB disk free here",
        f"{diagnosis.instruction_set}: "
        + (
            "8-bit products saturate; ONNX Runtime runs them with unsigned weights, exact and slower than with VNNI"
            if diagnosis.saturating_products
            else "ONNX Runtime's 8-bit products are exact"
        ),
        "",
    ]
    for extra in diagnosis.extras:
        lines.append(f"extra {extra.name:<8} {'installed' if extra.installed else 'incomplete'}")
        lines += [f"  {name} {version}" for name, version in extra.packages.items()]
        lines += [f"  missing {name}" for name in extra.missing] + [f"  mend: {extra.mend}"] * bool(extra.missing)
    lines.append("")
    for backend in diagnosis.backends:
        runs = f" (targets {', '.join(backend.targets)})" if backend.targets else ""
        lines.append(f"backend {backend.name:<12} {'runs here' if backend.reason is None else backend.reason}{runs}")
    lines += ["", f"{'target':<24} {'computes in':<22} {'proved here by':<24} can be built here"]
    lines += [
        f"{target.name:<24} {target.computes:<22} {target.proof:<24} {target.reason or 'yes'}"
        for target in diagnosis.targets
    ]
    return lines


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.2f} MiB"
