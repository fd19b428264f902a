"""What is timed: one network by one engine, or whole photos from file to file."""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from pocketcrafter.benchmarks.latency.engines import EngineName, opener
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.executorch import BINDINGS, TORCH
from pocketcrafter.runtime.backends.litert import LITERT
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.gates import Gate
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec, Role
from pocketcrafter.runtime.photo import decode, encode
from pocketcrafter.runtime.pipeline import PhotoPipeline
from pocketcrafter.runtime.plan import TONAL, EditPlan
from pocketcrafter.runtime.plan_judge import PROPOSALS, JudgeSettings, Proposal
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.words import counted

Run = Callable[[], Mapping[str, float]]
"""Does the work once; returns seconds by stage, or nothing where there are no stages."""

ENGINES: Final[Mapping[BackendName | EngineName, tuple[str, ...]]] = {
    BackendName.ONNXRUNTIME: ("onnxruntime",),
    BackendName.EXECUTORCH: (TORCH, BINDINGS),
    BackendName.TORCH: ("torch", "pocketcrafter.export.backend"),
    BackendName.LITERT: (LITERT,),
    EngineName.TORCH_COMPILE: ("torch", "pocketcrafter.export.backend"),
    EngineName.OPENVINO: ("openvino",),
}
"""What each backend computes with. Those that are not listed emulate: they prove values, and their time is nobody's."""

_TONE_ONLY: Final = EditPlan(exposure_ev=0.5, contrast=0.2, saturation=0.1)
_EVERYTHING: Final = _TONE_ONLY.model_copy(update={"denoise": 0.5, "dejpeg": 0.3})
_WIDE_OPEN: Final = GateSettings.uniform(presence=0, confidence=0, dead_zone=0)
_ALL_TONES: Final = JudgeSettings(proposals=(Proposal(attributes=TONAL),) * PROPOSALS, bar=-100, worth=0)
"""A judge looks at as many proposals as ever, and takes the critic's tones whatever it makes of them."""


_IN_A_ROW: Final[Mapping[Role, int]] = {Role.LANGUAGE: 128}
"""Networks that no one runs once: words follow each other, and each finds in the processor what the last one left."""


class Job(Protocol):
    """Work that a process of its own does again and again."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    @property
    def in_a_row(self) -> int:
        """How often it is done in a timed run, without a pause."""

    def import_engine(self) -> None:
        """Import what computes, so that neither its time nor its memory counts as the bundle's."""

    def open(self) -> Run:
        """Open everything that stays open between runs."""

    def sqnr_db(self, run: Run) -> float | None:
        """Return how close the last run's worst output is to what it should be; `None` where nothing differs."""


@dataclass(frozen=True)
class NetworkJob:
    """One network by one engine, on the inputs of its golden.

    Attributes
    ----------
    runner
        A target of the bundle, or the name of a competitor.
    family
        The bundle's, which knows the network of full-precision weights.
    gate
        Ratio to the golden at which a time counts: how fast a wrong answer comes does not matter.
    """

    runner: str
    ours: bool
    precision: Precision
    component: str
    threads: int
    backend: BackendName | EngineName
    artifact: Path
    spec: ComponentSpec
    family: str
    golden_inputs: Path
    golden_outputs: Path
    gate: Gate

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.component} on {self.runner}, {counted(self.threads, 'thread')}"

    @property
    def in_a_row(self) -> int:
        """As many as a critique has of what writes it, one of anything else."""
        return _IN_A_ROW.get(self.spec.role, 1)

    def import_engine(self) -> None:
        """Import the engine."""
        for module in ENGINES[self.backend]:
            importlib.import_module(module)

    def open(self) -> Run:
        """Open the artifact."""
        session = opener(self.backend, self.family).open(self.artifact, self.spec, self.threads)
        return _NetworkRun(session, read_tensors(self.golden_inputs, self.spec.inputs))

    def sqnr_db(self, run: Run) -> float | None:
        """Compare the last outputs with the golden."""
        if not isinstance(run, _NetworkRun):
            return None
        expected = read_tensors(self.golden_outputs, self.spec.outputs)
        ratios = [
            Fidelity.of(output, run.inputs, expected[output.name], run.outputs[output.name]).sqnr_db
            for output in self.spec.outputs
        ]
        return min((r for r in ratios if r is not None), default=None)


@dataclass(frozen=True)
class PhotoJob:
    """A photo file, enhanced into another one by one of a bundle's targets.

    The critic runs in full, but a fixed plan takes the place of what it says, so that every bundle and every photo has
    the same work done.
    """

    bundle: Path
    target: str
    photo: Path
    result: Path
    megapixels: float
    restoration: bool
    threads: int

    @property
    def name(self) -> str:
        """What it is, in words."""
        restoration = "on" if self.restoration else "off"
        threads = counted(self.threads, "thread")
        return f"photo of {self.megapixels:g} MP on {self.target}, restoration {restoration}, {threads}"

    @property
    def in_a_row(self) -> int:
        """One photo."""
        return 1

    def import_engine(self) -> None:
        """Import the target's engine."""
        for module in ENGINES[Bundle.open(self.bundle).manifest.targets[self.target].backend]:
            importlib.import_module(module)

    def open(self) -> Run:
        """Open the bundle; each network is opened by the first run."""
        plan = _EVERYTHING if self.restoration else _TONE_ONLY
        source = _FixedPlanSource(Bundle.open(self.bundle), self.target, plan, self.threads)
        return _PhotoRun(PhotoPipeline(source, threads=self.threads), self)

    def sqnr_db(self, run: Run) -> float | None:
        """Compare nothing: a fixed plan has no right answer."""
        del run
        return None


class _NetworkRun:
    def __init__(self, session: Session, inputs: Mapping[str, FloatArray]) -> None:
        self._session, self.inputs = session, inputs
        self.outputs: Mapping[str, FloatArray] = {}

    def __call__(self) -> Mapping[str, float]:
        self.outputs = self._session.run(self.inputs)
        return {}


class _PhotoRun:
    def __init__(self, pipeline: PhotoPipeline, job: PhotoJob) -> None:
        self._pipeline, self._job = pipeline, job

    def __call__(self) -> Mapping[str, float]:
        start = time.perf_counter()
        photo = decode(self._job.photo)
        decoded = time.perf_counter()
        enhanced = self._pipeline.enhance(photo)
        done = time.perf_counter()
        encode(enhanced.photo, self._job.result, threads=self._job.threads)
        return {"decode": decoded - start, **enhanced.timings, "encode": time.perf_counter() - done}


@dataclass(frozen=True)
class _FixedPlanSource:
    bundle: Bundle
    target: str
    plan: EditPlan
    threads: int

    @property
    def gate(self) -> GateSettings:
        return _WIDE_OPEN.model_copy(update={"judge": _ALL_TONES if self.has(Pocket.JUDGE) else None})

    def has(self, component: str) -> bool:
        return self.bundle.has(component)

    def session(self, component: str) -> Session:
        session = self.bundle.target_session(component, self.threads, self.target)
        return _FixedPlanCritic(session, self.plan) if component == Pocket.CRITIC else session


@dataclass(frozen=True)
class _FixedPlanCritic:
    session: Session
    plan: EditPlan

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        outputs = self.session.run(inputs)
        sure = np.ones_like(outputs["presence"])
        return outputs | {"plan": self.plan.vector()[None], "presence": sure, "confidence": sure}
