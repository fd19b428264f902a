"""Compiles the Swift package on Linux, warnings as errors, and runs its tests; `make swift` runs it.

Exit code 0: everything passed. 1: it did not. 77: the toolchain is missing and cannot be set up here; the output says
why. The toolchain is Debian 13's Swift 6.0.3, in a Debian 13 of its own below the cache folder: 3.5 GB, once, in some
minutes. Setting it up takes root and debootstrap; what was interrupted goes on where it stopped.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import api
import click
import numpy as np
from PIL import Image

from pocketcrafter.benchmarks.device.app_report import store_app_report
from pocketcrafter.benchmarks.latency.results import read_latency
from pocketcrafter.runtime.backends.onnxruntime import saturates
from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.files import user_cache
from pocketcrafter.runtime.photo.encode import save
from pocketcrafter.runtime.photo.load import load
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.vectors.pictures import tilted

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
PACKAGE: Final = HERE / "PocketCrafterKit"
README: Final = HERE / "README.md"
LEVEL: Final = ROOT / "tests/photos/bridge_dim_and_cool.jpg"
"""A photo of whose tilt the default pair is sure."""
STUBS: Final = ROOT / "tests/ios_demo/stubs"
FRAMEWORKS: Final = (
    "Compression", "CoreGraphics", "CoreImage", "ImageIO", "UniformTypeIdentifiers", "CoreML", "CoreAI", "UIKit",
    "MetalKit", "Photos", "SwiftUI", "PhotosUI", "System", "BackgroundAssets", "ExtensionFoundation", "StoreKit",
)  # fmt: skip
"""In the order in which they import each other."""
COMPRESSED: Final = ("Core/Bundle/Inflate.swift", "Core/Errors.swift")
"""What of the core is written for Apple's Compression, and what that takes."""
APPLE_TARGETS: Final = ("CoreMLRunner", "CoreAIRunner", "PocketCrafterImages")
SYSTEM_LIBRARIES: Final = ("COpenSSL", "CZlib", "COnnxRuntime")
SKIPPED: Final = 77
VERSION: Final = "6.0.3"
RELEASE: Final = "trixie"
MIRROR: Final = "http://deb.debian.org/debian"
PACKAGES: Final = (
    "swiftlang", "libstdc++-14-dev", "libc6-dev", "git", "ca-certificates", "libssl-dev", "zlib1g-dev",
    "libonnxruntime-dev",
)  # fmt: skip
HEADERS: Final = "/usr/include/onnxruntime"
MINIMUM_DB: Final = {"pair": 50.0, "latent_pair": 40.0}
"""PSNR to Python's pictures that each family's must reach, by the name of its vectors."""
THREADS: Final = 2
_POLL_SECONDS: Final = 0.02
_TILT_DEGREES: Final = -6.0


class MissingToolError(Exception):
    """The toolchain is not there; the message says how to get it."""


@dataclass(frozen=True)
class Toolchain:
    """A Debian with Swift; what runs in it sees the folders that it is given, under their own paths."""

    root: Path

    def command(self, words: Sequence[object], folders: Sequence[Path], environment: dict[str, object]) -> list[str]:
        """Return what runs a command in this Debian; its mounts are gone when it ends."""
        mounts = ["mount -t proc proc {0}/proc", "mount --rbind /dev {0}/dev"]
        mounts += [f"mkdir -p {{0}}{folder} && mount --bind {folder} {{0}}{folder}" for folder in folders]
        script = " && ".join([mount.format(self.root) for mount in mounts] + [f'exec chroot {self.root} "$@"'])
        variables = ["env", "HOME=/root", "LC_ALL=C.UTF-8", *(f"{key}={value}" for key, value in environment.items())]
        return ["unshare", "--mount", "sh", "-c", script, "sh", *variables, *map(str, words)]


@dataclass(frozen=True)
class Measured:
    """A process that ended well: its output, wall-clock seconds, and peak resident memory in MiB."""

    output: str
    seconds: float
    peak_mib: float


