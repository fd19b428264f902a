"""A phone made of this machine: it speaks adb's own protocol, and a real adb server stands between it and the tests."""

import os
import queue
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

adbutils = pytest.importorskip("adbutils", reason="needs the extra `device` (adbutils, which brings an adb server)")

if not sys.platform.startswith("linux"):
    pytest.skip("the phone is made of a Linux machine's shell", allow_module_level=True)

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(n, "little") for n in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
BANNER = b"device::ro.product.name=test;ro.product.model=Test;ro.product.device=test;"
SCRIPTS = {
    "getprop": 'case "$1" in ro.product.model) echo Testphone;; ro.build.version.release) echo 15;; '
    "ro.soc.model) echo TS1;; esac",
    "dumpsys": "echo '  level: 83'; echo '  temperature: 287'",
}


class Phone:
    """The device's end of adb over TCP: `shell:` and `sync:` services, one thread a stream.

    Attributes
    ----------
    folder
        Where it may write.
    trusts
        Whether it trusts computers; it asks for a signature for ever where not.
    full_after
        Bytes that it can still take in.
    on_runner
        Called with the command line that starts the runner; returns what is started in its place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder / "files", folder / "bin"
        for made in (self.folder, self.bin):
            made.mkdir()
        for name, text in SCRIPTS.items():
            self.script(name, text)
        self.trusts, self.full_after = True, 1 << 40
        self.on_runner: Callable[[str], str] = lambda command: command
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connection: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, name: str, text: str) -> None:
        """Give it a program."""
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def unplug(self) -> None:
        self._listener.close()
        if self._connection is not None:
            with suppress(OSError):  # it may be out already
                self._connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connection = connection
            threading.Thread(target=_Wire(self, connection).serve, daemon=True).start()


class _Wire:
    def __init__(self, phone: Phone, connection: socket.socket) -> None:
        self.phone, self.connection = phone, connection
        self.lock = threading.Lock()
        self.streams: dict[int, _Stream] = {}

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self.lock:
            self.connection.sendall(head + data)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (part := self.connection.recv(size - len(data))):
                raise EOFError
            data += part
        return data

    def serve(self) -> None:
        try:
            while True:
                command, first, second, size, _, _ = struct.unpack("<6I", self._read(24))
                self._take(command, first, second, self._read(size))
        except (OSError, EOFError):
            for stream in self.streams.values():
                stream.incoming.put(b"")
                stream.acknowledged.set()

    def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        if command in (CNXN, AUTH):
            if self.phone.trusts:
                self.send(CNXN, 0x01000000, 1 << 16, BANNER)
            else:
                self.send(AUTH, 1, 0, os.urandom(20))
        elif command == OPEN:
            stream = _Stream(self, len(self.streams) + 1, first)
            self.streams[stream.mine] = stream
            self.send(OKAY, stream.mine, stream.theirs)
            threading.Thread(target=stream.serve, args=(data.rstrip(b"\0").decode(),), daemon=True).start()
        elif stream := self.streams.get(second):
            if command == WRTE:
                stream.incoming.put(data)
                self.send(OKAY, stream.mine, stream.theirs)
            elif command == OKAY:
                stream.acknowledged.set()
            elif command == CLSE:
                stream.incoming.put(b"")


class _Stream:
    def __init__(self, wire: _Wire, mine: int, theirs: int) -> None:
        self.wire, self.mine, self.theirs = wire, mine, theirs
        self.incoming: queue.Queue[bytes] = queue.Queue()
        self.acknowledged = threading.Event()
        self.rest = b""

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), 4096):
            self.acknowledged.clear()
            self.wire.send(WRTE, self.mine, self.theirs, data[start : start + 4096])
            self.acknowledged.wait(10)

    def read(self, size: int) -> bytes:
        while len(self.rest) < size:
            if not (part := self.incoming.get()):
                raise EOFError
            self.rest += part
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def serve(self, service: str) -> None:
        try:
            if service.startswith("shell:"):
                self._shell(service.removeprefix("shell:"))
            elif service.startswith("sync:"):
                self._sync()
            self.wire.send(CLSE, self.mine, self.theirs)
        except (OSError, EOFError):
            pass

    def _shell(self, command: str) -> None:
        phone = self.wire.phone
        phone.commands.append(command)
        if "./runner" in command:
            command = phone.on_runner(command)
        path = f"{phone.bin}:{os.environ['PATH']}"
        said = subprocess.run(  # noqa: S603 - a phone's shell runs what it is told
            ["/bin/sh", "-c", command],
            env={"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.write(said.stdout)

    def _sync(self) -> None:
        while True:
            name, size = struct.unpack("<4sI", self.read(8))
            path = self.read(size).decode()
            if name == b"STAT":
                there = Path(path).stat() if Path(path).exists() else None
                facts = (there.st_mode, there.st_size, int(there.st_mtime)) if there else (0, 0, 0)
                self.write(struct.pack("<4s3I", b"STAT", *facts))
            elif name == b"SEND":
                self._receive(path)
            elif name == b"RECV":
                data = Path(path).read_bytes()
                parts = (data[at : at + 60_000] for at in range(0, len(data), 60_000))
                self.write(b"".join(struct.pack("<4sI", b"DATA", len(p)) + p for p in parts) + b"DONE\0\0\0\0")
            else:
                return

    def _receive(self, request: str) -> None:
        path, _, mode = request.rpartition(",")
        content = b""
        while True:
            name, size = struct.unpack("<4sI", self.read(8))
            if name == b"DONE":
                break
            content += self.read(size)
        phone = self.wire.phone
        if len(content) > phone.full_after:
            reason = b"No space left on device"
            self.write(struct.pack("<4sI", b"FAIL", len(reason)) + reason)
            return
        phone.full_after -= len(content)
        Path(path).write_bytes(content)
        Path(path).chmod(stat.S_IMODE(int(mode)))
        self.write(b"OKAY\0\0\0\0")


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an adb server of the tests' own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("adb")
    adb = shutil.which("adb") or adbutils.adb_path()
    server = subprocess.Popen(  # noqa: S603 - adb's own program
        [adb, "-P", str(port), "nodaemon", "server"],
        env=os.environ | {"HOME": str(home), "ADB_MDNS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = adbutils.AdbClient(port=port)
    for _ in range(100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    else:
        server.kill()
        pytest.skip("the adb server does not start here")
    yield port
    client.server_kill()
    server.wait(10)


@pytest.fixture
def phone(adb_server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """A phone that is not plugged in yet."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb_server))
    made = Phone(tmp_path)
    yield made
    made.unplug()
    adbutils.AdbClient(port=adb_server).disconnect(made.address)


@pytest.fixture
def plug(adb_server: int) -> Callable[[Phone], str]:
    """Plug a phone in; returns its serial number once the adb server lists it."""

    def plugged(phone: Phone) -> str:
        client = adbutils.AdbClient(port=adb_server)
        client.connect(phone.address, timeout=10)
        wanted = {"device"} if phone.trusts else {"unauthorized", "authorizing"}
        for _ in range(100):
            if any(d.serial == phone.address and d.state in wanted for d in client.list()):
                return phone.address
            time.sleep(0.05)
        raise TimeoutError(client.list())

    return plugged


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of this machine that answers nothing."""
    path = tmp_path / "true"
    shutil.copyfile("/bin/true", path)
    return path
