"""Kotlin, C++ and the stub classes of Android, compiled when what they are made of has changed."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from toolchain.api_stubs import write_stubs
from toolchain.packages import AAR, HEADERS, KOTLIN, ONNX_RUNTIME, api_signatures, npm

_GENERATOR: Final = [Path(__file__).with_name(name) for name in ("api_stubs.py", "class_file.py")]


class Compilers:
    """The compilers of one output folder.

    Parameters
    ----------
    out
        Where everything goes; what was fetched is in its ``tools``.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.cache = out, out / "tools"
        self._kotlin = npm(KOTLIN, self.cache) / "package"

    def library(self, name: str) -> Path:
        """Return a jar that comes with the compiler."""
        return self._kotlin / "lib" / f"{name}.jar"

    def kotlin(
        self,
        name: str,
        sources: Sequence[Path],
        path: Sequence[Path],
        *,
        friends: Sequence[Path] = (),
        android: bool = False,
    ) -> Path:
        """Compile folders of Kotlin into a jar, warnings as errors.

        Parameters
        ----------
        name
            The jar's, without its suffix.
        sources
            Folders and files.
        path
            Jars that the sources see.
        friends
            Jars whose internal members they see too.
        android
            Whether ``path`` has all classes, `java.lang` too, and this machine's JDK is not looked at.
        """
        files = sorted(f for source in sources for f in (source.rglob("*.kt") if source.is_dir() else [source]))

        def make(jar: Path) -> None:
            seen = ["-cp", os.pathsep.join(map(str, path))] if path else []
            inner = [f"-Xfriend-paths={','.join(map(str, friends))}"] if friends else []
            jdk = ["-no-jdk"] if android else []
            options = ["-Werror", "-no-reflect", "-jvm-target", "11", *jdk, *inner, *seen, "-d", jar]
            compiler = ["java", "-Xmx1200m", "-XX:+UseSerialGC", "-cp", self.library("kotlin-compiler")]
            main = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
            run([*compiler, main, "-kotlin-home", self._kotlin, *options, *files])

        return self.made(f"{name}.jar", [*files, *path], make)

    def java(self, name: str, sources: Sequence[Path]) -> Path:
        """Compile Java sources, which need nothing but `java.lang`, into a jar."""

        def make(jar: Path) -> None:
            classes = jar.with_suffix(".classes")
            run(["javac", "--release", "8", "-Xlint:-options", "-d", classes, *sources])
            with zipfile.ZipFile(jar, "w") as archive:
                for file in sorted(classes.rglob("*.class")):
                    archive.write(file, file.relative_to(classes))

        return self.made(f"{name}.jar", sources, make)

    def android_stubs(self) -> Path:
        """Return the jar of stub classes of Android's API."""
        signatures = api_signatures(self.cache)

        def make(jar: Path) -> None:
            click.echo(f"android: {write_stubs(signatures.read_text(encoding='utf-8'), jar)} stub classes of the API")

        return self.made("android-api.jar", [signatures, *_GENERATOR], make)

    def java_api(self) -> Path:
        """Return ONNX Runtime's Java API."""

        def make(jar: Path) -> None:
            with zipfile.ZipFile(self.aar) as archive:
                jar.write_bytes(archive.read("classes.jar"))

        return self.made("onnxruntime.jar", [], make)

    @property
    def aar(self) -> Path:
        """ONNX Runtime's archive for Android."""
        return npm(ONNX_RUNTIME, self.cache) / AAR

    def shim(self, name: str, source: Path, java: Path, options: Sequence[object] = ()) -> Path:
        """Compile a JNI library over an engine's C or C++ API."""

        def make(library: Path) -> None:
            includes = [f"-I{java / 'include'}", f"-I{java / 'include/linux'}"]
            strict = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
            run(["g++", *strict, *includes, source, "-o", library, *options])

        return self.made(f"lib{name}.so", [source], make)

    @property
    def onnx_headers(self) -> Path:
        """The folder of ONNX Runtime's C headers."""
        return npm(ONNX_RUNTIME, self.cache) / HEADERS

    def made(self, name: str, inputs: Iterable[Path], make: Callable[[Path], None]) -> Path:
        """Return a file that is made again where the content of what it is made of differs from the last time."""
        path = self.out / name
        stamp, key = path.with_name(f"{name}.key"), digest(inputs)
        if not (path.is_file() and stamp.is_file() and stamp.read_text() == key):
            click.echo(f"android: making {name} …")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            make(path)
            stamp.write_text(key)
        return path


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