def main() -> int:
    """Set up, compile, export vectors, run the tests; with a bundle, compare the pair with Python's."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=ROOT / "build/swift", help="folder of everything that is made")
    arguments.add_argument("--bundle", type=Path, help="bundle whose pair is run on photos; without it, core alone")
    arguments.add_argument("--photos", type=Path, default=ROOT / "tests/photos", help="photos for the pair")
    arguments.add_argument("--record-api", action="store_true", help=f"write {api.LIST.name} instead of comparing it")
    only = arguments.add_mutually_exclusive_group()
    only.add_argument("--no-setup", action="store_true", help="skip, rather than set up a toolchain")
    only.add_argument("--setup-only", action="store_true", help="set up the toolchain, and compile nothing")
    asked = arguments.parse_args()
    out, bundle = asked.out.resolve(), None if asked.bundle is None else asked.bundle.resolve()
    try:
        toolchain = set_up(user_cache() / f"swift-{VERSION}", not asked.no_setup)
    except MissingToolError as error:
        click.echo(f"swift: not compiled and not run: {error}")
        return SKIPPED
    if asked.setup_only:
        click.echo(f"swift: the toolchain is in {toolchain.root}")
        return 0
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        # Two at once would compile into one folder: the second waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        check(toolchain, out, bundle, asked.photos, record_api=asked.record_api)
    what = "core, SDK and the whole pair" if bundle is not None else "core; not the pair, as there is no --bundle"
    click.echo(f"swift: compiled and run on Linux: {what}")
    return 0


def check(toolchain: Toolchain, out: Path, bundle: Path | None, folder: Path, *, record_api: bool) -> None:
    """Compile everything, run its tests, and run the pair of a bundle on photos of a folder."""
    folders = [ROOT, out] + ([] if bundle is None else [bundle])
    compiled = build(toolchain, out, folders)
    check_app(toolchain, out, folders)
    check_api(toolchain, out, folders, record=record_api)
    photos = [] if bundle is None else photos_of(folder, out / "photos")
    run([*python("export-vectors"), *photos, *with_bundle(bundle), "--out", out / "vectors"])
    variables = {"VECTORS": out / "vectors", "LD_LIBRARY_PATH": out / "lib"}
    if bundle is not None:
        pack(bundle, out / "bundle.zip")
        variables |= {"BUNDLE": bundle, "ARCHIVE": out / "bundle.zip", "UNSIGNED_WEIGHTS": int(saturates())}
        variables["REPORTS"] = out / "reports"
        (out / "reports").mkdir(exist_ok=True)
    run(toolchain.command([compiled / "PocketCrafterKitPackageTests.xctest"], folders, variables))
    if bundle is not None:
        tool = compiled / "pocketcrafter-swift"
        compare(toolchain, tool, out, bundle, photos)
        if "pair" in recorded(out / "vectors"):
            check_reports(bundle, out)
            compare_deep(toolchain, tool, out, bundle, photos)


def set_up(root: Path, may_fetch: bool) -> Toolchain:
    """Return the toolchain; make it first where it is not finished.

    Raises
    ------
    MissingToolError
        If it cannot be made or used here.
    """
    if os.geteuid() != 0:
        raise MissingToolError("Swift runs in a Debian 13 of its own, which takes root (chroot, mount)")
    if shutil.which("unshare") is None or quiet(["unshare", "--mount", "true"]):
        raise MissingToolError("this machine does not let processes mount folders (unshare --mount)")
    steps = {"debian": (_bootstrap, RELEASE), "swift": (_install, " ".join(PACKAGES))}
    missing = [name for name, (_, made) in steps.items() if _stamp(root, name) != made]
    if missing and not may_fetch:
        raise MissingToolError(f"no Swift {VERSION} in {root}: `make swift` sets it up (3.5 GB, some minutes)")
    for name in missing:
        click.echo(f"swift: setting up {root}: {name} (step {list(steps).index(name) + 1} of {len(steps)})")
        step, made = steps[name]
        step(root)
        (root / f".{name}").write_text(made, encoding="utf-8")
    return Toolchain(root)


def _stamp(root: Path, name: str) -> str:
    """Return what a finished step has written; nothing where it is not finished."""
    file = root / f".{name}"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _bootstrap(root: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise MissingToolError("debootstrap is not installed: apt-get install debootstrap")
    # Half a Debian is begun again, from the packages that were fetched already.
    shutil.rmtree(root, ignore_errors=True)
    packages = root.with_name(f"{root.name}-packages")
    packages.mkdir(parents=True, exist_ok=True)
    source = mirror()
    command = ["debootstrap", "--variant=minbase", f"--cache-dir={packages}", RELEASE, root, source]
    if subprocess.run([str(word) for word in command], check=False).returncode:  # noqa: S603 - our own words
        raise MissingToolError(f"debootstrap does not get Debian 13 from {source}")
    shutil.rmtree(packages)


def mirror() -> str:
    """Return where this machine's Debian gets its own packages, which it reaches; Debian's mirror elsewhere."""
    ours = ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *ours]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603 - our own words
    except (OSError, subprocess.CalledProcessError):
        return MIRROR
    return next(iter(found), MIRROR)


def _install(root: Path) -> None:
    shutil.copy2("/etc/resolv.conf", root / "etc/resolv.conf")
    install = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES)} && apt-get clean"
    script = f"export DEBIAN_FRONTEND=noninteractive; dpkg --configure -a && {install}"
    command = Toolchain(root).command(["sh", "-c", script], [], {})
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own words
        raise MissingToolError(f"apt-get does not get {PACKAGES[0]} in {root}; run it again to go on")


def build(toolchain: Toolchain, out: Path, folders: Sequence[Path]) -> Path:
    """Compile library, tool and tests, optimized; return the folder with what runs."""
    library = out / "lib/libonnxruntime.so.1"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        shutil.copy2(onnx_runtime(), library)
        library.with_suffix("").symlink_to(library.name)
    # Objects that an older core was compiled into have been kept where they must not be: from the start, or not at all.
    stamp, sources = out / "package/sources.key", digest(path for path in PACKAGE.rglob("*") if path.is_file())
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == sources:
        return out / "package/release"
    shutil.rmtree(out / "package", ignore_errors=True)
    flags = ["-Xswiftc", "-warnings-as-errors", "-Xswiftc", "-enable-testing", "-Xcc", f"-I{HEADERS}"]
    links = ["-Xlinker", f"-L{out / 'lib'}"]
    place = ["--package-path", PACKAGE, "--scratch-path", out / "package", "--disable-sandbox"]
    command = ["swift", "build", *place, "--configuration", "release", "--build-tests", "--jobs", "1", *flags, *links]
    run(toolchain.command(command, folders, {}))
    stamp.write_text(sources, encoding="utf-8")
    return out / "package/release"


def digest(files: Iterable[Path]) -> str:
    """Return a hash of files' names and contents."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(f"{file}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


