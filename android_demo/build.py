"""Compiles the Kotlin core, SDK and demo app, warnings as errors; `make android` runs it.

`test` runs the core's tests, and with a bundle the SDK's, on this machine's JVM. `apk` compiles all of it against
stub classes of Android's API, and packs, signs and checks the demo. Exit code 0: everything passed. 1: it did not.
77: a tool is missing that this machine cannot be asked for here; the output names it.
"""

import argparse
import fcntl
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import click
from toolchain.apk import check, linked, packed, require_apk_tools, shrunk, signed
from toolchain.compilers import Compilers, run
from toolchain.pace import python_ms
from toolchain.packages import MissingToolError, require
from toolchain.photos import varied

from pocketcrafter.runtime.backends.onnxruntime import saturates

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CORE, SDK, HOST, APP = (HERE / name / "src" for name in ("core", "sdk", "host", "app"))
SKIPPED = 77
JUNIT = [Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest.jar")]
PYTHON = [sys.executable, "-c", "from pocketcrafter.runtime.cli import main; main()"]
SCHEMA = "org/pocketcrafter/manifest.schema.json"


def main() -> int:
    """Do what the command line asks for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=("test", "apk"))
    arguments.add_argument("--out", type=Path, default=ROOT / "build/android", help="folder of everything that is made")
    arguments.add_argument("--bundle", type=Path, help="bundle whose pair is run, or packed; without it, none is")
    arguments.add_argument("--latent", type=Path, help="bundle of the latent family whose pair is run too")
    arguments.add_argument("--photos", type=Path, default=ROOT / "tests/photos", help="photos for the pair")
    asked = arguments.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    try:
        require({"javac": "openjdk-17-jdk-headless", "npm": "npm"})
        with (out / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if asked.what == "apk":
                return apk(out, asked.bundle)
            return test(out, asked.bundle, asked.latent, asked.photos)
    except MissingToolError as error:
        click.echo(f"android {asked.what}: not compiled and not run: {error}")
        return SKIPPED


def test(out: Path, bundle: Path | None, latent: Path | None, photos: Path) -> int:
    """Compile core, SDK and their tests, export vectors, run the tests."""
    if absent := [str(jar) for jar in JUNIT if not jar.is_file()]:
        raise MissingToolError(f"{', '.join(absent)} not there: apt-get install junit4")
    compilers = Compilers(out)
    java = Path(shutil.which("javac") or "").resolve().parents[1]
    libraries = [compilers.library(name) for name in ("kotlin-stdlib", "kotlin-test", "kotlin-test-junit")] + JUNIT
    core = compilers.kotlin("core", [CORE / "main/kotlin"], [])
    friends = [core]
    reports = out / "reports"
    reports.mkdir(exist_ok=True)
    sources, properties = [CORE / "test/kotlin"], {"vectors": out / "vectors", "reports": reports}
    if bundle is not None:
        require({"g++": "g++"})
        coroutines = compilers.library("kotlinx-coroutines-core-jvm")
        path = [core, libraries[0], coroutines, compilers.java_api()]
        # What of the app is no screen is tested here too.
        sdk = compilers.kotlin("sdk", [SDK / "main/kotlin", APP / "main/kotlin/org/pocketcrafter/app/Editor.kt"], path)
        libraries += [sdk, coroutines]
        friends.append(sdk)
        sources += [HOST / "main/kotlin", SDK / "executorch/kotlin", HOST / "test/kotlin"]
        headers = ["-isystem", compilers.onnx_headers]
        shim = compilers.shim("ort_shim", HOST / "main/cpp/ort_shim.cpp", java, headers)
        properties |= {"bundle": bundle, "shim": shim, **onnx_runtime()}
        if latent is not None:
            properties["latent"] = latent
        if (wheel := importlib.util.find_spec("executorch")) is not None:
            folder = Path(next(iter(wheel.submodule_search_locations or ())))
            source = HOST / "main/cpp/executorch_shim.cpp"
            properties["executorch"] = compilers.shim("executorch_shim", source, java, executorch_options(folder))
    name = "pair" if bundle is not None else "tests"
    tests = compilers.kotlin(name, sources, [core, *libraries], friends=friends)
    pairs = [word for path in (bundle, latent) if bundle and path for word in ("--bundle", path)]
    taken = [varied(photos, out / "photos"), *pairs] if pairs else []
    run([*PYTHON, "export-vectors", *taken, "--out", out / "vectors", "--threads", "2"])
    if bundle is not None:
        properties["python_ms"] = ",".join(f"{name}={millis:.3f}" for name, millis in python_ms().items())
    classes = [
        ".".join(path.relative_to(source).with_suffix("").parts)
        for source in sources
        for path in sorted(source.rglob("*Test.kt"))
    ]
    path = os.pathsep.join(map(str, [core, tests, CORE / "main/resources", *libraries]))
    given = [f"-D{key}={value}" for key, value in properties.items()]
    run([java / "bin/java", "-Xmx1g", "-XX:+UseSerialGC", *given, "-cp", path, "org.junit.runner.JUnitCore", *classes])
    what = "core, SDK and the whole pair" if bundle is not None else "core; not the pair, as there is no --bundle"
    click.echo(f"android: compiled and run on this machine's JVM: {what}")
    return 0


def apk(out: Path, bundle: Path | None) -> int:
    """Compile everything against Android's API, and pack, sign and check the demo."""
    require_apk_tools()
    compilers = Compilers(out)
    stubs, ort = compilers.android_stubs(), compilers.java_api()
    resources, r_class = linked(compilers, APP / "main")
    libraries = [compilers.library(name) for name in ("kotlin-stdlib", "kotlinx-coroutines-core-jvm")] + [ort]
    sources = [CORE / "main/kotlin", SDK / "main/kotlin", SDK / "android/kotlin", APP / "main/kotlin"]
    snippets = kotlin_of(HERE / "README.md", out / "snippets")
    classes = compilers.kotlin("demo", [*sources, snippets], [stubs, *libraries, r_class], android=True)
    # ExecuTorch's archive cannot be had here: its runner is compiled against declarations, and is in no APK.
    declared = HOST / "main/kotlin/org/pytorch"
    compilers.kotlin("executorch", [SDK / "executorch/kotlin", declared], [stubs, *libraries, classes], android=True)
    rules = [HERE / "app/proguard-rules.pro", HERE / "sdk/consumer-rules.pro"]
    dex = shrunk(compilers, [classes, r_class, *libraries], rules, stubs)
    files = {SCHEMA: CORE / "main/resources" / SCHEMA}
    if bundle is not None:
        run([*PYTHON, "split", bundle, "--out", out / "parts"])
        files["assets/default.pcbundle"] = next((out / "parts").glob("*-onnx.pcbundle"))
    unsigned, made = out / "unsigned.apk", out / "pocketcrafter-demo.apk"
    packed(unsigned, resources, dex, compilers.aar, files)
    signed(unsigned, made, compilers.cache)
    check(made)
    what = "" if bundle is not None else "; it holds no bundle, as there is no --bundle"
    click.echo(f"android: {made}, {made.stat().st_size / 2**20:.1f} MiB, signed with a debug key; never run{what}")
    return 0


def executorch_options(wheel: Path) -> list[object]:
    """Return what a library is compiled and linked with over the C++ libraries of ExecuTorch's wheel."""
    names = ("", "_backend_xnnpack", "_kernels_optimized", "_kernels_quantized", "_threadpool")
    portable = wheel / "include/executorch/runtime/core/portable_type/c10"
    # Kernels and backends register themselves: nothing names their symbols, and a linker would leave them out.
    linked_all = ["-Wl,--no-as-needed", *(f"-lexecutorch{name}" for name in names), f"-Wl,-rpath,{wheel / 'lib'}"]
    includes = ["-isystem", wheel / "include", "-isystem", portable, "-DC10_USING_CUSTOM_GENERATED_MACROS"]
    return [*includes, f"-L{wheel / 'lib'}", *linked_all]


def kotlin_of(text: Path, out: Path) -> Path:
    """Write each Kotlin snippet of a text into a file with a package of its own; they are compiled with the demo."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for n, snippet in enumerate(re.findall(r"```kotlin\n(.*?)```", text.read_text(encoding="utf-8"), re.DOTALL)):
        (out / f"Snippet{n}.kt").write_text(f"package snippet{n}\n\n{snippet}", encoding="utf-8")
    return out


def onnx_runtime() -> dict[str, object]:
    """Return the library that Python runs, and whether it must store weights unsigned here."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin or "").parent / "capi" if found is not None else Path()
    library = next(folder.glob("libonnxruntime.so.*"))
    return {"onnxruntime": library, "exact": str(saturates()).lower()}


if __name__ == "__main__":
    sys.exit(main())
