"""Vectors of manifests: one that is legal, and what Python refuses of it once something in it is changed."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from pocketcrafter.runtime.bundle.manifest import PACKAGES, SCHEMA_VERSION, parse_manifest
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.embedding import TABLE
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.families import LATENT, POCKET, family_settings
from pocketcrafter.runtime.latent import settings as latent
from pocketcrafter.runtime.latent.settings import (
    AffineSettings,
    ArtistSettings,
    CriticSettings,
    Latent,
    LatentSettings,
    PictureSettings,
    Resampling,
    RotarySettings,
    StepSettings,
    TimeSettings,
)
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENIZER, Pocket
from pocketcrafter.runtime.targets import TARGETS, TargetKind
from pocketcrafter.runtime.vectors.judging import JUDGE
from pocketcrafter.runtime.vectors.plans import GATE
from pocketcrafter.runtime.vectors.recording import Recording

_DROPPED: Final = object()
_PACKAGED: Final = (TargetKind("coreml:ios18"), TargetKind("coreai:ios27"))
_COMPONENTS: Final = (Pocket.CRITIC, Pocket.JUDGE, Pocket.TONE, Pocket.RESTORE, Pocket.DECODER)
_FIRST: Final = ("components", 0)
_ARTIFACT: Final = (*_FIRST, "artifacts", "onnx")

_CHANGES: Final[tuple[tuple[tuple[str | int, ...], Any], ...]] = (
    ((), {}),
    (("extra",), 1),
    (("name",), "Bad Name"),
    (("name",), _DROPPED),
    (("schema_version",), 3),
    (("schema_version",), "2"),
    (("files", 0, "path"), "../outside"),
    (("files", 0, "path"), "/etc/passwd"),
    (("files", 0, "path"), "a//b"),
    (("files", 0, "path"), "c:\\windows"),
    (("files", 0, "path"), "ends./x"),
    (("files", 0, "size"), -1),
    (("files", 0, "size"), 5.5),
    (("files", 0, "sha256"), "0" * 63),
    (("files", 0, "sha256"), "A" * 64),
    (("files", 0, "path"), "manifest.json"),
    (("files", 0, "path"), TOKENIZER.upper()),
    (("files", 0), _DROPPED),
    (("files",), []),
    (("components",), []),
    ((*_FIRST, "spec", "surprise"), None),
    ((*_FIRST, "spec", "name"), "Critic"),
    ((*_FIRST, "spec", "name"), "tone"),
    ((*_FIRST, "spec", "role"), "seer"),
    ((*_FIRST, "spec", "inputs"), []),
    ((*_FIRST, "spec", "inputs", 0, "shape"), []),
    ((*_FIRST, "spec", "inputs", 0, "shape"), [1] * 7),
    ((*_FIRST, "spec", "inputs", 0, "name"), "has space"),
    ((*_FIRST, "goldens"), []),
    ((*_FIRST, "goldens", 0, "function"), "unknown"),
    ((*_FIRST, "artifacts"), {}),
    ((*_ARTIFACT, "path"), "targets/onnx/critic.pte"),
    ((*_ARTIFACT, "path"), "targets/onnx/elsewhere.onnx"),
    ((*_ARTIFACT, "precision"), "int3"),
    ((*_ARTIFACT, "coverage", "macs_total"), "many"),
    ((*_FIRST, "artifacts", "other"), {}),
    (("targets", "onnx", "kind"), "executorch-xnnpack"),
    (("targets", "onnx", "backend"), "executorch"),
    (("targets", "second"), {"kind": "onnx", "backend": "onnxruntime"}),
    (("licenses",), []),
    (("licenses", 0, "path"), "LICENSES/none.txt"),
    (("tools", "python"), 3),
    (("tools", "anything"), "1.0"),
    (("family",), "Pocket Family"),
    (("settings", "gate", "attributes", "dehaze"), _DROPPED),
    (("settings", "gate", "attributes", "dehaze", "presence"), 1.5),
    (("settings", "gate", "attributes", "dehaze", "presence"), 0),
    (("settings", "gate", "judge"), None),
    (("settings", "gate", "judge", "bar"), "0"),
    (("settings", "gate", "judge", "bar"), 101),
    (("settings", "gate", "judge", "worth"), _DROPPED),
    (("settings", "gate", "judge", "proposals", 0), _DROPPED),
    (("settings", "gate", "judge", "proposals", 0, "attributes"), []),
    (("settings", "gate", "judge", "proposals", 0, "attributes", 0), "brightness"),
    (("settings", "gate", "judge", "proposals", 0, "strength"), 0),
    (("settings", "gate", "judge", "proposals", 0, "dead_zone"), -0.1),
    (("settings", "more"), 1),
    (("training_data", "sources"), [{"name": "x", "license": "CC0-1.0", "url": None}]),
    (("training_data", "sources"), [{"name": "x"}]),
)
"""Where something is put, and what; an empty path replaces the whole."""
_SETTINGS: Final = LatentSettings(
    critic=CriticSettings(
        prompt=(1, 3, 3, 2),
        picture_token=3,
        stops=(0,),
        longest_answer=7,
        picture=PictureSettings(side=8, resampling=Resampling.LANCZOS, mean=(0.5,) * 3, deviation=(0.5,) * 3),
        rotary=RotarySettings(frequencies=(1.0, 0.01), scale=1.0, sections=(1, 1, 0)),
        rows=2,
    ),
    artist=ArtistSettings(
        side=16,
        latents=AffineSettings(scale=0.8),
        picture=AffineSettings(),
        start_noise=1.0,
        start_picture=0.0,
        steps=(StepSettings(timestep=999.0, keep=1.0, move=-0.5),),
        time=TimeSettings(frequencies=(1.0,), cosines_first=False),
        seed=5,
    ),
)
_LATENT_CHANGES: Final[tuple[tuple[tuple[str | int, ...], Any], ...]] = (
    (("settings", "critic"), None),
    (("settings", "artist"), None),
    (("settings",), {"critic": None, "artist": None}),
    (("settings",), {}),
    (("settings", "gate"), None),
    (("settings", "critic", "prompt"), []),
    (("settings", "critic", "prompt"), [1, 2]),
    (("settings", "critic", "picture_token"), -1),
    (("settings", "critic", "stops"), []),
    (("settings", "critic", "longest_answer"), 0),
    (("settings", "critic", "picture", "resampling"), "box"),
    (("settings", "critic", "picture", "mean"), [0.5, 0.5]),
    (("settings", "critic", "picture", "side"), 4),
    (("settings", "critic", "rotary", "frequencies"), []),
    (("settings", "critic", "rows"), 0),
    (("settings", "critic", "temperature"), 0.5),
    (("settings", "artist", "side"), 8),
    (("settings", "artist", "steps"), []),
    (("settings", "artist", "steps", 0, "move"), _DROPPED),
    (("settings", "artist", "steps", 0, "noise"), 0.5),
    (("settings", "artist", "steps", 0, "sigma"), 0.5),
    (("settings", "artist", "seed"), -1),
    (("settings", "artist", "seed"), 1 << 53),
    (("settings", "artist", "tiles"), 5000),
    (("settings", "artist", "bridge_tokens"), 3),
    (("settings", "artist", "time", "cosines_first"), "yes"),
    (("components", 1), _DROPPED),
    (("components", 4), _DROPPED),
    (("components", 1, "spec", "name"), "decoder"),
    (("files", 1), _DROPPED),
)


def record_manifests(recording: Recording) -> None:
    """Add a manifest's text for each change, and whether it is legal for its family."""
    legal = _pocket_manifest()
    texts = [_text(legal), *(_text(_changed(legal, path, value)) for path, value in _CHANGES)]
    text = texts[0]
    texts += [text[:-3], text + "x", text.replace('"name"', '"name": "a", "name"', 1), text.replace("0.3", "NaN", 1)]
    texts += ["[" * 100_000, "", "[1]"]
    texts += [_text(_packaged(legal, kind)) for kind in _PACKAGED]
    recording.add("manifest", [{"text": t, "legal": _is_legal(t)} for t in texts])
    legal = _latent_manifest()
    texts = [_text(legal), *(_text(_changed(legal, path, value)) for path, value in _LATENT_CHANGES)]
    recording.add("latent_manifest", [{"text": t, "legal": _is_legal(t)} for t in texts])