def check_app(toolchain: Toolchain, out: Path, folders: Sequence[Path]) -> None:
    """Type-check what is Apple's alone against stubs of its frameworks, which is no proof that it builds.

    That is the app, Apple's runners, the core's use of Compression, and the README's snippets.
    """
    made, sources = out / "stubs", PACKAGE / "Sources"
    made.mkdir(exist_ok=True)
    checked = [*sources.rglob("*.swift"), *(HERE / "App").rglob("*.swift"), *STUBS.glob("*.swift"), README]
    stamp, key = made / "sources.key", digest(checked)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return
    stubbed = ["-swift-version", "6", "-parse-as-library", "-I", made]
    module = [*stubbed, "-suppress-warnings", "-emit-module", "-module-name"]
    script = [words([*module, name, STUBS / f"{name}.swift"], made, name) for name in FRAMEWORKS]
    seen = [*stubbed, "-I", out / "package/release/Modules", "-I", sources / "COpenSSL", "-I", sources / "CZlib"]
    seen += ["-package-name", PACKAGE.name.lower()]
    core_ml, core_ai, images, app, extension = (
        sorted(folder.glob("*.swift"))
        for folder in (*(sources / name for name in APPLE_TARGETS), HERE / "App/Sources", HERE / "App/Downloader")
    )
    compressed = [sources / name for name in COMPRESSED]
    script += [
        words([*seen, "-emit-module", "-module-name", "CoreMLRunner", *core_ml], made, "CoreMLRunner"),
        words([*seen, "-emit-module", "-module-name", "PocketCrafterImages", *images], made, "PocketCrafterImages"),
        words([*seen, "-typecheck", "-module-name", "CoreAIRunner", *core_ai]),
        words([*seen, "-typecheck", "-module-name", "PocketCrafterApp", *app, STUBS / "OnDemandResources.swift"]),
        words([*seen, "-typecheck", "-module-name", "Downloader", *extension]),
        words([*stubbed, "-typecheck", "-module-name", "PocketCrafterCore", *compressed]),
        *(words([*seen, "-typecheck", "-module-name", path.stem, path]) for path in swift_of(README, out / "snippets")),
    ]
    run(toolchain.command(["sh", "-c", " && ".join(script)], folders, {}))
    stamp.write_text(key, encoding="utf-8")


