"""Fuzz targets: a critique in words, and the JSON of plans, bundles and vocabularies."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz.target import Target, hold, on_disk
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.manifest import (
    SCHEMA_VERSION,
    Artifact,
    ComponentEntry,
    FileEntry,
    Golden,
    LicenseEntry,
    Manifest,
    Source,
    TargetEntry,
    TrainingData,
    parse_manifest,
)
from pocketcrafter.runtime.bundle.results import Coverage, Precision, Rung, sqnr_gate
from pocketcrafter.runtime.critique import describe
from pocketcrafter.runtime.families import POCKET, family_settings
from pocketcrafter.runtime.plan import CropBox, EditPlan
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket, PocketSettings
from pocketcrafter.runtime.prose.parse import parse_prose
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS, Words
from pocketcrafter.runtime.targets import TargetKind
from pocketcrafter.runtime.validation import check_json

_CRITIQUE: Final = """<think>
1. Noise and blur need no correction.
2. The frame is clearly underexposed.
3. Not assessed.
4. Not assessed.
5. Brighten it.
</think>
<edit_start>
- Raise exposure by 0.8 EV.
- Turn the moon around.
</edit_end>
<answer>46</answer>"""


def _critique(content: bytes) -> None:
    prose = parse_prose(content.decode("utf-8", "replace"))
    hold(0 <= prose.score <= 100, "a score is from 0 to 100")
    hold(type(prose).model_validate_json(prose.model_dump_json()) == prose, "a critique survives JSON")


def _plan(content: bytes) -> None:
    plan = check_json(EditPlan, content, "plan")
    hold(EditPlan.model_validate_json(plan.model_dump_json()) == plan, "a plan survives JSON")
    plan.scaled(0.5)
    describe(plan)


def _manifest(content: bytes) -> None:
    manifest = parse_manifest(content, "manifest.json")
    hold(parse_manifest(manifest.to_bytes(), "again") == manifest, "a manifest survives JSON")
    family_settings(manifest)


def _tokenizer(content: bytes) -> None:
    words = Words.read(on_disk(content, "tokenizer.json"))
    words.text(range(len(words.texts)))


def _plans() -> Sequence[bytes]:
    plan = EditPlan(exposure_ev=0.8, tint_mired=-3, dehaze=0.2, tilt_degrees=1.5)
    crop = CropBox(left=1, top=2, right=300, bottom=200)
    return plan.model_dump_json().encode(), EditPlan(crop=crop).model_dump_json(exclude_defaults=True).encode()


def _manifests() -> Sequence[bytes]:
    files = ("a/in.npz", "a/out.npz", "a/r.onnx", "LICENSE")
    rung = Rung(rung=4, passed=None, how="on a phone")
    artifact = Artifact(
        path=files[2],
        precision=Precision.FP32,
        coverage=Coverage(macs_total=2, macs_delegated=1, delegated_ops=1, subgraphs=1),
        rungs=(rung,),
        golden_gate=sqnr_gate(40),
    )
    entry = ComponentEntry(
        spec=POCKET_SPECS[Pocket.RESTORE],
        source=Source(weights="r.safetensors", sha256="0" * 64, license="Apache-2.0"),
        goldens=(Golden(inputs=files[0], outputs=files[1]),),
        artifacts={"onnx": artifact},
    )
    gate = GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.05)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        components=(entry,),
        targets={"onnx": TargetEntry(kind=TargetKind("onnx"), backend=BackendName.ONNXRUNTIME)},
        family=POCKET,
        settings=PocketSettings(gate=gate).model_dump(mode="json"),
        licenses=(LicenseEntry(spdx="Apache-2.0", path=files[3], covers="all"),),
        training_data=TrainingData(),
        tools={},
        files=tuple(FileEntry(path=path, sha256="0" * 64, size=1) for path in files),
    )
    return (json.dumps(json.loads(manifest.to_bytes()), separators=(",", ":")).encode(),)


def _tokenizers() -> Sequence[bytes]:
    """Give the shipped vocabulary without what it does not need."""
    whole = json.loads((WEIGHTS / TOKENIZER).read_text(encoding="utf-8"))
    vocabulary = {word: n for word, n in whole["model"]["vocab"].items() if len(word) == 1 or word in SPECIAL_WORDS}
    added = [{"id": token["id"], "content": token["content"]} for token in whole["added_tokens"]]
    content = {"added_tokens": added, "model": {"vocab": vocabulary}}
    return (json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(),)


TARGETS: Final[Mapping[Format, Target]] = {
    Format.CRITIQUE: Target(_critique, lambda: [_CRITIQUE.encode()]),
    Format.PLAN: Target(_plan, _plans),
    Format.MANIFEST: Target(_manifest, _manifests),
    Format.TOKENIZER: Target(_tokenizer, _tokenizers),
}
