"""Looks through a package, its bundles included, and says what to mend and what each part weighs."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import Field

from pocketcrafter.runtime.bundle.manifest import MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.shippable.contents import Package, PackageKind
from pocketcrafter.runtime.shippable.rules import Finding, Shipped, Subject, findings_of

BUNDLE_SUFFIX = ".pcbundle"


class Part(Config):
    """A part of the package, or of a bundle in it."""

    name: str
    size: int = Field(ge=0, description="Bytes as installed.")
    packed: int = Field(ge=0, description="Bytes in the archive; of a folder, and within a bundle, the same.")


class ShippableReport(Config):
    """What was found."""

    path: str
    kind: PackageKind
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...]


def look_through(path: Path) -> ShippableReport:
    """Look through a package.

    Parameters
    ----------
    path
        An APK, an AAB, or a folder: of an app's sources, its unpacked package, or bundles alone.

    Raises
    ------
    ConfigError
        If it is none of them, or damaged.
    """
    package = Package(path)
    with _bundles(package) as (bundles, damaged):
        findings = tuple(findings_of(Subject(package, bundles, damaged)))
        parts = (*_parts(package), *(part for shipped in bundles for part in _bundle_parts(shipped)))
    return ShippableReport(path=str(path), kind=package.kind, findings=findings, parts=parts)


@contextmanager
def _bundles(package: Package) -> Iterator[tuple[list[Shipped], dict[str, str]]]:
    """Open the bundles of a package: zips by their suffix, and folders by their manifest."""
    found: list[Shipped] = []
    damaged: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="shippable-") as folder:
        places = {entry.name: _placed(package, entry.name, Path(folder)) for entry in package.ending(BUNDLE_SUFFIX)}
        for entry in package.named(MANIFEST):
            root = PurePosixPath(entry.name).parent.as_posix()
            if f"{root}/{MANIFEST.replace('.json', '.sha256')}".removeprefix("./") in package.entries:
                places[root] = _placed_folder(package, root, Path(folder) / f"folder-{len(places)}")
        for where, place in places.items():
            try:
                bundle = Bundle.open(place)
                bundle.check_integrity()
                found.append(Shipped(where, bundle))
            except BundleError as error:
                damaged[where] = str(error).replace(str(place), where)
        yield found, damaged


def _placed(package: Package, name: str, folder: Path) -> Path:
    if package.kind is PackageKind.FOLDER:
        return package.path / name
    place = folder / name.replace("/", "_")
    place.write_bytes(package.read(package.entries[name]))
    return place


def _placed_folder(package: Package, root: str, folder: Path) -> Path:
    if package.kind is PackageKind.FOLDER:
        return package.path / root
    for entry in package.entries.values():
        if PurePosixPath(entry.name).is_relative_to(root):
            place = folder / PurePosixPath(entry.name).relative_to(root)
            if not place.resolve().is_relative_to(folder.resolve()):
                continue  # no path of an archive leads out of it
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(package.read(entry))
    return folder


def _parts(package: Package) -> Iterator[Part]:
    sizes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, entry in package.entries.items():
        path = PurePosixPath(name)
        inside = path.parts[1:] if path.parts[0] == "base" and len(path.parts) > 1 else path.parts
        if name.endswith(".so"):
            part = f"libraries of {path.parent.name}"
        elif name.endswith(".dex"):
            part = "classes"
        elif name.endswith(BUNDLE_SUFFIX):
            part = name
        else:
            part = inside[0] if len(inside) > 1 else "other files"
        sizes[part][0] += entry.size
        sizes[part][1] += entry.packed_size
    for part, (size, packed) in sorted(sizes.items(), key=lambda item: -item[1][1]):
        yield Part(name=part, size=size, packed=packed)


def _bundle_parts(shipped: Shipped) -> Iterator[Part]:
    sizes: dict[str, int] = defaultdict(int)
    for file in shipped.bundle.manifest.files:
        parts = PurePosixPath(file.path).parts
        sizes["/".join(parts[:3]) if parts[0] == "targets" else parts[0]] += file.size
    for part, size in sorted(sizes.items(), key=lambda item: -item[1]):
        yield Part(name=f"{shipped.where}: {part}", size=size, packed=size)