def swift_of(text: Path, out: Path) -> list[Path]:
    """Write each Swift snippet of a text into a file of its own, and return the files."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    files = []
    for n, snippet in enumerate(re.findall(r"```swift\n(.*?)```", text.read_text(encoding="utf-8"), re.DOTALL)):
        files.append(out / f"Snippet{n}.swift")
        files[-1].write_text(snippet, encoding="utf-8")
    return files


def check_api(toolchain: Toolchain, out: Path, folders: Sequence[Path], *, record: bool) -> None:
    """Compare the package's public API with the list that is checked in, or write that list."""
    graphs, sources = out / "api", PACKAGE / "Sources"
    graphs.mkdir(exist_ok=True)
    seen = [out / "package/release/Modules", out / "stubs", *(sources / name for name in SYSTEM_LIBRARIES)]
    options = ["-target", api.MACHINE, *(word for folder in seen for word in ("-I", folder)), "-Xcc", f"-I{HEADERS}"]
    options += ["-minimum-access-level", "public", "-output-dir", graphs]
    script = [shlex.join(map(str, [api.EXTRACT, "-module-name", name, *options])) for name in api.MODULES]
    run(toolchain.command(["sh", "-c", " && ".join(script)], folders, {}))
    found = api.listed(graphs)
    if record:
        api.LIST.write_text(found, encoding="utf-8")
    elif difference := api.difference(found):
        click.echo(f"{difference}\nswift: the public API has changed; if that is meant: ios_demo/build.py --record-api")
        sys.exit(1)


def words(options: Sequence[object], made: Path | None = None, name: str = "") -> str:
    """Return a call of the compiler as a shell reads it; a module's, where it makes one."""
    output = [] if made is None else ["-emit-module-path", made / f"{name}.swiftmodule"]
    return shlex.join(map(str, ["swiftc", *options, *output]))