def _packaged(legal: dict[str, Any], kind: TargetKind) -> dict[str, Any]:
    """Return the manifest with one target, whose artifacts are folders."""
    suffix = next(suffix for suffix in TARGETS[kind].suffixes if suffix in PACKAGES)
    manifest = deepcopy(legal)
    manifest["targets"] = {kind: {**legal["targets"]["onnx"], "kind": kind, "backend": TARGETS[kind].backend}}
    for component in manifest["components"]:
        made = component["artifacts"].pop("onnx")
        path = made["path"].replace(".onnx", suffix)
        component["artifacts"] = {kind: {**made, "path": path}}
        for file in manifest["files"]:
            if file["path"] == made["path"]:
                file["path"] = f"{path}/weights/model"
    return manifest


def _latent_manifest() -> dict[str, Any]:
    specs = [POCKET_SPECS[Pocket.RESTORE].model_copy(update={"name": str(name)}) for name in Latent]
    settings = _SETTINGS.model_dump(mode="json")
    return _manifest(LATENT, specs, settings, (latent.TOKENIZER, TABLE))


def _pocket_manifest() -> dict[str, Any]:
    gate = GATE.model_copy(update={"judge": JUDGE}).model_dump(mode="json")
    return _manifest(POCKET, [POCKET_SPECS[name] for name in _COMPONENTS], {"gate": gate}, (TOKENIZER,))


