"""One bundle of many targets into bundles of one: a phone downloads its own part alone."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.errors import BundleError


def split(path: Path, out: Path, progress: Callable[[str, int, int], None] = lambda *_: None) -> dict[str, Path]:
    """Write each target of a bundle as a zipped bundle of its own, with all that targets share in each.

    Parameters
    ----------
    path
        A bundle directory or a zip of one. Its hashes are checked first.
    out
        The folder that receives ``<name>-<target>.pcbundle``; those that are there already are replaced.
    progress
        Called with a target's name, targets done and targets in all.

    Returns
    -------
    dict of str to Path
        The bundle of each target.

    Raises
    ------
    BundleError
        If it is no bundle or damaged, or the parts cannot be written; no part is ever half written.
    """
    bundle = Bundle.open(path)
    bundle.check_integrity()
    written = {}
    for done, target in enumerate(targets := sorted(bundle.manifest.targets)):
        progress(target, done, len(targets))
        part = out / f"{bundle.manifest.name}-{target.replace(':', '-')}.pcbundle"
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out, prefix=".split-") as name:
                folder, fresh = Path(name) / "bundle", Path(name) / part.name
                _write_part(bundle, target, folder)
                pack(folder, fresh)
                fresh.replace(part)
        except OSError as error:
            raise BundleError(f"{part}: cannot be written: {error}") from error
        written[target] = part
    progress("done", len(targets), len(targets))
    return written


def _write_part(bundle: Bundle, target: str, folder: Path) -> None:
    others = _artifacts(bundle.manifest, lambda name: name != target) - _artifacts(
        bundle.manifest, lambda name: name == target
    )
    for entry in bundle.manifest.files:
        # An artifact is a file, or a folder that is listed file by file.
        if others.isdisjoint({entry.path, *map(str, PurePosixPath(entry.path).parents)}):
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.root / entry.path, folder / entry.path)
    components = tuple(
        entry.model_copy(update={"artifacts": {target: entry.artifacts[target]}})
        for entry in bundle.manifest.components
    )
    targets = {target: bundle.manifest.targets[target]}
    reseal(folder, bundle.manifest.model_copy(update={"components": components, "targets": targets}))


def _artifacts(manifest: Manifest, of: Callable[[str], bool]) -> set[str]:
    return {a.path for entry in manifest.components for name, a in entry.artifacts.items() if of(name)}
