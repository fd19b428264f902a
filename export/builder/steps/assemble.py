"""Puts the proved artifacts, goldens, licences and reports together and seals them as a bundle."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pocketcrafter.export.builder.report import parity_report
from pocketcrafter.export.builder.settings import BundleSettings, CalibrationRecord, LoweringRecord
from pocketcrafter.export.builder.stage import Progress, content_hash, tool_versions
from pocketcrafter.export.builder.steps.names import BUNDLE, CALIBRATED_WITH, PROOF, RECORD, lowered_to
from pocketcrafter.runtime.bundle.manifest import (
    TOKENIZER,
    Artifact,
    ComponentEntry,
    Golden,
    LicenseEntry,
    Source,
    TargetEntry,
)
from pocketcrafter.runtime.bundle.writer import seal
from pocketcrafter.runtime.gate import read_gate
from pocketcrafter.runtime.pocket import POCKET_SPECS
from pocketcrafter.runtime.targets import TARGETS


def run(inputs: Mapping[str, Path], settings: BundleSettings, out: Path, progress: Progress) -> None:
    """Write the directory `bundle`.

    Inputs: ``gate`` (JSON), the licence texts, and for each component ``<component>.weights``,
    ``<component>.examples``, where there is one ``<component>.card`` or ``<component>.tokenizer``, and for each target
    ``<component>.<target>.lowered`` and ``<component>.<target>.proof``.
    """
    root = out / BUNDLE
    root.mkdir()
    entries = []
    for done, component in enumerate(settings.components):
        progress(done, len(settings.components))
        entries.append(_component(inputs, settings, component, root))
    licenses: list[LicenseEntry] = []
    for text in settings.licenses:
        number = 1 + sum(entry.spdx == text.spdx for entry in licenses)
        name = f"{text.spdx}.txt" if number == 1 else f"{text.spdx}.{number}.txt"
        path = _copy(inputs[text.input], root, f"LICENSES/{name}")
        licenses.append(LicenseEntry(spdx=text.spdx, path=path, covers=text.covers))
    _put(root, "reports/parity.md", parity_report(settings.name, entries))
    records = {c: _json(inputs[f"{c}.examples"] / CALIBRATED_WITH) for c in settings.components}
    _put(root, "reports/calibration.json", f"{json.dumps(records, indent=1, sort_keys=True)}\n")
    seal(
        root,
        name=settings.name,
        components=tuple(entries),
        targets={
            row.kind: TargetEntry(kind=row.kind, backend=row.backend, soc=row.soc, minimum_os=row.min_os)
            for row in map(TARGETS.__getitem__, settings.targets)
        },
        gate=read_gate(inputs["gate"]),
        licenses=tuple(licenses),
        training_data=settings.training_data,
        tools=tool_versions(settings.tools),
    )


def _component(inputs: Mapping[str, Path], settings: BundleSettings, component: str, root: Path) -> ComponentEntry:
    facts = settings.components[component]
    goldens = []
    for index in range(settings.goldens):
        pair = [
            _copy(
                inputs[f"{component}.examples"] / f"{end}_{index}.npz", root, f"goldens/{component}/{end}_{index}.npz"
            )
            for end in ("inputs", "outputs")
        ]
        goldens.append(Golden(inputs=pair[0], outputs=pair[1]))
    artifacts = {}
    for target in settings.targets:
        proof = (inputs[f"{component}.{target}.proof"] / PROOF).read_bytes()
        artifact = Artifact.model_validate_json(proof)
        lowered = lowered_to(inputs[f"{component}.{target}.lowered"], target, artifact.precision)
        record = LoweringRecord.model_validate_json((lowered / RECORD).read_bytes())
        _copy(lowered / record.artifact, root, artifact.path)
        artifacts[target] = artifact
    if card := inputs.get(f"{component}.card"):
        _copy(card, root, f"reports/{component}.md")
    if tokenizer := inputs.get(f"{component}.tokenizer"):
        _copy(tokenizer, root, TOKENIZER)
    weights = Source(weights=facts.weights, sha256=content_hash(inputs[f"{component}.weights"]), license=facts.license)
    return ComponentEntry(spec=POCKET_SPECS[component], source=weights, goldens=tuple(goldens), artifacts=artifacts)


def _copy(source: Path, root: Path, path: str) -> str:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():  # a package is a folder
        shutil.copytree(source, root / path)
    else:
        shutil.copyfile(source, root / path)
    return path


def _json(path: Path) -> dict[str, object]:
    return CalibrationRecord.model_validate_json(path.read_bytes()).model_dump(mode="json")


def _put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")
