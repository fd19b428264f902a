"""``pocketcrafter device``: phones on a cable; imports what it works with when it runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import click

from pocketcrafter.runtime.cli.group import LazyGroup
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.device.results import DeviceReport
    from pocketcrafter.runtime.bundle.reader import Bundle

_FOLDER: Final = "/data/local/tmp/pocketcrafter"
_APP_FILES: Final = "/sdcard/Android/data/org.pocketcrafter.app/files"
_TARGET: Final = "executorch-xnnpack"
_BUNDLE = click.argument("bundle", type=click.Path(exists=True, path_type=Path))
_SERIAL = click.option("--serial", help="Which device  [default: the only one].")
_PLACE = click.option("--folder", default=_FOLDER, show_default=True, help="Where on the device.")


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every command that uses the runner takes."""
    for option in reversed(
        (
            click.option("--target", default=_TARGET, show_default=True, help="Which target of the bundle."),
            click.option(
                "--runner",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                required=True,
                help="The runner for the device's ABI: benchmarks/device/runner builds it.",
            ),
            _SERIAL,
            _PLACE,
        )
    ):
        command = option(command)
    return command


_THREADS = click.option(
    "--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="Threads to compute with."
)
_KEEP = click.option("--keep", is_flag=True, help="Leave everything on the device.")


class _Devices(LazyGroup):
    extra = "device"
    lazy: ClassVar = {
        name: f"pocketcrafter.benchmarks.device.command:{name}_command"
        for name in ("list", "push", "goldens", "bench", "fetch", "pull", "farm")
    }


@click.group("device", cls=_Devices)
def device() -> None:
    r"""Run a bundle on a phone over adb: goldens (rung 4 of the ladder), latency, temperature.

    \b
    Example:
      pocketcrafter device list
      pocketcrafter device goldens build/default.pcbundle --runner build/runner-arm64/pocketcrafter_runner
    """


@click.command("list")
@click.option("--ios", is_flag=True, help="iOS devices, by Xcode's devicectl, in place of Android's.")
@json_option
def list_command(*, ios: bool, as_json: bool) -> None:
    r"""List the devices that are plugged in, and whether they are ready.

    \b
    Example:
      pocketcrafter device list
    """
    from pocketcrafter.benchmarks.device.adb import list_devices
    from pocketcrafter.benchmarks.device.apple import list_apple_devices

    found = list_apple_devices() if ios else list_devices()
    if as_json:
        click.echo(json.dumps([vars(one) for one in found], indent=1))
        return
    lines = [f"{one.serial:<28} {one.state:<14} {one.abi:<9} {one.model}".rstrip() for one in found]
    click.echo("\n".join(lines) or "no device")


@click.command("push")
@_BUNDLE
@_run_options
@json_option
def push_command(bundle: Path, target: str, runner: Path, serial: str | None, folder: str, *, as_json: bool) -> None:
    r"""Push one target of a bundle and the runner, and leave them there.

    \b
    Example:
      pocketcrafter device push build/default.pcbundle --runner build/runner-arm64/pocketcrafter_runner
    """
    from pocketcrafter.benchmarks.device.adb import open_device
    from pocketcrafter.benchmarks.device.stage import RUNNER, check_runner, part_of, staged

    opened = _open(bundle)
    connected = open_device(serial)
    check_runner(runner, connected)
    with staged(connected, _place(folder, opened), {**part_of(opened, target), RUNNER: runner}, keep=True) as place:
        files = connected.files(place)
    result = {"folder": place, "files": files}
    click.echo(json.dumps(result, indent=1) if as_json else f"{place}: {sum(files.values()) / 2**20:.1f} MiB")


@click.command("goldens")
@_BUNDLE
@_run_options
@_THREADS
@_KEEP
@click.option("--store/--no-store", default=True, show_default=True, help="Write rung 4 into the bundle.")
@json_option
def goldens_command(
    bundle: Path,
    target: str,
    runner: Path,
    serial: str | None,
    folder: str,
    threads: int,
    *,
    keep: bool,
    store: bool,
    as_json: bool,
) -> None:
    r"""Run the goldens on the device and hold them against this machine's: rung 4. Exit code 1: it was missed.

    \b
    Example:
      pocketcrafter device goldens build/default.pcbundle --runner build/runner-arm64/pocketcrafter_runner
    """
    from pocketcrafter.benchmarks.device.adb import open_device
    from pocketcrafter.benchmarks.device.measure import run_goldens
    from pocketcrafter.benchmarks.device.results import DEVICE_REPORT, device_lines
    from pocketcrafter.benchmarks.parity.results import store_rungs
    from pocketcrafter.runtime.cli.bars import Bars

    opened = _open(bundle)
    with Bars() as bars:
        report = run_goldens(
            opened,
            target,
            open_device(serial),
            runner,
            _place(folder, opened),
            threads=threads,
            keep=keep,
            progress=bars.update,
        )
    if store:
        rungs = {(golden.component, target): (golden.rung,) for golden in report.goldens}
        name = DEVICE_REPORT.format(target=target.replace(":", "-"))
        store_rungs(bundle, rungs, {name: report.model_dump_json(indent=1).encode()})
    _tell(report, device_lines, as_json=as_json)
    if report.failures:
        click.echo(f"rung 4 failed: {', '.join(report.failures)}", err=True)
        sys.exit(GateError.exit_code)


