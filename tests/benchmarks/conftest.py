"""A whole bundle of three small networks, to be measured and reported on; quality figures made from what matters."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import PictureFigures
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, Scores
from pocketcrafter.benchmarks.quality.results import QualityReport
from pocketcrafter.export.data import manifest as prepared
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.bundle.goldens import read_tensors, write_tensors
from pocketcrafter.runtime.bundle.manifest import (
    Artifact,
    ComponentEntry,
    Golden,
    LicenseEntry,
    Manifest,
    Source,
    TargetEntry,
    TrainingData,
)
from pocketcrafter.runtime.bundle.results import Coverage, Fallback, Fidelity, Precision, Rung, sqnr_gate
from pocketcrafter.runtime.bundle.writer import seal
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.critique import AttributeOpinion
from pocketcrafter.runtime.grid import IDENTITY
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.pocket import LADDER, POCKET_SPECS, Pocket, PocketSettings
from pocketcrafter.runtime.targets import ONNX

HOSTILE = '</script><img src="https://example.com/x.png" onerror="alert(1)">'

NOTHING = EditPlan()
PICTURE_NETWORKS = (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE)


def rungs(second_passed: bool | None = True) -> tuple[Rung, ...]:
    close = (Fidelity(output="restored", sqnr_db=45.5, cosine=0.999, max_abs_error=0.01, psnr_db=52.0),)
    return (
        Rung(rung=0, passed=None, how="held-out photos", gates=LADDER[0]),
        Rung(rung=1, passed=True, how="simulated in torch", gates=(sqnr_gate(30),), fidelity=close),
        Rung(rung=2, passed=second_passed, how="artifact on this host", gates=(sqnr_gate(40),), fidelity=close),
        Rung(rung=3, passed=None, how="whole photos", gates=LADDER[3]),
        Rung(rung=4, passed=None, how="no device", gates=(sqnr_gate(40),)),
    )


def write_bundle(
    root: Path,
    *,
    second_passed: bool | None = True,
    text: str = "settles memory order",
    networks: tuple[str, ...] = PICTURE_NETWORKS,
) -> Path:
    """Write a bundle with one ONNX target; ``text`` comes up wherever the manifest has room for words."""
    (root / "LICENSES").mkdir(parents=True)
    (root / "LICENSES/Apache-2.0.txt").write_text("Apache License, Version 2.0\n")
    if Pocket.DECODER in networks:
        (root / "tokenizer").mkdir()
        shutil.copy(WEIGHTS / TOKENIZER, root / "tokenizer/tokenizer.json")
    seal(
        root,
        name="small",
        components=tuple(_entry(root, POCKET_SPECS[c], rungs(second_passed), text) for c in networks),
        targets={"onnx": TargetEntry(kind=ONNX, backend=BackendName.ONNXRUNTIME)},
        family="pocket",
        settings=PocketSettings(gate=GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.1)).model_dump(
            mode="json"
        ),
        licenses=(LicenseEntry(spdx="Apache-2.0", path="LICENSES/Apache-2.0.txt", covers=text),),
        training_data=TrainingData(summary=text),
        tools={"onnx": onnx.__version__},
    )
    return root


def save_network(path: Path, spec: ComponentSpec) -> None:
    """Write what makes a tile a little brighter, and constants of every other output; every input is read."""
    nodes = [helper.make_node("ReduceMean", [t.name], [f"{t.name}_mean"], keepdims=0) for t in spec.inputs]
    nodes += [
        helper.make_node("Sum", [f"{t.name}_mean" for t in spec.inputs], ["all"]),
        helper.make_node("Mul", ["all", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "tenth"], ["light"]),
    ]
    constants = {"zero": np.float32(0), "tenth": np.float32(0.1)}
    for output in spec.outputs:
        source = output.mends or f"{output.name}_constant"
        nodes.append(helper.make_node("Add", [source, "light" if output.mends else "nothing"], [output.name]))
        if not output.mends:
            value = IDENTITY[None] if output.name == "grid" else np.full(output.shape, 0.5)
            constants[source] = value.astype(np.float32)
    ends = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in tensors]
        for tensors in (spec.inputs, spec.outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "network", *ends, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())


def _entry(root: Path, spec: ComponentSpec, ladder: tuple[Rung, ...], text: str) -> ComponentEntry:
    path, golden = f"targets/onnx/{spec.name}.onnx", f"goldens/{spec.name}"
    for folder in (root / "targets/onnx", root / golden):
        folder.mkdir(parents=True, exist_ok=True)
    save_network(root / path, spec)
    inputs, outputs = f"{golden}/inputs_0.npz", f"{golden}/outputs_0.npz"
    rng = np.random.default_rng(0)
    write_tensors(root / inputs, {t.name: rng.random(t.shape, np.float32) for t in spec.inputs}, spec.inputs)
    session = OnnxRuntimeBackend().open(root / path, spec, threads=1)
    write_tensors(root / outputs, session.run(read_tensors(root / inputs, spec.inputs)), spec.outputs)
    return ComponentEntry(
        spec=spec,
        source=Source(weights=f"{spec.name}.safetensors", sha256="0" * 64, license="Apache-2.0"),
        goldens=(Golden(inputs=inputs, outputs=outputs),),
        artifacts={
            "onnx": Artifact(
                path=path,
                precision=Precision.INT8,
                coverage=Coverage(
                    macs_total=1_000_000,
                    macs_delegated=990_000,
                    delegated_ops=3,
                    subgraphs=1,
                    fallbacks=(Fallback(op="Resize", count=2, reason=text, allowed=True),),
                ),
                rungs=ladder,
                golden_gate=sqnr_gate(40),
            )
        },
    )


@pytest.fixture
def ramp() -> ByteImage:
    """A gray ramp of 64² with a colored cast."""
    values = np.linspace(60, 180, 64).astype(np.uint8)
    return np.stack([np.tile(values, (64, 1)), np.tile(values // 2 + 40, (64, 1)), np.tile(values, (64, 1))], axis=-1)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody may change."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "small.pcbundle")


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Path]:
    """Write a bundle of the test's own; see `write_bundle`."""
    return write_bundle


