"""Context binaries for Snapdragons: compiled from the wheel alone, and run on the HTP emulator, never on a device."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.qnn.context import compile_context
from pocketcrafter.export.lower.qnn.context_model import CpuFallbackError, WrongSocError, check_context, read_context
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.backends.qnn import QnnEmulatorBackend, run_qnn, why_no_qnn
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName, ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.targets import TARGETS, Soc, TargetKind

needs_qnn = pytest.mark.skipif(why_no_qnn() is not None, reason=f"the extra `qnn` is not here: {why_no_qnn()}")

_SM8650 = TargetKind("qnn-context:sm8650")
_SM8750 = TargetKind("qnn-context:sm8750")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("int8")


@pytest.fixture(scope="module")
def lowered(
    folder: Path, make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample]
) -> LoweredArtifact:
    return lower(LoweringRequest(make_restore(), spec, samples, Precision.INT8, {_SM8750: folder / "restore.onnx"}))[
        _SM8750
    ]


def header(soc_id: int) -> bytes:
    """All that is read of a binary."""
    return bytes(188) + soc_id.to_bytes(4, "little")


def context_model(path: Path, binary: bytes, outside: tuple[str, ...] = ()) -> Path:
    nodes = [helper.make_node("EPContext", ["x"], ["y"], "qnn", domain="com.microsoft", ep_cache_context=binary)]
    nodes += [helper.make_node(op, ["y"], ["z"], f"/layer/{op}") for op in outside]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value], [])), path)
    return path


@needs_qnn
def test_int8_is_one_context_on_the_htp_that_does_what_the_qdq_graph_does(
    folder: Path, lowered: LoweredArtifact
) -> None:
    assert [p.name for p in folder.iterdir()] == ["restore.onnx"]
    assert lowered.rung1[0].reaches(30)
    assert lowered.rung2[0].reaches(35)
    assert lowered.rung1[0].sqnr_db is not None
    assert lowered.rung1[0].sqnr_db < 80, "nothing was quantized"
    assert "emulator" in lowered.rung2_how
    assert re.search(r"of the graph with SHA-256 [0-9a-f]{64}, on", lowered.rung2_how)
    assert lowered.coverage.share == 1
    assert lowered.coverage.macs_total > 0
    assert lowered.coverage.subgraphs == 1
    assert not lowered.coverage.fallbacks
    assert [node.op_type for node in onnx.load(lowered.path).graph.node] == ["EPContext"]


@needs_qnn
def test_the_artifact_names_no_path(folder: Path, lowered: LoweredArtifact) -> None:
    content = lowered.path.read_bytes()
    assert str(folder).encode() not in content
    assert str(Path(__file__).parents[3]).encode() not in content


@needs_qnn
def test_users_run_it_through_the_emulator_backend(
    lowered: LoweredArtifact, spec: ComponentSpec, samples: list[Sample]
) -> None:
    restored = QnnEmulatorBackend().open(lowered.path, spec, 1).run(samples[0])["restored"]
    assert 0.01 < np.abs(restored - samples[0]["tile"]).max() < 1


@needs_qnn
def test_a_run_that_failed_is_not_tried_again_on_the_cpu(lowered: LoweredArtifact) -> None:
    """Guards `disable_fallback`: without it Python's session opens the model anew on the CPU, and says nothing."""
    opens = (
        "import sys; from pathlib import Path; "
        "from pocketcrafter.runtime.backends.qnn_child import QnnJob, open_session; "
        "job = QnnJob(model=Path(sys.argv[1]), socs={}, context=None, samples=0); "
        "print(open_session(job)._enable_fallback)"
    )
    command = [sys.executable, "-c", opens, lowered.path]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert said.stdout.split()[-1] == "False"


@needs_qnn
@pytest.mark.parametrize(
    ("precision", "least_db", "emulated_db"), [(Precision.A16W8, 50, 50), (Precision.A16W4, 25, 35)]
)
def test_16_bit_activations_are_closer_and_take_weights_of_4(
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
    precision: Precision,
    least_db: float,
    emulated_db: float,
) -> None:
    made = lower(LoweringRequest(make_restore(), spec, samples, precision, {_SM8650: tmp_path / "restore.onnx"}))[
        _SM8650
    ]
    assert made.rung1[0].reaches(least_db)
    assert made.rung2[0].reaches(emulated_db)
    assert read_context(made.path).soc_ids == (57,)