def _manifest(
    family: str, specs: Sequence[ComponentSpec], settings: Mapping[str, Any], files: Sequence[str]
) -> dict[str, Any]:
    paths = ["LICENSES/Apache-2.0.txt", *files]
    paths += [p for spec in specs for p in (f"targets/onnx/{spec.name}.onnx", *_goldens(spec.name))]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": "vectors",
        "components": [_component(spec) for spec in specs],
        "targets": {"onnx": {"kind": "onnx", "backend": "onnxruntime", "soc": None, "minimum_os": None}},
        "family": family,
        "settings": settings,
        "licenses": [{"spdx": "Apache-2.0", "path": paths[0], "covers": "everything"}],
        "training_data": {"summary": "", "sources": []},
        "tools": {"python": "3.11"},
        "files": [{"path": path, "sha256": f"{n:064x}", "size": n} for n, path in enumerate(paths)],
    }


def _component(spec: ComponentSpec) -> dict[str, Any]:
    name = spec.name
    inputs, outputs = _goldens(name)
    return {
        "spec": spec.model_dump(mode="json"),
        "source": {"weights": f"{name}.safetensors", "sha256": "ab" * 32, "license": "Apache-2.0"},
        "goldens": [{"inputs": inputs, "outputs": outputs}],
        "artifacts": {
            "onnx": {
                "path": f"targets/onnx/{name}.onnx",
                "precision": "int8",
                "coverage": {"macs_total": 10, "macs_delegated": 10, "delegated_ops": 1, "subgraphs": 1},
                "rungs": [{"rung": 4, "passed": None, "how": "not run"}],
                "golden_gate": {"metric": "sqnr-db", "minimum": 30},
            }
        },
    }


def _goldens(name: str) -> tuple[str, str]:
    return f"goldens/{name}/inputs_0.npz", f"goldens/{name}/outputs_0.npz"


def _changed(manifest: dict[str, Any], path: tuple[str | int, ...], value: Any) -> Any:  # noqa: ANN401 - JSON
    if not path:
        return value
    changed: Any = deepcopy(manifest)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if value is _DROPPED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def _text(manifest: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(manifest)


def _is_legal(text: str) -> bool:
    try:
        family_settings(parse_manifest(text.encode(), "vectors"))
    except BundleError:
        return False
    return True