@click.command("bench")
@_BUNDLE
@_run_options
@_THREADS
@click.option("--repeats", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Timed runs of each.")
@click.option(
    "--cool-down", type=click.FloatRange(0, 3600), default=10.0, show_default=True, help="Seconds before each."
)
@_KEEP
@json_option
def bench_command(
    bundle: Path,
    target: str,
    runner: Path,
    serial: str | None,
    folder: str,
    threads: int,
    repeats: int,
    cool_down: float,
    *,
    keep: bool,
    as_json: bool,
) -> None:
    r"""Time every network on the device, with its temperature and battery before and after.

    \b
    Example:
      pocketcrafter device bench build/default.pcbundle --runner build/runner-arm64/pocketcrafter_runner --json
    """
    from pocketcrafter.benchmarks.device.adb import open_device
    from pocketcrafter.benchmarks.device.measure import run_latency
    from pocketcrafter.benchmarks.device.results import device_lines
    from pocketcrafter.runtime.cli.bars import Bars

    opened = _open(bundle)
    with Bars() as bars:
        report = run_latency(
            opened,
            target,
            open_device(serial),
            runner,
            _place(folder, opened),
            threads=threads,
            repeats=repeats,
            cool_down_s=cool_down,
            keep=keep,
            progress=bars.update,
        )
    _tell(report, device_lines, as_json=as_json)


@click.command("fetch")
@click.option("--out", type=OutputFolder(), required=True, help="Where the results go.")
@_SERIAL
@_PLACE
@json_option
def fetch_command(out: Path, serial: str | None, folder: str, *, as_json: bool) -> None:
    r"""Fetch the results that --keep or a broken-off run left on the device.

    \b
    Example:
      pocketcrafter device fetch --out results/
    """
    from pocketcrafter.benchmarks.device.adb import open_device
    from pocketcrafter.benchmarks.device.stage import pull_results

    pulled = pull_results(open_device(serial), folder, out)
    lines = "\n".join(map(str, pulled)) or "no results there"
    click.echo(json.dumps([str(path) for path in pulled], indent=1) if as_json else lines)


@click.command("pull")
@_BUNDLE
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the app's self-test screen exported, in place of what is on a phone.",
)
@_SERIAL
@click.option("--folder", default=_APP_FILES, show_default=True, help="Where on the device.")
@json_option
def pull_command(bundle: Path, file: Path | None, serial: str | None, folder: str, *, as_json: bool) -> None:
    r"""Write the goldens that an app ran on a phone into the bundle: rung 4. Exit code 1: it was missed.

    BUNDLE is the part that the app was built with. Its own gates judge the figures again.

    \b
    Example:
      pocketcrafter device pull build/parts/default-onnx.pcbundle
      pocketcrafter device pull build/parts/default-onnx.pcbundle --file goldens.json
    """
    import tempfile

    from pocketcrafter.benchmarks.device.adb import open_device
    from pocketcrafter.benchmarks.device.app_report import pull_app_report, store_app_report
    from pocketcrafter.benchmarks.device.results import device_lines

    with tempfile.TemporaryDirectory() as scratch:
        report = file or pull_app_report(open_device(serial), folder, Path(scratch))
        stored = store_app_report(bundle, report)
    _tell(stored, device_lines, as_json=as_json)
    if stored.failures:
        click.echo(f"rung 4 failed: {', '.join(stored.failures)}", err=True)
        sys.exit(GateError.exit_code)


@click.command("farm")
@_BUNDLE
@click.option("--phone", "name", required=True, help="A device as the farm calls it, as in 'Samsung Galaxy S25'.")
@click.option("--target", default="onnx", show_default=True, help="Which target of the bundle.")
@json_option
def farm_command(bundle: Path, name: str, target: str, *, as_json: bool) -> None:
    r"""Run a target's networks on a phone of Qualcomm AI Hub: uploads them, with one golden each, to that service.

    Needs the package qai-hub and an account's token (`qai-hub configure --api_token TOKEN`).

    \b
    Example:
      pocketcrafter device farm build/default.pcbundle --phone "Samsung Galaxy S25"
    """
    import hashlib

    from pocketcrafter.benchmarks.device.farm import run_on_farm
    from pocketcrafter.benchmarks.device.results import FarmReport, farm_lines
    from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
    from pocketcrafter.runtime.cli.bars import Bars

    opened = _open(bundle)
    with Bars() as bars:
        cases = tuple(run_on_farm(opened, target, name, bars.update))
    report = FarmReport(
        bundle=opened.manifest.name,
        manifest_sha256=hashlib.sha256(read_manifest_bytes(opened.root)).hexdigest(),
        target=target,
        device=name,
        cases=cases,
    )
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(farm_lines(report)))


def _open(bundle: Path) -> "Bundle":
    from pocketcrafter.runtime.bundle.reader import Bundle

    opened = Bundle.open(bundle)
    opened.check_integrity()
    return opened


def _place(folder: str, bundle: "Bundle") -> str:
    import hashlib

    from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes

    return f"{folder.rstrip('/')}/{hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest()[:12]}"


def _tell(report: "DeviceReport", lines: Callable[["DeviceReport"], Any], *, as_json: bool) -> None:
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(lines(report)))