@needs_qnn
def test_a_product_of_two_activations_keeps_16_bits_of_both(tmp_path: Path) -> None:
    """Guards the trap in which the HTP rounds an unsigned second factor to 8 bits (40 dB)."""

    class Attended(nn.Module):
        def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
            return (queries @ (keys - 0.25).transpose(-1, -2)).relu()

    shapes = {"queries": (1, 2, 8, 32), "keys": (1, 2, 64, 32)}
    spec = ComponentSpec(
        name=ComponentName("attended"),
        role=Role.BRIDGE,
        inputs=tuple(TensorSpec(name=name, shape=shape, semantics="Rows.") for name, shape in shapes.items()),
        outputs=(TensorSpec(name="likeness", shape=(1, 2, 8, 64), semantics="Of each pair of rows."),),
    )
    rng = np.random.default_rng(7)
    drawn = [
        {name: rng.normal(size=shape).clip(-4, 4).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(3)
    ]
    out = tmp_path / "attended.onnx"
    made = lower(LoweringRequest(Attended().eval(), spec, drawn, Precision.A16W8, {_SM8750: out}))[_SM8750]
    assert made.rung2[0].reaches(60)
    assert made.whole[0].reaches(60)


@needs_qnn
def test_every_soc_gets_its_own_binary_that_no_other_is_taken_for(tmp_path: Path) -> None:
    for soc in set(Soc):
        made = tmp_path / f"{soc}.onnx"
        facts = compile_context(convolution(tmp_path / "float.onnx"), (soc,), made)
        check_context(facts, (soc,), made)
        for other in set(Soc) - {soc}:
            with pytest.raises(WrongSocError, match=f"compiled for {soc}, not for {other}"):
                check_context(facts, (other,), made)


@needs_qnn
def test_an_operator_that_the_htp_refuses_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    model = convolution(tmp_path / "float.onnx", then="Det")
    made = tmp_path / "made"
    made.mkdir()
    with pytest.raises(CpuFallbackError, match="Det /then/Det"):
        compile_context(model, (Soc.SM8750,), made / "context.onnx")
    assert list(made.iterdir()) == []


@needs_qnn
def test_a_damaged_artifact_is_an_error_not_a_crash(
    lowered: LoweredArtifact, spec: ComponentSpec, tmp_path: Path
) -> None:
    model = onnx.load(lowered.path)
    binary = next(a for a in model.graph.node[0].attribute if a.name == "ep_cache_context")
    binary.s = binary.s[: len(binary.s) // 2]
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(BackendError, match=r"half\.onnx"):
        QnnEmulatorBackend().open(tmp_path / "half.onnx", spec, 1)


@needs_qnn
def test_an_artifact_of_another_contract_is_refused(lowered: LoweredArtifact, spec: ComponentSpec) -> None:
    tile, *rest = spec.inputs
    other = spec.model_copy(update={"inputs": (tile.model_copy(update={"name": "photo"}), *rest)})
    with pytest.raises(BackendError, match="contract of `restore`"):
        QnnEmulatorBackend().open(lowered.path, other, 1)


@needs_qnn
def test_a_model_that_is_not_compiled_yet_opens_with_its_own_names_and_shapes(tmp_path: Path) -> None:
    interface, _ = run_qnn(convolution(tmp_path / "float.onnx"), socs={69: 79})
    assert interface.inputs == {"x": (1, 3, 4, 4)}
    assert interface.outputs == {"y": (1, 4, 4, 4)}


def test_other_precisions_are_refused_with_what_there_is(
    make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no w4: .* nearest is a16w4; it has fp32, fp16, int8, a16w8, a16w4"):
        lower(LoweringRequest(make_restore(), spec, samples, Precision.W4, {_SM8750: tmp_path / "restore.onnx"}))[
            _SM8750
        ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("soc_id", "found"), [(57, "SM8650"), (43, "QNN's number 43")])
def test_a_binary_for_another_soc_is_told_by_its_header(tmp_path: Path, soc_id: int, found: str) -> None:
    facts = read_context(context_model(tmp_path / "m.onnx", header(soc_id)))
    with pytest.raises(WrongSocError, match=f"compiled for {found}, not for SM8750 "):
        check_context(facts, (Soc.SM8750,), tmp_path / "m.onnx")


def test_operators_beside_the_context_are_named(tmp_path: Path) -> None:
    facts = read_context(context_model(tmp_path / "m.onnx", header(69), outside=("Resize", "Det")))
    with pytest.raises(CpuFallbackError, match="Resize /layer/Resize, Det /layer/Det"):
        check_context(facts, (Soc.SM8750,), tmp_path / "m.onnx")


def test_a_binary_without_a_header_is_refused(tmp_path: Path) -> None:
    path = context_model(tmp_path / "m.onnx", binary=bytes(191))
    with pytest.raises(BackendError, match="no whole context binary"):
        read_context(path)


def convolution(path: Path, then: str | None = None) -> Path:
    weights = numpy_helper.from_array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3, 1, 1), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["a" if then else "y"], "/conv")]
    shape = [1, 4, 4, 4]
    if then:
        nodes.append(helper.make_node(then, ["a"], ["y"], f"/then/{then}"))
        shape = [1, 4]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@needs_qnn
