"""Devices over the real adb: what is pushed arrives, what fails says why, and nothing is left behind."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.device.adb import (
    DeviceError,
    DeviceFullError,
    DisconnectedError,
    NoDeviceError,
    RunnerError,
    RunnerKilledError,
    UnauthorizedError,
    WrongAbiError,
    list_devices,
    open_device,
)
from pocketcrafter.benchmarks.device.apple import list_apple_devices
from pocketcrafter.benchmarks.device.command import device as device_command
from pocketcrafter.benchmarks.device.stage import RUNNER, check_runner, pull_results, run_runner, staged
from pocketcrafter.runtime.errors import ConfigError

Plug = Callable[[Any], str]


@pytest.fixture
def files(tmp_path: Path, program: Path) -> dict[str, Path]:
    weights = tmp_path / "restore.pte"
    weights.write_bytes(bytes(range(256)) * 700)
    return {"restore.pte": weights, RUNNER: program}


def test_a_phone_is_listed_with_what_it_says_of_itself(phone: Any, plug: Plug) -> None:
    plug(phone)
    (found,) = list_devices()
    assert (found.serial, found.state, found.model) == (phone.address, "device", "Testphone")


def test_what_is_pushed_arrives_and_is_removed_afterwards(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    device, folder = open_device(plug(phone)), f"{phone.folder}/a b/bundle"
    with staged(device, folder, files) as place:
        assert (Path(place) / "restore.pte").read_bytes() == files["restore.pte"].read_bytes()
        assert device.run(f"'{place}/runner'") == (0, "")
        assert device.pull(f"{place}/restore.pte") == files["restore.pte"].read_bytes()
        assert device.files(place) == {name: path.stat().st_size for name, path in files.items()}
    assert not any(phone.folder.iterdir())


def test_what_was_pushed_on_purpose_is_not_pushed_again_and_stays(
    phone: Any, plug: Plug, files: dict[str, Path]
) -> None:
    device, folder = open_device(plug(phone)), f"{phone.folder}/bundle"
    with staged(device, folder, files, keep=True):
        pass
    written = (Path(folder) / "restore.pte").stat().st_mtime_ns
    with staged(device, folder, files):
        pass
    assert (Path(folder) / "restore.pte").stat().st_mtime_ns == written


def test_a_full_phone_is_told_before_anything_is_pushed(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    phone.script("df", "echo head; echo /dev/x 1000 900 100 90% /data")
    device, folder = open_device(plug(phone)), f"{phone.folder}/bundle"
    with pytest.raises(DeviceFullError, match=r"0\.1 MiB left"), staged(device, folder, files):
        pass
    assert not Path(folder).exists()


def test_a_phone_that_fills_up_while_it_is_written_is_cleaned(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    phone.full_after = 100_000
    phone.script(
        "df", f"test -e {phone.folder}/bundle && echo /dev/x 100000 9 90000 9% /data || echo /dev/x 1 1 0 1% /"
    )
    device, folder = open_device(plug(phone)), f"{phone.folder}/bundle"
    phone.script(
        "df",
        f"n={phone.folder}/asked; echo x >> $n; test $(wc -l < $n) = 1 && echo x 1 1 90000 1% / || echo x 1 1 0 1% /",
    )
    with pytest.raises(DeviceFullError, match="Make room"), staged(device, folder, files):
        pass
    assert not Path(folder).exists()


def test_a_folder_that_cannot_be_made_is_named(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    device = open_device(plug(phone))
    with pytest.raises(DeviceError, match="choose another --folder"), staged(device, "/proc/bundle", files):
        pass


def test_a_phone_that_does_not_trust_this_computer(phone: Any, plug: Plug) -> None:
    phone.trusts = False
    serial = plug(phone)
    with pytest.raises(UnauthorizedError, match="Unlock it"):
        open_device(serial)
    assert [found.state for found in list_devices()] != ["device"]


def test_no_phone_and_another_phone(phone: Any, plug: Plug) -> None:
    with pytest.raises(NoDeviceError, match="plug it in"):
        open_device(None)
    plug(phone)
    with pytest.raises(NoDeviceError, match="No device nobody"):
        open_device("nobody")


def test_a_cable_that_is_pulled_out_while_the_runner_runs(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    device = open_device(plug(phone))

    def pull_out(command: str) -> str:
        phone.unplug()
        return command

    phone.on_runner = pull_out
    with pytest.raises(DisconnectedError, match="check the cable"), staged(device, f"{phone.folder}/b", files) as place:
        run_runner(device, place, [], 20)


def test_a_runner_that_is_killed(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    device, folder = open_device(plug(phone)), f"{phone.folder}/b"
    phone.on_runner = lambda command: command.replace("./runner", "sh -c 'kill -9 $$'")
    killed = pytest.raises(RunnerKilledError, match="signal 9, most likely for want of memory")
    with killed, staged(device, folder, files) as place:
        run_runner(device, place, ["--model", "restore.pte"], 20)
    assert not Path(folder).exists()


def test_a_runner_that_fails_is_quoted(phone: Any, plug: Plug, files: dict[str, Path]) -> None:
    device = open_device(plug(phone))
    phone.on_runner = lambda command: command.replace("./runner", "sh -c 'echo pocketcrafter_runner: no; exit 3'")
    failed = pytest.raises(RunnerError, match=r"exit code 3: pocketcrafter_runner: no")
    with failed, staged(device, f"{phone.folder}/b", files) as place:
        run_runner(device, place, [], 20)


def test_a_runner_for_another_processor_is_refused_before_it_is_pushed(phone: Any, plug: Plug, program: Path) -> None:
    device = open_device(plug(phone))
    check_runner(program, device)
    head = bytearray(program.read_bytes())
    struct.pack_into("<H", head, 18, 8)
    program.write_bytes(head)
    with pytest.raises(WrongAbiError, match="ELF machine 8"):
        check_runner(program, device)
    program.write_bytes(b"#!/bin/sh\nexit 0\n" * 4)
    with pytest.raises(ConfigError, match="no ELF program"):
        check_runner(program, device)
    assert not any(phone.folder.iterdir())


def test_results_are_fetched_and_nothing_else(phone: Any, plug: Plug, tmp_path: Path) -> None:
    device = open_device(plug(phone))
    run = phone.folder / "0123456789ab/run-restore"
    run.mkdir(parents=True)
    (run / "result.json").write_text('{"load_ms": 1}')
    (run / "output_0.bin").write_bytes(b"0000")
    pulled = pull_results(device, str(phone.folder), tmp_path / "out")
    assert pulled == [tmp_path / "out/0123456789ab/run-restore/result.json"]
    assert json.loads(pulled[0].read_text()) == {"load_ms": 1}


def test_ios_devices_need_a_mac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="Xcode 15"):
        list_apple_devices()


def test_ios_devices_are_read_from_devicectl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `devicectl list devices --json-output` writes, as Xcode 15 does."""
    said = {"result": {"devices": [{
        "identifier": "ABC", "connectionProperties": {"tunnelState": "connected"},
        "hardwareProperties": {"marketingName": "iPhone 15", "cpuType": {"name": "arm64e"}},
    }]}}  # fmt: skip
    (tmp_path / "xcrun").write_text(f"#!/bin/sh\nprintf '%s' '{json.dumps(said)}' > \"$5\"\n")
    (tmp_path / "xcrun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    (found,) = list_apple_devices()
    assert (found.serial, found.state, found.model, found.abi) == ("ABC", "connected", "iPhone 15", "arm64e")


@pytest.mark.parametrize("name", ["list", "push", "goldens", "bench", "fetch", "pull"])
def test_every_command_shows_an_example(name: str) -> None:
    result = CliRunner().invoke(device_command, [name, "--help"])
    assert result.exit_code == 0
    assert f"pocketcrafter device {name}" in result.output
