"""Puts the proved artifacts, goldens, licences and reports together and seals them as a bundle."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from pocketcrafter.export.builder.parity_report import parity_report
from pocketcrafter.export.builder.settings import (
    BUNDLE,
    CALIBRATED_WITH,
    FILES,
    MADE,
    PROOF,
    RECORD,
    BundleSettings,
    CalibrationRecord,
    golden_files,
    lowered_to,
    read_spec,
)
from pocketcrafter.export.builder.stage import tool_versions
from pocketcrafter.runtime.bundle.manifest import (
    Artifact,
    ComponentEntry,
    Golden,
    LicenseEntry,
    Source,
    TargetEntry,
)
from pocketcrafter.runtime.bundle.writer import seal
from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import TARGETS


def run(inputs: Mapping[str, Path], settings: BundleSettings, out: Path, progress: Progress) -> None:
    """Write the directory `bundle`.

    Inputs: ``settings.<name>`` (JSON), the licence texts, and further files by their place in the bundle; for each
    component ``<component>.examples`` and, where there is one, ``<component>.card``; and for
    each of its targets ``<component>.<target>.lowered`` and ``<component>.<target>.proof``.

    Parameters
    ----------
    inputs
        Paths by input name, as the stage declares them.
    settings
        The settings of the stage.
    out
        Empty directory for the result.
    progress
        Called with steps done and steps in all.
    """
    root = out / BUNDLE
    root.mkdir()
    entries = []
    for done, component in enumerate(settings.components):
        progress(done, len(settings.components))
        entries.append(_component(inputs, settings, component, root))
    for path in settings.files:
        _copy(inputs[path], root, path)
    found = {name: inputs[f"settings.{name}"] for name in settings.settings}
    found |= {name: inputs[MADE] / f"{name}.json" for name in settings.made_settings}
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
            row.kind: TargetEntry(kind=row.kind, backend=row.backend, soc=row.soc_names, minimum_os=row.min_os)
            for row in map(TARGETS.__getitem__, settings.targets)
        },
        family=settings.family,
        settings={name: parse_json(path.read_bytes()) for name, path in found.items()},
        licenses=tuple(licenses),
        training_data=settings.training_data,
        tools=tool_versions(settings.tools),
    )


def _component(inputs: Mapping[str, Path], settings: BundleSettings, component: str, root: Path) -> ComponentEntry:
    facts = settings.components[component]
    examples = inputs[f"{component}.examples"]
    spec = read_spec(examples)
    goldens = []
    for function in (None, *(known.name for known in spec.functions)):
        for index in range(settings.goldens):
            names = golden_files(index, function)
            made, expected = (_copy(examples / name, root, f"goldens/{component}/{name}") for name in names)
            goldens.append(Golden(inputs=made, outputs=expected, function=function))
    artifacts = {}
    for target in settings.targets:
        proof = (inputs[f"{component}.{target}.proof"] / PROOF).read_bytes()
        artifact = Artifact.model_validate_json(proof)
        lowered = lowered_to(inputs[f"{component}.{target}.lowered"], target, artifact.precision)
        for file in sorted(lowered.iterdir()):  # beside an artifact lie its weights, and functions with a file each
            if file.name != RECORD:
                _copy(file, root, artifact.beside(file.name))
        artifacts[target] = artifact
    for file in (path for path in sorted((examples / FILES).rglob("*")) if path.is_file()):
        _copy(file, root, file.relative_to(examples / FILES).as_posix())
    if card := inputs.get(f"{component}.card"):
        _copy(card, root, f"reports/{component}.md")
    weights = Source(weights=facts.weights, sha256=facts.sha256, license=facts.license)
    return ComponentEntry(spec=spec, source=weights, goldens=tuple(goldens), artifacts=artifacts)


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
