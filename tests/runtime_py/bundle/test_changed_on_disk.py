"""Files that changed after a bundle was opened, or before: nothing of them is run."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.bundle import integrity
from pocketcrafter.runtime.bundle.integrity import HASHES, DamagedBundleError, KnownHashes, sha256_of
from pocketcrafter.runtime.bundle.manifest import TargetEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.files import user_cache
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_cache()


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def with_target(root: Path, kind: TargetKind, files: dict[str, bytes]) -> str:
    """Give a bundle an artifact for one target alone; return the artifact's path."""
    manifest = Bundle.open(root).manifest
    folder = f"targets/{kind.replace(':', '-')}"
    path = f"{folder}/restore{sorted(TARGETS[kind].suffixes)[0]}"
    for name, content in files.items():
        file = (
            root / path / name
            if path.endswith(".mlpackage")
            else root / (path if name == "own" else f"{folder}/{name}")
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    entry = manifest.components[0]
    artifact = entry.artifacts["onnx"].model_copy(update={"path": path})
    reseal(
        root,
        manifest.model_copy(
            update={
                "components": (entry.model_copy(update={"artifacts": {kind: artifact}}),),
                "targets": {kind: TargetEntry(kind=kind, backend=TARGETS[kind].backend)},
            }
        ),
    )
    return path


@pytest.mark.parametrize("kind", list(TARGETS))
def test_a_flipped_bit_is_found_before_any_backend_sees_the_artifact(bundle_dir: Path, kind: TargetKind) -> None:
    path = with_target(bundle_dir, kind, {"own": b"any artifact"})
    file = bundle_dir / path
    flip(next(file.iterdir()) if file.is_dir() else file)
    bundle = Bundle.open(bundle_dir)
    with pytest.raises(DamagedBundleError, match=r"was changed: its SHA-256(.|\n)*Copy the bundle again") as caught:
        bundle.target_session(Pocket.RESTORE, 1, kind)
    assert path in str(caught.value)
    assert caught.value.exit_code == 2


def test_weights_beside_a_model_are_held_against_the_manifest_too(
    bundle_dir: Path,
    kernel: FloatArray,
    external_model: Callable[[str], Path],
    inputs: dict[str, FloatArray],
) -> None:
    model = external_model("restore.weights").read_bytes()
    with_target(bundle_dir, ONNX, {"own": model, "restore.weights": kernel.tobytes()})
    bundle = Bundle.open(bundle_dir)
    assert np.isfinite(bundle.session(Pocket.RESTORE, 1).run(inputs)["restored"]).all()
    flip(bundle_dir / "targets/onnx/restore.weights")
    with pytest.raises(DamagedBundleError, match=r"restore\.weights` was changed"):
        Bundle.open(bundle_dir).session(Pocket.RESTORE, 1)
    with pytest.raises(DamagedBundleError, match=r"restore\.weights` was changed"):
        bundle.session(Pocket.RESTORE, 1)


def test_goldens_and_tokenizer_are_held_against_the_manifest(bundle_dir: Path) -> None:
    (bundle_dir / TOKENIZER).parent.mkdir()
    (bundle_dir / TOKENIZER).write_text("{}")
    reseal(bundle_dir, Bundle.open(bundle_dir).manifest)
    for name in ("goldens/restore/inputs_0.npz", TOKENIZER):
        assert Bundle.open(bundle_dir).file(name) == bundle_dir / name
        flip(bundle_dir / name)
        with pytest.raises(DamagedBundleError, match=f"`{name}` was changed"):
            Bundle.open(bundle_dir).file(name)
    with pytest.raises(BundleError, match=r"has no `goldens/other\.npz`"):
        Bundle.open(bundle_dir).file("goldens/other.npz")


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(path.read_bytes()), lambda path: path.unlink()])
def test_a_file_that_changes_while_it_is_opened_is_not_run(
    bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    right = OnnxRuntimeBackend.open

    def before_a_change(self: OnnxRuntimeBackend, artifact: Path, spec: ComponentSpec, threads: int) -> Session:
        session = right(self, artifact, spec, threads)
        change(artifact)
        return session

    monkeypatch.setattr(OnnxRuntimeBackend, "open", before_a_change)
    with pytest.raises(DamagedBundleError, match=r"restore\.onnx` was changed while it was opened"):
        Bundle.open(bundle_dir).session(Pocket.RESTORE, 1)


@pytest.fixture
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "LARGE_BYTES", 0)
    monkeypatch.setattr(integrity, "SETTLED_NS", -1)


@pytest.mark.usefixtures("every_file_is_large")
def test_a_large_files_hash_is_kept_for_later_processes_until_the_file_changes(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"weights")
    assert KnownHashes(user_cache() / HASHES).sha256(file)[0] == sha256_of(file)
    (kept,) = cache.iterdir()
    # What nobody could have worked out shows that the file was not read again.
    kept.write_text(json.dumps(dict.fromkeys(json.loads(kept.read_text()), "kept")))
    assert KnownHashes(user_cache() / HASHES).sha256(file)[0] == "kept"
    assert KnownHashes(None).sha256(file)[0] == sha256_of(file)
    flip(file)
    assert KnownHashes(user_cache() / HASHES).sha256(file)[0] == sha256_of(file)
    assert len(json.loads(kept.read_text())) == 2


@pytest.mark.usefixtures("every_file_is_large")
@pytest.mark.parametrize("content", ["", "[", "[1]", '{"1-2-3-4-5": 6}'])
def test_a_damaged_cache_costs_time_alone(tmp_path: Path, cache: Path, content: str) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"weights")
    cache.mkdir(parents=True)
    (cache / "hashes.json").write_text(content)
    assert KnownHashes(user_cache() / HASHES).sha256(file)[0] == sha256_of(file)


@pytest.mark.usefixtures("every_file_is_large")
def test_no_cache_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert KnownHashes(user_cache() / HASHES).sha256(file)[0] == sha256_of(file)


def test_a_file_that_was_written_just_now_is_hashed_again(tmp_path: Path, cache: Path) -> None:
    """Its times may not tell of a second change within one tick of the clock."""
    file = tmp_path / "new.bin"
    file.write_bytes(b"weights")
    hashes = KnownHashes(user_cache() / HASHES)
    hashes.sha256(file)
    assert not hashes._seen
    assert not cache.exists()