def onnx_runtime() -> Path:
    """Return the library that Python runs; its C API serves programs built with the headers of older versions too."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin or "").parent / "capi" if found is not None else Path()
    return next(folder.glob("libonnxruntime.so.*"))


def photos_of(folder: Path, out: Path) -> list[Path]:
    """Return the photos of a folder, of each one more, turned and cut to an odd size, and one with a tilted horizon."""
    out.mkdir(exist_ok=True)
    photos = sorted(path for path in folder.iterdir() if path.suffix == ".jpg")
    turned = []
    for n, photo in enumerate(photos):
        pixels = np.rot90(load(photo).pixels, n % 4)[n : -1 - 2 * n, 2 * n : -1 - n]
        turned.append(out / f"{photo.stem}_turned.png")
        Image.fromarray(np.ascontiguousarray(pixels)).save(turned[-1])
    leaning = out / "tilted.png"
    Image.fromarray(tilted(LEVEL, _TILT_DEGREES)).save(leaning)
    return [*photos, *turned, leaning]


def check_reports(bundle: Path, out: Path) -> None:
    """End with code 1 where Swift's reports of goldens and speed are not what Python takes for rung 4 and compares."""
    proved = out / "proved.pcbundle"
    shutil.rmtree(proved, ignore_errors=True)
    shutil.copytree(bundle, proved)
    device = store_app_report(proved, out / "reports/goldens.json")
    speed = read_latency(out / "reports/latency.json")
    if device.failures or not speed.cases or not speed.sustained:
        click.echo(f"swift: reports: {', '.join(device.failures) or 'networks are missing'}")
        sys.exit(1)


def compare(toolchain: Toolchain, tool: Path, out: Path, bundle: Path, photos: Sequence[Path]) -> None:
    """Run the tool on each photo; end with code 1 where a picture or a critique is not Python's."""
    folders, faults = [ROOT, out, bundle], []
    source, enhanced = out / "in.ppm", out / "out.ppm"
    name, cases = pair_cases(out / "vectors")
    variables = {"LD_LIBRARY_PATH": out / "lib"}
    for photo, case in zip(photos, cases, strict=True):
        write_ppm(case["pixels"], source)
        strength = ["--strength", case["strength"]]
        options = tool_options(bundle)
        swift = measured(
            toolchain.command([tool, "enhance", source, enhanced, *strength, *options], folders, variables)
        )
        words = measured(toolchain.command([tool, "critique", source, *options], folders, variables))
        theirs = measured([*python("enhance"), photo, *strength, "--out", out / "python", *with_bundle(bundle)])
        decibels = psnr_db(case["enhanced"], read_ppm(enhanced))
        same = words.output == "".join(f"{line}\n" for line in (*case.get("lines", ()), case["text"]))
        if decibels < MINIMUM_DB[name] or not same:
            faults.append(photo.name)
        height, width = case["pixels"].shape[:2]
        click.echo(
            f"{photo.name}, {width}×{height}: PSNR {decibels:.1f} dB to Python's, critique "
            f"{'identical' if same else 'DIFFERS'}; whole process {swift.seconds:.1f} s and {swift.peak_mib:.0f} MiB, "
            f"Python's {theirs.seconds:.1f} s and {theirs.peak_mib:.0f} MiB"
        )
    refuse(faults)


def compare_deep(toolchain: Toolchain, tool: Path, out: Path, bundle: Path, photos: Sequence[Path]) -> None:
    """Do the same with photos of 16 bits a channel: one of each kind of edit, made of those of 8."""
    folders, faults = [ROOT, out, bundle], []
    source, enhanced = out / "in.ppm", out / "out.ppm"
    _, cases = pair_cases(out / "vectors")
    edits = {tuple(sorted(k for k, v in case["plan"].items() if v)): n for n, case in reversed([*enumerate(cases)])}
    for n in sorted(n for edit, n in edits.items() if edit):
        noise = np.random.default_rng(n).integers(-128, 129, cases[n]["pixels"].shape)
        pixels = np.clip(cases[n]["pixels"].astype(np.int32) * 257 + noise, 0, 65535).astype(np.uint16)
        photo = out / f"{photos[n].stem}_deep.png"
        save(Photo(pixels), photo)
        write_ppm(pixels, source)
        measured([*python("enhance"), photo, "--out", out / "python", *with_bundle(bundle)])
        (made,) = (out / "python").glob(f"{photo.stem}*")
        command = [tool, "enhance", source, enhanced, *tool_options(bundle)]
        measured(toolchain.command(command, folders, {"LD_LIBRARY_PATH": out / "lib"}))
        decibels = psnr_db(load(made).pixels, read_ppm(enhanced))
        if decibels < MINIMUM_DB["pair"]:
            faults.append(photo.name)
        click.echo(f"{photo.name}, 16 bits: PSNR {decibels:.1f} dB to Python's")
    refuse(faults)