@pytest.mark.parametrize("target", [_SM8750, TargetKind("executorch-qnn:sm8750")])
def test_what_needs_float32_runs_on_the_cpu_and_says_so(
    target: TargetKind,
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    out = tmp_path / f"restore{TARGETS[target].suffix}"
    made = lower(LoweringRequest(make_restore(), spec, samples, Precision.FP32, {target: out}))[target]
    assert made.rung2[0].reaches(100)
    assert made.rung2_how.startswith("On the CPU beside the accelerator, as float32 was asked for")
    restored = usable_backend(TARGETS[target].backend).open(out, spec, 1).run(samples[0])["restored"]
    assert 0.01 < np.abs(restored - samples[0]["tile"]).max() < 1


@needs_qnn
def test_one_file_for_all_socs_is_bound_to_twins_that_ran(
    make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    target = TargetKind("qnn-context:multi")
    made = lower(LoweringRequest(make_restore(), spec, samples, Precision.INT8, {target: tmp_path / "restore.onnx"}))[
        target
    ]
    assert read_context(made.path).soc_ids == (57, 69, 87)
    assert made.rung2[0].reaches(35)
    assert "SHA-256 " in made.rung2_how
    assert "SM8650, SM8750, SM8850 alone" in made.rung2_how
    with pytest.raises(BackendError, match="run on a phone only"):
        usable_backend(TARGETS[target].backend).open(made.path, spec, 1)
    with pytest.raises(WrongSocError, match="compiled for SM8650, SM8750, SM8850, not for SM8750"):
        check_context(read_context(made.path), (Soc.SM8750,), made.path)


@needs_qnn
def test_wide_layers_are_kept_once_for_all_socs(tmp_path: Path) -> None:
    """The program of each system-on-chip is its own: what is shared are weights, so a wide network shows it."""
    model = wide_convolutions(tmp_path / "wide.onnx")
    sizes = {}
    for socs in ((Soc.SM8650,), (Soc.SM8750,), (Soc.SM8850,), tuple(Soc)):
        compile_context(model, socs, tmp_path / "made.onnx")
        sizes[socs] = (tmp_path / "made.onnx").stat().st_size
    assert sizes.pop(tuple(Soc)) <= 1.15 * max(sizes.values())


def wide_convolutions(path: Path) -> Path:
    """Write convolutions of 1.8 million weights on a small picture."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.02, (256, 256, 3, 3)).astype(np.float32) for _ in range(3)]
    names = ["x", "a", "b", "y"]
    nodes = [
        helper.make_node("Conv", [names[n], f"w{n}"], [names[n + 1]], f"/conv{n}", pads=[1, 1, 1, 1]) for n in range(3)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 256, 8, 8]) for name in ("x", "y")]
    held = [numpy_helper.from_array(weight, f"w{n}") for n, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path
