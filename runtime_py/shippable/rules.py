"""The rules: each looks at a package and says what is wrong, where, and what to do next."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import PurePosixPath
from typing import Final

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.shippable import qnn
from pocketcrafter.runtime.shippable.android_manifest import AndroidManifest, read_manifest
from pocketcrafter.runtime.shippable.contents import Entry, Package, PackageKind
from pocketcrafter.runtime.shippable.elf import LARGE_PAGES, MACHINES, Library, read_library
from pocketcrafter.runtime.targets import TARGETS, Soc, TargetKind

PAGE_BYTES: Final = 16384
_SIGNING_BLOCK: Final = b"APK Sig Block 42"
_DEBUG_KEY: Final = b"Android Debug"
_LOW_RAM_LIMIT: Final = 512 << 20
"""Phones without `_NORMAL_RAM` have 2 GB or less, and an app may fill about a quarter of them."""
_NORMAL_RAM: Final = "android.hardware.ram.normal"
_BASE_LIMIT: Final = 200 << 20
"""What Google Play lets the base of an app weigh, compressed; the rest comes in packs."""
_HEADER_BYTES: Final = 1 << 20
"""Of a library; linkers write the table of segments behind the first header."""
_OLDEST_API: Final = {"onnx": 24, "executorch": 23}
"""The oldest Android that an engine's published archive for phones asks for, by how the names of its targets start."""


class Rule(StrEnum):
    """What is looked at."""

    PAGE_SIZE = "page-size"
    """Libraries can be mapped on systems with pages of 16 KB."""
    ABI_SET = "abi-set"
    """Every ABI has every library, for its own processor."""
    LIBRARY_STORAGE = "library-storage"
    """Libraries are packed as the manifest says that they are loaded."""
    MANIFEST = "manifest"
    """The app says what it is: system, libraries and memory are held against it."""
    QNN_VERSION = "qnn-version"
    """Qualcomm's libraries are of one build, and contexts of none that is newer."""
    QNN_LIBRARIES = "qnn-libraries"
    """Every chip of the bundle has the stub and the skel of its HTP."""
    SOC = "soc"
    """Context binaries are for the chip that their target names."""
    MINIMUM_OS = "minimum-os"
    """The app starts on no system that is too old for a target."""
    MEMORY = "memory"
    """The app is kept from phones that have not the memory."""
    FALLBACK = "fallback"
    """Some target runs on every chip."""
    PLATFORM = "platform"
    """No target is of another system."""
    BUNDLE = "bundle"
    """A bundle is there, and whole."""
    SIZE = "size"
    """The base of the app is not larger than the store takes."""
    SIGNATURE = "signature"
    """The package is signed, and not with the debug key."""
    DEBUGGABLE = "debuggable"
    """Nobody can attach a debugger."""


class Finding(Config):
    """One thing that is wrong."""

    rule: Rule
    where: str
    message: str


@dataclass(frozen=True)
class Shipped:
    """A bundle within a package, and where it is."""

    where: str
    bundle: Bundle

    @property
    def kinds(self) -> list[TargetKind]:
        """The targets' kinds."""
        return [entry.kind for entry in self.bundle.manifest.targets.values()]


class Subject:
    """A package with all that the rules look at, read when it is first asked for.

    Parameters
    ----------
    package
        What is looked at.
    bundles
        The bundles in it that open.
    damaged
        Why others do not, by where they are.
    """

    def __init__(self, package: Package, bundles: list[Shipped], damaged: Mapping[str, str]) -> None:
        self.package, self.bundles, self.damaged = package, bundles, damaged

    @cached_property
    def libraries(self) -> dict[str, dict[str, Entry]]:
        """The libraries by ABI and name."""
        found: dict[str, dict[str, Entry]] = defaultdict(dict)
        for entry in self.package.ending(".so"):
            path = PurePosixPath(entry.name)
            if path.parent.name in MACHINES:
                found[path.parent.name][path.name] = entry
        return dict(found)

    @cached_property
    def manifest(self) -> AndroidManifest | None:
        """The app's manifest; `None` where the package has none."""
        found = sorted(self.package.named("AndroidManifest.xml"), key=lambda entry: (entry.name.count("/"), entry.name))
        base = next((entry for entry in found if entry.name.startswith("base/")), found[0] if found else None)
        return None if base is None else read_manifest(self.package.read(base), base.name)

    def library(self, entry: Entry) -> Library:
        """Read a library's headers."""
        return read_library(self.package.read(entry, _HEADER_BYTES), entry.name)

    @property
    def contexts(self) -> Iterator[tuple[str, tuple[Soc, ...], bytes]]:
        """Artifacts that are compiled for some chips: where they are, the chips, and their content."""
        for shipped in self.bundles:
            for name, target in shipped.bundle.manifest.targets.items():
                for component in shipped.bundle.manifest.components if (socs := TARGETS[target.kind].socs) else ():
                    path = component.artifacts[name].path
                    yield f"{shipped.where}: {path}", socs, (shipped.bundle.root / path).read_bytes()


