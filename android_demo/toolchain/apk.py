"""An APK: resources linked, classes shrunk, everything packed where the system can map it, and signed."""

import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from toolchain.compilers import Compilers, run
from toolchain.packages import MissingToolError, r8, require

PACKAGE: Final = "org.pocketcrafter.app"
ABI: Final = "arm64-v8a"
MINIMUM_API: Final = 26
TARGET_API: Final = 36
"""What stores ask of updates. Newer than the API that is compiled against: what it changes of old calls is heeded
(explicit `exported`, no legacy storage, windows from edge to edge)."""
PERMISSIONS: Final = frozenset(
    f"android.permission.{name}" for name in ("CAMERA", "ACCESS_MEDIA_LOCATION", "WRITE_EXTERNAL_STORAGE")
)
"""All that the demo may ask for: camera and media."""
MOST_BYTES: Final = 60 << 20
FRAMEWORK: Final = Path("/usr/share/android-framework-res/framework-res.apk")
TOOLS: Final = {"aapt2": "aapt", "aapt": "aapt", "apksigner": "apksigner", "keytool": "openjdk-17-jdk-headless"}
_PAGE: Final = 16384
_ALIGNED: Final = 0xD935
"""The extra field in which Android's tools note an entry's alignment."""
_EPOCH: Final = (1981, 1, 1, 1, 1, 2)
_KEY: Final = ("androiddebugkey", "android", "CN=Android Debug,O=Android,C=US")


def require_apk_tools() -> None:
    """Raise `MissingToolError` where something is not installed that only the APK needs."""
    require(TOOLS)
    if not FRAMEWORK.is_file():
        raise MissingToolError(f"{FRAMEWORK} is not there: apt-get install android-framework-res")


def linked(compilers: Compilers, app: Path) -> tuple[Path, Path]:
    """Compile and link the app's resources; returns the APK that has them alone, and the jar of class `R`."""
    manifest, resources = app / "AndroidManifest.xml", app / "res"
    files = [manifest, *sorted(path for path in resources.rglob("*") if path.is_file())]
    generated = compilers.out / "generated"

    def make(apk: Path) -> None:
        flat, named = compilers.out / "resources.zip", compilers.out / "AndroidManifest.xml"
        run(["aapt2", "compile", "--dir", resources, "-o", flat])
        # Gradle names the package in its own files, and refuses a manifest that does.
        named.write_text(manifest.read_text().replace("<manifest ", f'<manifest package="{PACKAGE}" '))
        versions = ["--min-sdk-version", MINIMUM_API, "--target-sdk-version", TARGET_API]
        versions += ["--version-code", 1, "--version-name", "1.0"]
        run(["aapt2", "link", "-I", FRAMEWORK, "--manifest", named, *versions, "--java", generated, "-o", apk, flat])

    apk = compilers.made("resources.apk", files, make)
    return apk, compilers.java("r-class", sorted(generated.rglob("R.java")))


def shrunk(compilers: Compilers, jars: list[Path], rules: list[Path], stubs: Path) -> Path:
    """Turn jars into one dex file, without what nothing calls."""

    def make(dex: Path) -> None:
        tool = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-cp", r8(compilers.cache), "com.android.tools.r8.R8"]
        configuration = [word for path in rules for word in ("--pg-conf", path)]
        options = ["--release", "--min-api", MINIMUM_API, "--lib", stubs, *configuration]
        command = [str(word) for word in [*tool, *options, "--output", dex.with_suffix(".zip"), *jars]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode:
            click.echo(done.stderr[-4000:], err=True)
            sys.exit(1)
        with zipfile.ZipFile(dex.with_suffix(".zip")) as archive:
            dex.write_bytes(archive.read("classes.dex"))

    return compilers.made("classes.dex", [*jars, *rules, stubs], make)


def packed(apk: Path, resources: Path, dex: Path, aar: Path, files: dict[str, Path]) -> None:
    """Write the unsigned APK; libraries lie uncompressed on pages of 16 KB, so that the system maps them in place.

    Parameters
    ----------
    apk
        The file to write.
    resources
        What `linked` returned.
    dex
        The classes.
    aar
        ONNX Runtime's archive, whose libraries are taken.
    files
        More files by their path in the APK; stored as they are.
    """
    with zipfile.ZipFile(apk, "w") as out:
        with zipfile.ZipFile(resources) as archive:
            for entry in archive.infolist():
                stored = entry.compress_type == zipfile.ZIP_STORED
                _add(out, entry.filename, archive.read(entry), 4 if stored else 0)
        _add(out, "classes.dex", dex.read_bytes(), 0)
        with zipfile.ZipFile(aar) as archive:
            for name in _libraries(archive):
                _add(out, name.replace("jni/", "lib/"), archive.read(name), _PAGE)
        for name, path in files.items():
            _add(out, name, path.read_bytes(), 4)


def signed(unsigned: Path, apk: Path, cache: Path) -> None:
    """Sign with a debug key, which is made the first time."""
    alias, password, name = _KEY
    store = cache / "debug.keystore"
    if not store.is_file():
        key = ["-alias", alias, "-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname", name]
        run(["keytool", "-genkeypair", "-keystore", store, "-storepass", password, "-keypass", password, *key])
    options = ["--ks", store, "--ks-pass", f"pass:{password}", "--ks-key-alias", alias, "--v4-signing-enabled", "false"]
    run(["apksigner", "sign", *options, "--min-sdk-version", MINIMUM_API, "--out", apk, unsigned])


def check(apk: Path) -> None:
    """End with code 1 where Android's own tools find fault with an APK; what is of PocketCrafter is not looked at."""
    run(["apksigner", "verify", "--min-sdk-version", MINIMUM_API, apk])
    wanted = set(_permissions(apk))
    if wanted != PERMISSIONS:
        click.echo(f"{apk}: asks for {', '.join(sorted(wanted))}; it may ask for {', '.join(sorted(PERMISSIONS))}.")
        sys.exit(1)
    if (size := apk.stat().st_size) > MOST_BYTES:
        click.echo(f"{apk}: {size / 2**20:.1f} MiB; at most {MOST_BYTES >> 20} MiB are allowed.")
        sys.exit(1)
    with zipfile.ZipFile(apk) as archive:
        if b"Lai/onnxruntime/telemetry/" in archive.read("classes.dex"):
            click.echo(f"{apk}: has classes of ONNX Runtime's telemetry.")
            sys.exit(1)


def _permissions(apk: Path) -> Iterator[str]:
    command = ["aapt", "dump", "permissions", str(apk)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    for line in done.stdout.splitlines():
        if line.startswith("uses-permission"):
            yield line.split("'")[1]


def _libraries(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.startswith(f"jni/{ABI}/") and name.endswith(".so")]


def _add(archive: zipfile.ZipFile, name: str, content: bytes, alignment: int) -> None:
    """Add an entry: compressed, or stored at a multiple of some bytes."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_STORED if alignment else zipfile.ZIP_DEFLATED
    if alignment:
        # The local header has 30 bytes, the name, and this field, whose six bytes are followed by padding.
        start = archive.start_dir + 30 + len(name.encode()) + 6
        padding = bytes(-start % alignment)
        entry.extra = struct.pack("<HHH", _ALIGNED, 2 + len(padding), alignment) + padding
    archive.writestr(entry, content)