def refuse(faults: Sequence[str]) -> None:
    """End with code 1 where there are faults."""
    if faults:
        click.echo(f"swift: not Python's: {', '.join(faults)}")
        sys.exit(1)


def tool_options(bundle: Path) -> list[object]:
    """Return the options of the tool for a bundle on this processor."""
    return [*with_bundle(bundle), *(["--unsigned-weights"] if saturates() else [])]


def recorded(vectors: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the cases of vectors by name."""
    cases: dict[str, list[dict[str, Any]]] = json.loads((vectors / "vectors.json").read_text(encoding="utf-8"))["cases"]
    return cases


def pair_cases(vectors: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the name of a pair's vectors, and what Python made of each photo.

    A case has the photo's pixels, ``(height, width, 3)``, the strength, the enhanced pixels, and the critique.
    """
    tensors = np.memmap(vectors / "tensors.bin", np.uint8, "r")
    cases = recorded(vectors)
    name = next(name for name in MINIMUM_DB if name in cases)

    def pixels(about: dict[str, Any]) -> np.ndarray[Any, Any]:
        return tensors[about["offset"] : about["offset"] + math.prod(about["shape"])].reshape(about["shape"])

    return name, [case | {key: pixels(case[key]) for key in ("pixels", "enhanced")} for case in cases[name]]


def write_ppm(pixels: np.ndarray[Any, Any], path: Path) -> None:
    """Write a picture of 8 or 16 bits as a binary PPM."""
    height, width = pixels.shape[:2]
    header = f"P6\n{width} {height}\n{np.iinfo(pixels.dtype).max}\n".encode()
    path.write_bytes(header + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())


def read_ppm(path: Path) -> np.ndarray[Any, Any]:
    """Read a binary PPM as the tool writes it; Pillow has no 16 bits of RGB."""
    _, size, top, samples = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(samples, np.uint8 if top == b"255" else ">u2").reshape(height, width, 3)


def psnr_db(reference: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> float:
    """Peak signal-to-noise ratio of two pictures of one depth, in decibels."""
    error = np.square(reference.astype(np.float64) - actual).mean()
    return math.inf if error == 0 else 10 * math.log10(np.iinfo(reference.dtype).max ** 2 / error)


def with_bundle(bundle: Path | None) -> list[object]:
    """Return the options that both languages' commands take."""
    return [] if bundle is None else ["--bundle", bundle, "--threads", THREADS]


def python(command: str) -> list[object]:
    """Return a command of this Python."""
    return [sys.executable, "-c", "from pocketcrafter.runtime.cli import main; main()", command]


def measured(command: Sequence[object]) -> Measured:
    """Run a command and measure its process; end with code 1 where it fails."""
    started, peak = time.perf_counter(), 0.0
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        # What the kernel reports at the end counts this process too, which the new one was until it ran its program.
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            time.sleep(_POLL_SECONDS)
        output = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        sys.exit(1)
    return Measured(output, time.perf_counter() - started, peak)


def _peak_mib(process: int) -> float:
    """Return the most memory that a process has had since it runs its program; 0 where it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)


def quiet(command: Sequence[str]) -> int:
    """Run a command without its output; return its exit code."""
    return subprocess.run(command, capture_output=True, check=False).returncode  # noqa: S603 - our own words


def run(command: Sequence[object]) -> None:
    """Run a command; end with code 1 where it fails."""
    if subprocess.run([str(word) for word in command], check=False).returncode:  # noqa: S603 - our own words
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