def _page_size(subject: Subject) -> Iterator[tuple[str, str]]:
    for abi in subject.libraries.keys() & LARGE_PAGES:
        for entry in subject.libraries[abi].values():
            alignment = subject.library(entry).alignment
            if alignment % PAGE_BYTES:
                yield (
                    entry.name,
                    f"its segments are aligned to {alignment} bytes, so Android 15 with pages of 16 KB cannot load it: "
                    "link with -Wl,-z,max-page-size=16384, or take a newer release of the library",
                )
            packed = subject.package.kind is PackageKind.APK and entry.offset is not None
            if packed and (entry.offset or 0) % PAGE_BYTES:
                yield (
                    entry.name,
                    "it lies uncompressed off a 16 KB boundary of the APK: run zipalign -P 16 before signing",
                )


def _abi_set(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.libraries and "arm64-v8a" not in subject.libraries:
        yield "lib", f"arm64-v8a is missing, which every phone of today runs; there is {', '.join(subject.libraries)}"
    # Qualcomm's libraries are for arm64 alone, and skels are the DSP's.
    everywhere = {name for libraries in subject.libraries.values() for name in libraries if not qnn.is_library(name)}
    for abi, libraries in subject.libraries.items():
        if missing := sorted(everywhere - libraries.keys()):
            yield f"lib/{abi}", f"{', '.join(missing)} are only in other ABIs: loading fails on phones of this one"
        for entry in libraries.values():
            machine = subject.library(entry).machine
            if machine != MACHINES[abi] and not entry.name.endswith("Skel.so"):
                yield entry.name, f"it is for ELF machine {machine}, and {abi} is {MACHINES[abi]}"


def _library_storage(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.package.kind is not PackageKind.APK or subject.manifest is None:
        return
    for libraries in subject.libraries.values():
        for entry in libraries.values():
            if subject.manifest.extracts_libraries is False and entry.offset is None:
                yield entry.name, "it is compressed, and extractNativeLibs is false: the app would not install"
            if entry.name.endswith("Skel.so") and subject.manifest.extracts_libraries is False:
                yield (
                    entry.name,
                    "the DSP loads a skel from a file: set extractNativeLibs (useLegacyPackaging in Gradle), and "
                    "ADSP_LIBRARY_PATH to the app's nativeLibraryDir",
                )


def _manifest(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.package.kind is not PackageKind.FOLDER and subject.manifest is None:
        yield subject.package.path.name, "it has no AndroidManifest.xml, so nothing installs it: build it again"


def _qnn_version(subject: Subject) -> Iterator[tuple[str, str]]:
    builds = {
        entry.name: build
        for libraries in subject.libraries.values()
        for name, entry in libraries.items()
        if qnn.is_library(name) and (build := qnn.build_of(subject.package.read(entry))) is not None
    }
    if len(set(builds.values())) > 1:
        listed = ", ".join(f"{PurePosixPath(n).name} {qnn.spelled(b)}" for n, b in sorted(builds.items()))
        yield "lib", f"Qualcomm's libraries are of several builds ({listed}): take all from one QNN SDK"
    if not builds:
        return
    newest = max(builds.values())
    for where, _, content in subject.contexts:
        if (build := qnn.build_of(content)) is not None and build > newest:
            yield (
                where,
                (
                    f"its context was made with QNN {qnn.spelled(build)}, and the app brings {qnn.spelled(newest)}, "
                    "which cannot load it: bring libraries that are as new, or build the bundle with the older QNN"
                ),
            )


def _qnn_libraries(subject: Subject) -> Iterator[tuple[str, str]]:
    names = subject.libraries.get("arm64-v8a", {}).keys()
    socs = sorted({soc for _, socs, _ in subject.contexts for soc in socs})
    if subject.package.kind is PackageKind.FOLDER and not subject.libraries:
        return  # a folder of bundles alone
    for soc in socs:
        if missing := [name for name in (qnn.RUNTIME, *qnn.needed_libraries(soc)) if name not in names]:
            yield "lib/arm64-v8a", f"the bundle has a target for {soc}, and {', '.join(missing)} are not there"


def _soc(subject: Subject) -> Iterator[tuple[str, str]]:
    for where, socs, content in subject.contexts:
        found = set(qnn.socs_of(content))  # none in what the phone's CPU runs
        if found and found != set(socs):
            held = ", ".join(sorted(map(str, found)))
            yield where, f"its context is for {held}, and its target for {', '.join(socs)}: build it again"


def _minimum_os(subject: Subject) -> Iterator[tuple[str, str]]:
    lowest = subject.manifest.minimum_api if subject.manifest is not None else None
    if subject.manifest is not None and lowest is None:
        yield "AndroidManifest.xml", "it says no minSdkVersion, so it is 1: name the oldest system that was tried"
    for shipped in subject.bundles if lowest is not None else ():
        for kind in shipped.kinds:
            family = next((name for name in _OLDEST_API if kind.startswith(name)), None)
            if family is not None and lowest is not None and lowest < _OLDEST_API[family]:
                yield (
                    shipped.where,
                    f"{kind} needs Android API {_OLDEST_API[family]}, and minSdkVersion is {lowest}: raise it",
                )


def _memory(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.manifest is None or _NORMAL_RAM in subject.manifest.features:
        return
    for shipped in subject.bundles:
        # A phone opens one target, with the weights that lie beside its artifacts; tables of word vectors are mapped.
        weights = {name: _weight(shipped.bundle, name) for name in shipped.bundle.manifest.targets}
        heaviest = max(weights, key=lambda name: weights[name])
        if weights[heaviest] > _LOW_RAM_LIMIT:
            yield (
                shipped.where,
                f"its networks for {heaviest} weigh {weights[heaviest] / 2**20:.0f} MiB, more than an app gets on "
                "phones of 2 GB, which may install it: "
                f'<uses-feature android:name="{_NORMAL_RAM}" /> keeps them out',
            )


def _weight(bundle: Bundle, target: str) -> int:
    artifacts = (component.artifacts[target].path for component in bundle.manifest.components)
    folders = tuple({f"{path.rpartition('/')[0]}/" for path in artifacts})
    return sum(file.size for file in bundle.manifest.files if file.path.startswith(folders))


def _fallback(subject: Subject) -> Iterator[tuple[str, str]]:
    kinds = [kind for shipped in subject.bundles for kind in shipped.kinds if _runs_on_android(kind)]
    if kinds and all(TARGETS[kind].socs for kind in kinds):
        yield (
            ", ".join(shipped.where for shipped in subject.bundles),
            f"only {', '.join(sorted(set(kinds)))} are there: on every other chip nothing runs. Ship `onnx` too",
        )


def _platform(subject: Subject) -> Iterator[tuple[str, str]]:
    for shipped in subject.bundles:
        if others := sorted({kind for kind in shipped.kinds if not _runs_on_android(kind)}):
            yield (
                shipped.where,
                f"{', '.join(others)} do not run on Android: ship the part that `pocketcrafter split` writes",
            )


def _bundle(subject: Subject) -> Iterator[tuple[str, str]]:
    yield from subject.damaged.items()
    if not subject.bundles and not subject.damaged:
        yield str(subject.package.path), "no bundle is in it; where packs bring it, look at their folder too"


def _size(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.package.kind is PackageKind.FOLDER:
        return
    base = subject.package.kind is PackageKind.AAB
    entries = [e for e in subject.package.entries.values() if not base or e.name.startswith("base/")]
    if (packed := sum(entry.packed_size for entry in entries)) > _BASE_LIMIT:
        yield "base", f"{packed / 2**20:.0f} MiB; Google Play takes {_BASE_LIMIT >> 20}: move bundles into AI packs"


def _signature(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.package.kind is PackageKind.FOLDER:
        return
    with subject.package.path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
        # The certificates lie before the block's name, which ends it.
        end = content.rfind(_SIGNING_BLOCK)
        block = content[max(0, end - (1 << 20)) : end] if end >= 0 else b""
    jar = [e for e in subject.package.ending(".RSA") + subject.package.ending(".EC") if e.name.startswith("META-INF/")]
    certificates = block + b"".join(subject.package.read(entry) for entry in jar)
    name = subject.package.path.name
    if not certificates or (subject.package.kind is PackageKind.APK and not block):
        yield name, "it is not signed (an APK needs scheme v2 or later): sign it with apksigner, an AAB with jarsigner"
    elif _DEBUG_KEY in certificates:
        yield name, "it is signed with the debug key, which no store takes: sign it with the key of the release"


def _debuggable(subject: Subject) -> Iterator[tuple[str, str]]:
    if subject.manifest is not None and subject.manifest.debuggable:
        yield "AndroidManifest.xml", "android:debuggable is true: anyone with a cable can read the app's memory"


def _runs_on_android(kind: TargetKind) -> bool:
    return "coreml" not in kind and "coreai" not in kind


RULES: Final[Mapping[Rule, Callable[[Subject], Iterator[tuple[str, str]]]]] = {
    Rule.PAGE_SIZE: _page_size,
    Rule.ABI_SET: _abi_set,
    Rule.LIBRARY_STORAGE: _library_storage,
    Rule.MANIFEST: _manifest,
    Rule.QNN_VERSION: _qnn_version,
    Rule.QNN_LIBRARIES: _qnn_libraries,
    Rule.SOC: _soc,
    Rule.MINIMUM_OS: _minimum_os,
    Rule.MEMORY: _memory,
    Rule.FALLBACK: _fallback,
    Rule.PLATFORM: _platform,
    Rule.BUNDLE: _bundle,
    Rule.SIZE: _size,
    Rule.SIGNATURE: _signature,
    Rule.DEBUGGABLE: _debuggable,
}


def findings_of(subject: Subject) -> Iterator[Finding]:
    """Yield what every rule finds; what a rule cannot read is a finding of its own."""
    for rule, look in RULES.items():
        try:
            for where, message in look(subject):
                yield Finding(rule=rule, where=where, message=message)
        except ConfigError as error:
            yield Finding(rule=rule, where=str(subject.package.path), message=str(error))