@pytest.fixture
def resealed() -> Callable[[Path], Manifest]:
    """Seal a bundle again after its files were changed."""

    def reseal(root: Path) -> Manifest:
        old = Manifest.model_validate_json((root / "manifest.json").read_bytes())
        return seal(
            root,
            name=old.name,
            components=old.components,
            targets=old.targets,
            family=old.family,
            settings=old.settings,
            licenses=old.licenses,
            training_data=old.training_data,
            tools=old.tools,
        )

    return reseal


@pytest.fixture(scope="session")
def frame_quality() -> Callable[..., FrameQuality]:
    """Make one frame's figures from what matters to a test."""

    def make(
        kind: FrameKind = FrameKind.DEGRADED,
        *,
        true: EditPlan = NOTHING,
        plan: EditPlan = NOTHING,
        amounts: dict[Attribute, float] | None = None,
        presences: dict[Attribute, float] | None = None,
        delta_e: tuple[float, float] = (10.0, 10.0),
        psnr_db: tuple[float, float] = (20.0, 20.0),
        scores: tuple[float, float, float, float] = (50.0, 50.0, 50.0, 50.0),
        photo: str = "a.png",
    ) -> FrameQuality:
        before, after = (PictureFigures(psnr_db=p, ssim=0.8, delta_e=d) for p, d in zip(psnr_db, delta_e, strict=True))
        opinions = {
            a: AttributeOpinion(amount=(amounts or {}).get(a, 0.0), presence=(presences or {}).get(a, 0), confidence=1)
            for a in Attribute
        }
        names = ("degraded", "enhanced", "clean", "true_degraded")
        return FrameQuality(
            kind=kind,
            photo=photo,
            repeat=0,
            before=before,
            after=after,
            seconds=0.1,
            plan=plan,
            true_plan=true,
            opinions=opinions,
            scores=Scores(**dict(zip(names, scores, strict=True))),
        )

    return make


@pytest.fixture(scope="session")
def report_of() -> Callable[..., QualityReport]:
    """Make a report of frames."""

    def make(*frames: FrameQuality) -> QualityReport:
        return QualityReport(
            bundle="small", manifest_sha256="0" * 64, machine=this_machine(), threads=1, split="heldout", seed=1,
            frames=frames,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def data(photos: list[Path], noise_profiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder with two held-out photos."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "heldout").mkdir()
    (folder / "noiseprofiles.json").write_bytes(noise_profiles.read_bytes())
    records = []
    for path in photos[:2]:
        name, digest = f"heldout/{path.name}", prepared.file_sha256(path)
        (folder / name).write_bytes(path.read_bytes())
        with Image.open(path) as image:
            width, height = image.size
        records.append(
            prepared.PhotoRecord(
                file=name,
                source="s",
                group="g",
                licence="CC0-1.0",
                author="Ada",
                original=name,
                original_sha256=digest,
                prepared_sha256=digest,
                split="heldout",
                width=width,
                height=height,
                scale=1,
            )
        )
    prepared.save_manifest(prepared.Manifest(recipe_version=1, records=tuple(records)), folder)
    return folder
