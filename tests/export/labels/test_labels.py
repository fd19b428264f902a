"""Labels by a teacher: each content once, what is bad with its reason, and nothing lost with a node."""

import shutil
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
from PIL import Image

from pocketcrafter.export.data.errors import DataError
from pocketcrafter.export.labels.labeller import Job, Labeller, teacher_sha256
from pocketcrafter.export.labels.photos import (
    hashed,
    known_hashes,
    photos_in,
    shards_of,
    write_index,
)
from pocketcrafter.export.labels.store import (
    HiddenForm,
    Label,
    LabelSettings,
    LabelStore,
    PictureForm,
    packed,
    unpacked,
)
from pocketcrafter.export.teachers.layout import read_layout
from pocketcrafter.export.teachers.pair import LatentPairTeacher
from pocketcrafter.export.teachers.teacher import Critique, Wish, load_teacher
from pocketcrafter.export.teachers.told import told_by
from pocketcrafter.export.train.latent.texts import critique_text
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.plan import EditPlan

CRITIQUE = critique_text(EditPlan(exposure_ev=1.0).vector(), 0.6)


@pytest.fixture
def shots(photos: list[Path], tmp_path: Path) -> Path:
    """Three photos, one of them twice, and one that ends in the middle."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for photo in photos:
        with Image.open(photo) as image:
            image.convert("RGB").resize((90, 60)).save(folder / f"{photo.stem}.png")
    shutil.copy(folder / "astronaut.png", folder / "below/again.png")
    (folder / "short.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (folder / ".hidden.png").write_bytes((folder / "coffee.png").read_bytes())
    return folder


def settings_of(teacher: Path, **changes: Any) -> LabelSettings:
    layout = read_layout(teacher)
    own = layout.system.sampling
    said = {
        "teacher": layout.name, "teacher_sha256": teacher_sha256(layout), "license": "NOASSERTION",
        "steps": own.steps, "side": own.side, "answer": own.answer, "seed": own.seed, "instruction": None,
        "hidden": HiddenForm.FLOAT16, "pictures": PictureForm.WEBP,
    }  # fmt: skip
    return LabelSettings(**{**said, **changes})


def job_of(teacher: Path, shots: Path, out: Path, settings: LabelSettings) -> Job:
    return Job(teacher=teacher, photos=shots, out=out, device="cpu", threads=1, settings=settings)


def test_each_content_is_once_in_the_shards_and_what_is_done_is_not(shots: Path, tmp_path: Path) -> None:
    found = photos_in(shots)
    assert [photo.path for photo in found] == [
        "astronaut.png", "below/again.png", "coffee.png", "hubble.png", "short.jpg",
    ]  # fmt: skip
    hashes = hashed(shots, [photo.path for photo in found])
    shards = shards_of(hashes, set(), 3)
    assert [len(shard.paths) for shard in shards] == [3, 1]
    assert sorted(path for shard in shards for path in shard.paths) == [
        "astronaut.png", "coffee.png", "hubble.png", "short.jpg",
    ]  # fmt: skip
    done = set(shards[0].hashes)
    assert {d for shard in shards_of(hashes, done, 3) for d in shard.hashes} == set(hashes.values()) - done
    # The index knows a file by size and time, so that a second run does not read it again.
    write_index(tmp_path, found, hashes)
    (shots / "coffee.png").write_bytes(b"other")
    known = known_hashes(tmp_path, photos_in(shots))
    assert known == {path: digest for path, digest in hashes.items() if path != "coffee.png"}
    (shots / "none").mkdir()
    with pytest.raises(DataError, match="holds no photo"):
        photos_in(shots / "none")


@pytest.mark.parametrize(("form", "least_db", "share"), [(HiddenForm.FLOAT16, 65, 2), (HiddenForm.INT8, 38, 1.04)])
def test_hidden_states_come_back(form: HiddenForm, least_db: float, share: float) -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(20, 256)).astype(np.float32)
    hidden[:, 7] *= 300  # as single channels of language models are
    values, scales = packed(hidden, form)
    assert values is not None
    assert len(values) + len(scales or b"") <= share * hidden.size
    back = unpacked(values, scales, hidden.shape)
    rest = np.delete(np.arange(256), range(64))
    error = np.mean((back - hidden)[:, rest] ** 2)
    assert 10 * np.log10(np.mean(hidden[:, rest] ** 2) / error) > least_db
    with pytest.raises(BackendError, match="half precision"):
        packed(hidden * 1e6, form)


def test_a_label_is_what_the_teacher_says_and_shows(shots: Path, latent_twin: Path, tmp_path: Path) -> None:
    settings = settings_of(latent_twin)
    store = LabelStore.make(tmp_path / "labels", settings)
    (shard,) = shards_of(hashed(shots, [photo.path for photo in photos_in(shots)]), set(), 9)
    labeller = Labeller(job_of(latent_twin, shots, store.folder, settings))
    outcome = labeller.label(shard)
    assert (outcome.labelled, outcome.quarantined, outcome.error) == (3, 1, None)
    (bad,) = store.quarantined()
    assert bad.path == "short.jpg"
    assert bad.reason
    labels = {label.path: label for label in store.labels()}
    label = labels["coffee.png"]
    with Image.open(shots / "coffee.png") as image:
        photo = image.convert("RGB")
    teacher = load_teacher(latent_twin)
    said = teacher.critique(photo)
    run = teacher.trajectory(photo, Wish(said))
    assert (label.text, label.ids.tolist(), label.prompt.tolist()) == (
        said.text,
        said.ids.tolist(),
        said.prompt.tolist(),
    )
    assert label.hidden is not None
    np.testing.assert_allclose(label.hidden, said.hidden, rtol=1e-3, atol=1e-4)
    assert np.array_equal(np.asarray(label.after), np.asarray(run.picture))
    assert np.array_equal(np.asarray(label.before), np.asarray(run.photo))
    assert store.done() == set(shard.hashes)
    # A part that is there is not made again.
    assert labeller.label(shard).labelled == 0
    assert sum(1 for _ in store.labels(hidden=False, pictures=False)) == 3


def test_a_photo_on_which_the_teacher_fails_leaves_the_others_of_its_batch_alone(
    shots: Path, latent_twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shots / "short.jpg").unlink()
    settings = settings_of(latent_twin, pictures=PictureForm.NONE)
    (shard,) = shards_of(hashed(shots, [photo.path for photo in photos_in(shots)]), set(), 9)
    own, asked = LatentPairTeacher.critiques, []

    def critiques(teacher: LatentPairTeacher, photos: Sequence[Image.Image]) -> list[Critique]:
        asked.append(len(photos))
        if any(photo.getpixel((0, 0)) == bad for photo in photos):
            raise RuntimeError("no memory left")
        return own(teacher, photos)

    with Image.open(shots / "coffee.png") as image:
        bad = image.getpixel((0, 0))
    monkeypatch.setattr(LatentPairTeacher, "critiques", critiques)
    store = LabelStore.make(tmp_path / "labels", settings)
    job = job_of(latent_twin, shots, store.folder, settings).model_copy(update={"batch": 2})
    outcome = Labeller(job).label(shard)
    assert (outcome.labelled, outcome.quarantined) == (2, 1)
    assert sorted(asked) == [1, 1, 1, 2]
    (set_aside,) = store.quarantined()
    assert (set_aside.path, "no memory left" in set_aside.reason) == ("coffee.png", True)


def test_edits_and_score_of_a_text_are_numbers_of_the_table(latent_twin: Path, tmp_path: Path) -> None:
    store = LabelStore.make(tmp_path, settings_of(latent_twin, hidden=HiddenForm.NONE, pictures=PictureForm.NONE))
    none = np.zeros(0, np.int32)
    label = Label("0" * 64, "a.png", CRITIQUE, none, none, told_by(CRITIQUE), None, None, None, 0.0)
    store.write("part-a", [label, replace(label, text="no critique", told=told_by("no critique"))], [])
    rows = pq.read_table(tmp_path / "parts/part-a.parquet").to_pylist()
    assert (rows[0]["score"], rows[1]["score"], rows[1]["plan"]) == (pytest.approx(0.6), None, None)
    assert rows[0]["plan"][0] == pytest.approx(0.5)
    assert [np.isnan(label.told[-1]) for label in store.labels()] == [False, True]


def test_a_folder_of_other_labels_is_refused_and_orphans_go(latent_twin: Path, tmp_path: Path) -> None:
    settings = settings_of(latent_twin)
    LabelStore.make(tmp_path, settings)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/part-b.tar").write_bytes(b"of a worker that was killed")
    LabelStore.make(tmp_path, settings)
    assert not list((tmp_path / "pictures").iterdir())
    with pytest.raises(ConfigError, match=r"labels of other settings \(seed, hidden\)"):
        LabelStore.make(tmp_path, settings_of(latent_twin, seed=5, hidden=HiddenForm.INT8))
    with pytest.raises(ConfigError, match="missing; name a folder"):
        LabelStore.open(tmp_path / "nowhere")


def test_weights_of_another_training_are_another_teacher(latent_twin: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(latent_twin, tmp_path / "pair"))
    assert teacher_sha256(read_layout(copy)) == teacher_sha256(read_layout(latent_twin))
    weights = copy / "critic/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert teacher_sha256(read_layout(copy)) != teacher_sha256(read_layout(latent_twin))


def test_a_teacher_that_fails_on_everything_is_no_fault_of_the_photos(
    shots: Path, latent_twin: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(latent_twin, tmp_path / "pair"))
    settings = settings_of(copy)
    store = LabelStore.make(tmp_path / "labels", settings)
    (shard,) = shards_of(hashed(shots, ["astronaut.png"]), set(), 9)
    shutil.rmtree(copy / "artist/vae")
    outcome = Labeller(job_of(copy, shots, store.folder, settings)).label(shard)
    assert outcome.error is not None
    assert outcome.error.startswith("The teacher cannot be loaded by a worker")
    assert not store.done()


def test_nothing_is_lost_and_nothing_twice_when_a_node_is_killed(
    latent_twin: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray is no part of the runtime

    from pocketcrafter.export.labels.engine import label_photos  # noqa: PLC0415

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    shots = tmp_path / "shots"
    shots.mkdir()
    with Image.open(photos[0]) as image:
        photo = image.convert("RGB").resize((64, 64))
    for number in range(12):
        photo.putpixel((0, 0), (number, 0, 0))
        photo.save(shots / f"{number:02}.png")
    shutil.copy(shots / "00.png", shots / "twin.png")
    (shots / "bad.png").write_bytes(b"bad")
    settings = settings_of(latent_twin)
    store = LabelStore.make(tmp_path / "labels", settings)
    common = {"include_dashboard": False, "object_store_memory": 80 << 20}
    watch = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "num_cpus": 0, "_system_config": watch})
    session = Path(cluster.head_node.get_session_dir_path())
    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=1, **common) for _ in range(2))}
    killed: list[str] = []
    by: Counter[str] = Counter()

    def on_done(outcome: Any) -> None:
        by[outcome.node] += 1
        if not killed:
            killed.append(outcome.node)
            cluster.remove_node(nodes[outcome.node], allow_graceful=False)

    try:
        made = label_photos(
            store, job_of(latent_twin, shots, store.folder, settings), cluster.address, 2, 1,
            lambda _what, _done, _total: None, on_done,
        )  # fmt: skip
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(session, ignore_errors=True)
    assert (made.photos, made.contents, made.nodes) == (14, 13, 3)
    labels = Counter(label.sha256 for label in store.labels(hidden=False, pictures=False))
    assert len(labels) == 12
    assert set(labels.values()) == {1}
    assert [bad.path for bad in store.quarantined()] == ["bad.png"]
    # The node that is left has done what the other had in hand, and all the rest.
    (left,) = nodes.keys() - set(killed)
    assert by[left] >= 13 - 4


def test_pictures_are_stored_without_loss(latent_twin: Path, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (9, 14, 3), np.uint8))
    none = np.zeros(0, np.int32)
    for form in (PictureForm.WEBP, PictureForm.PNG):
        store = LabelStore.make(tmp_path / form, settings_of(latent_twin, pictures=form))
        store.write("p", [Label("1" * 64, "a", "", none, none, told_by(""), None, picture, picture, 0.0)], [])
        (label,) = store.labels()
        assert np.array_equal(np.asarray(label.after), np.asarray(picture))
        with tarfile.open(tmp_path / form / "pictures/p.tar") as tar:
            assert tar.getnames() == [f"{'1' * 64}.{kind}.{form}" for kind in ("before", "after")]
