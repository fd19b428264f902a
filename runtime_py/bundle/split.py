"""Splits a bundle into one bundle a target, optionally with ONNX artifacts in ONNX Runtime's own format."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import onnxruntime as ort

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import open_session, write_options
from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.manifest import Artifact, Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.verify import Outcome, verify
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.errors import BundleError, GateError
from pocketcrafter.runtime.files import replacing, writing
from pocketcrafter.runtime.targets import ORT_SUFFIX


def split(
    path: Path,
    out: Path,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    *,
    ort_format: bool = False,
) -> dict[str, Path]:
    """Write each target of a bundle as a zipped bundle of its own, with all that targets share in each.

    Parameters
    ----------
    path
        A bundle directory or a zip of one. Its hashes are checked first.
    out
        The folder that receives ``<name>-<target>.pcbundle``; those that are there already are replaced.
    progress
        Called with a target's name, targets done and targets in all.
    ort_format
        Whether what ONNX Runtime runs is written in its own format, for builds without the ONNX parser. Its goldens
        are run again then.

    Returns
    -------
    dict of str to Path
        The bundle of each target.

    Raises
    ------
    BundleError
        If it is no bundle or damaged.
    StorageError
        If a part cannot be written; none is ever half written.
    GateError
        If a golden is missed in the other format.
    """
    bundle = Bundle.open(path)
    bundle.check_integrity()
    written = {}
    for done, target in enumerate(targets := sorted(bundle.manifest.targets)):
        progress(target, done, len(targets))
        part = out / f"{bundle.manifest.name}-{target.replace(':', '-')}.pcbundle"
        with writing(part):
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out, prefix=".split-") as name:
                _write_part(bundle, target, Path(name) / "bundle", ort_format=ort_format)
                pack(Path(name) / "bundle", part)
        written[target] = part
    progress("done", len(targets), len(targets))
    return written


def _write_part(bundle: Bundle, target: str, folder: Path, *, ort_format: bool) -> None:
    own, others = (
        _folders(bundle.manifest, [target]),
        _folders(bundle.manifest, bundle.manifest.targets.keys() - {target}),
    )
    for entry in bundle.manifest.files:
        # Beside an artifact lie its weights and its further functions; a package is a folder in that folder.
        if (others - own).isdisjoint(map(str, PurePosixPath(entry.path).parents)):
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.root / entry.path, folder / entry.path)
    targets = {target: bundle.manifest.targets[target]}
    rewritten = ort_format and targets[target].backend is BackendName.ONNXRUNTIME
    artifacts = {entry.spec.name: entry.artifacts[target] for entry in bundle.manifest.components}
    if rewritten:
        artifacts = {component: _in_ort_format(artifact, folder) for component, artifact in artifacts.items()}
    components = tuple(
        entry.model_copy(update={"artifacts": {target: artifacts[entry.spec.name]}})
        for entry in bundle.manifest.components
    )
    reseal(folder, bundle.manifest.model_copy(update={"components": components, "targets": targets}))
    if rewritten:
        report = verify(folder, threads=1)
        missed = [f"{run.component}: {run.reason}" for run in report.goldens if run.outcome is Outcome.FAILED]
        if report.problems or missed:
            raise GateError("In ORT format goldens are missed:\n" + "\n".join((*report.problems, *missed)))


def _in_ort_format(artifact: Artifact, folder: Path) -> Artifact:
    made = to_ort_format(folder / artifact.path)
    return artifact.model_copy(update={"path": made.relative_to(folder).as_posix()})


def _folders(manifest: Manifest, targets: Iterable[str]) -> set[str]:
    """Return the folders that the artifacts of some targets lie in."""
    return {
        str(PurePosixPath(entry.artifacts[target].path).parent) for entry in manifest.components for target in targets
    }


def to_ort_format(model: Path) -> Path:
    """Write a model in ORT format in its own place, and remove the ONNX file.

    The graph is optimized as far as ONNX Runtime does for every processor, and no further: a file that was laid out for
    this machine's would be wrong on a phone.

    Parameters
    ----------
    model
        An ONNX model with its weights inside.

    Returns
    -------
    Path
        The new file, of the same name but for its suffix.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot open or write it; the ONNX file is still there then.
    """
    made = model.with_suffix(ORT_SUFFIX)
    try:
        with replacing(made) as temporary:
            options = write_options(temporary, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
            options.add_session_config_entry("session.save_model_format", "ORT")
            open_session(model.read_bytes(), options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BundleError(f"{model.name}: ONNX Runtime cannot write it in its own format: {error}") from error
    model.unlink()
    return made
