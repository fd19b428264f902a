"""The manifest of a bundle: what is in it, what it runs on, what was measured and what every file must hash to."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision, Rung, sqnr_gate
from pocketcrafter.runtime.components import ComponentSpec, FamilyName, FunctionName, TensorSpec
from pocketcrafter.runtime.config import Config, parse_json
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.targets import TARGETS, TargetKind
from pocketcrafter.runtime.validation import check_json

SCHEMA_VERSION: Final = 2
MANIFEST: Final = "manifest.json"
DIGEST: Final = "manifest.sha256"
"""``<sha256 of manifest.json>  manifest.json``: `sha256sum -c manifest.sha256` reads it too."""
RESERVED: Final = frozenset({MANIFEST, DIGEST})
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_FILE_BYTES: Final = 4 << 30
MAX_FILES: Final = 4096

_FORBIDDEN: Final = frozenset('\\:*?"<>|') | {chr(c) for c in (*range(32), 127)}


def safe_path(path: str) -> str:
    """Return a path that stays inside the bundle on every system.

    Raises
    ------
    ValueError
        If it is absolute, has `.`, `..`, empty parts or characters that a file system treats specially.
    """
    parts = path.split("/")
    if any(p in {"", ".", ".."} for p in parts) or _FORBIDDEN & set(path):
        raise ValueError(f"path {path!r} does not stay inside the bundle")
    if any(p.endswith((".", " ")) for p in parts):
        raise ValueError(f"path {path!r} has a part that ends in a dot or space, which Windows drops")
    return path


PACKAGES: Final = frozenset({".mlpackage", ".aimodel"})
"""Suffixes of artifacts that are folders."""
BundlePath = Annotated[str, Field(min_length=1, max_length=240), AfterValidator(safe_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=4000)]
TargetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}(:[a-z0-9]{1,16})?$")]


class FileEntry(Config):
    """One file of the bundle."""

    path: BundlePath = Field(description="POSIX path relative to the bundle.")
    sha256: Sha256
    size: int = Field(ge=0, le=MAX_FILE_BYTES, description="Bytes.")


class Golden(Config):
    """One example of a component: what goes in and what the full-precision student makes of it, as `.npz`."""

    inputs: BundlePath
    outputs: BundlePath
    function: FunctionName | None = Field(None, description="Which further function it is of; null for the default.")


class ArtifactFunction(Config):
    """One function of an artifact; all of them share their weights, and may share their states.

    A function of the contract's (`ComponentSpec.functions`) bears its name, inputs and outputs. One that keeps tensors
    from call to call has states in place of inputs: a state bears the name of the contract's input that it takes the
    place of, and the function writes into it.
    """

    name: FunctionName
    file: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9._-]{0,119}$",
        description="Its own file beside the artifact, where the format holds one graph a file; null where it is in "
        "the artifact itself.",
    )
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=16)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=16)
    states: tuple[TensorSpec, ...] = Field((), max_length=16, description="What it keeps; none where it is stateless.")


class Artifact(Config):
    """One component lowered for one target, with what was measured on it."""

    path: BundlePath
    functions: tuple[ArtifactFunction, ...] = Field(
        (), max_length=8, description="Its functions, the default one first; none where it is the contract itself."
    )
    precision: Precision
    coverage: Coverage
    rungs: tuple[Rung, ...] = Field(description="Every rung of the parity ladder, in order, run or not.")
    golden_gate: Gate = Field(description="What its outputs must reach against the full-precision goldens to run.")
    goldens: tuple[Fidelity, ...] = Field((), description="What it reached where it was built, per golden and output.")

    @property
    def kernels_gate(self) -> Gate:
        """What it must reach against itself in other kernels: what rung 2 asked of it, 40 dB where that was not run."""
        asked = (gate for rung in self.rungs if rung.rung == 2 for gate in rung.gates)
        return next((gate for gate in asked if gate.metric is Metric.SQNR_DB), sqnr_gate(40.0))

    def beside(self, file: str) -> str:
        """Return the path of a file in the artifact's folder."""
        return str(PurePosixPath(self.path).with_name(file))


class Source(Config):
    """The trained weights that a component was lowered from."""

    weights: str = Field(min_length=1, max_length=200, description="File name of the weights.")
    sha256: Sha256
    license: str = Field(min_length=1, max_length=100, description="SPDX expression.")


class ComponentEntry(Config):
    """A component: its contract, its origin, its goldens and its artifacts by target name."""

    spec: ComponentSpec
    source: Source
    goldens: tuple[Golden, ...] = Field(min_length=1)
    artifacts: Mapping[TargetName, Artifact] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_its_functions(self) -> Self:
        wanted = {function.name: function for function in self.spec.functions}
        for golden in self.goldens:
            if golden.function is not None and golden.function not in wanted:
                raise ValueError(f"`{self.spec.name}` has a golden of `{golden.function}`, which is no function of it")
        if all(golden.function is not None for golden in self.goldens):
            raise ValueError(f"`{self.spec.name}` has no golden of its default function")
        for target, artifact in self.artifacts.items():
            made = {function.name: function for function in artifact.functions}
            for name, function in wanted.items():
                found = made.get(name)
                if found is None:
                    raise ValueError(f"`{self.spec.name}` for {target} lacks the function `{name}`")
                if not found.states and (found.inputs, found.outputs) != (function.inputs, function.outputs):
                    raise ValueError(f"`{self.spec.name}.{name}` for {target} has other tensors than its contract")
        return self

    def goldens_of(self, function: str | None) -> tuple[Golden, ...]:
        """Return the goldens of the default function, or of a further one."""
        return tuple(golden for golden in self.goldens if golden.function == function)

    @property
    def functions(self) -> tuple[str | None, ...]:
        """The component's functions that have goldens, the default one (`None`) first."""
        return tuple(f for f in (None, *(known.name for known in self.spec.functions)) if self.goldens_of(f))


class TargetEntry(Config):
    """A target: what its artifacts need to run."""

    kind: TargetKind
    backend: BackendName
    soc: str | None = Field(None, max_length=64, description="Systems-on-chip that run it; null where any will do.")
    minimum_os: str | None = Field(None, max_length=64, description="Lowest OS version; null where any will do.")

    @model_validator(mode="after")
    def _backend_runs_kind(self) -> Self:
        if self.backend is not TARGETS[self.kind].backend:
            raise ValueError(f"`{self.kind}` is run by {TARGETS[self.kind].backend}, not by {self.backend}")
        return self


class LicenseEntry(Config):
    """A licence text and what it covers."""

    spdx: str = Field(min_length=1, max_length=100, description="SPDX expression.")
    path: BundlePath
    covers: str = Field(min_length=1, max_length=500)


class TrainingSource(Config):
    """Data that the weights were trained on."""

    name: str = Field(min_length=1, max_length=200)
    license: str = Field(min_length=1, max_length=100, description="SPDX expression, or `proprietary`, in words.")
    url: str | None = Field(None, max_length=500)


class TrainingData(Config):
    """What the weights were trained on, for people and for the report."""

    summary: Text = ""
    sources: tuple[TrainingSource, ...] = ()


class Manifest(Config):
    """The whole contract of a bundle; the same file is read by Python, Kotlin and Swift."""

    schema_version: Literal[2]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    components: tuple[ComponentEntry, ...] = Field(min_length=1)
    targets: Mapping[TargetName, TargetEntry] = Field(min_length=1)
    family: FamilyName
    settings: Mapping[str, JsonValue] = Field(
        max_length=64, description="What the family's pipeline reads beside the components, as the family defines it."
    )
    licenses: tuple[LicenseEntry, ...] = Field(min_length=1)
    training_data: TrainingData
    tools: Mapping[str, str] = Field(description="Versions of the tools that built the bundle.")
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=MAX_FILES, description="Every file but the manifest.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        paths = [f.path for f in self.files]
        # Folded, because two paths that differ only in case are one file on a phone or a Mac.
        folded = [p.casefold() for p in paths]
        _refuse_repeats("file", folded)
        if reserved := RESERVED & set(folded):
            raise ValueError(f"`files` lists {', '.join(sorted(reserved))}, which hold the list itself")
        _refuse_repeats("component", [c.spec.name for c in self.components])
        for component in self.components:
            _check_targets(component, self.targets)
        # A package is a folder: its files are listed, it is not.
        packages = {str(parent) for p in paths for parent in PurePosixPath(p).parents if parent.suffix in PACKAGES}
        if unlisted := sorted(set(self._referenced()) - set(paths) - packages):
            raise ValueError(f"{', '.join(unlisted)} is used but not in `files`")
        return self

    def _referenced(self) -> list[str]:
        paths = [entry.path for entry in self.licenses]
        for component in self.components:
            paths += [p for golden in component.goldens for p in (golden.inputs, golden.outputs)]
            for artifact in component.artifacts.values():
                paths += [artifact.path, *(artifact.beside(f.file) for f in artifact.functions if f.file)]
        return paths

    def entry(self, component: str) -> ComponentEntry:
        """Return a component's entry.

        Raises
        ------
        BundleError
            If the bundle has no such component.
        """
        for candidate in self.components:
            if candidate.spec.name == component:
                return candidate
        has = ", ".join(c.spec.name for c in self.components)
        raise BundleError(f"The bundle `{self.name}` has no component `{component}`; it has {has}.")

    def gates(self, rung: int, target: str | None = None) -> tuple[Gate, ...]:
        """Return the gates of a rung that looks at the whole pair: of one target, or of all; none where none has any.

        Every artifact that takes part in the pair has them.
        """
        return next(
            (
                recorded.gates
                for entry in self.components
                for name, artifact in entry.artifacts.items()
                for recorded in artifact.rungs
                if recorded.rung == rung and recorded.gates and target in {None, name}
            ),
            (),
        )

    def artifact_bytes(self, artifact: Artifact) -> int:
        """Return how many bytes an artifact has: a file's, or those of all files of a package."""
        package = f"{artifact.path}/"
        return sum(f.size for f in self.files if f.path == artifact.path or f.path.startswith(package))

    def to_bytes(self) -> bytes:
        """Serialize as indented UTF-8 JSON with sorted keys, so that one manifest has one spelling."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse and validate.

    Parameters
    ----------
    data
        The content of a `manifest.json`.
    where
        What to call it in errors.

    Raises
    ------
    BundleError
        If it is not valid; the message lists every fault with its place.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{where}: {len(data)} bytes; a manifest has at most {MAX_MANIFEST_BYTES}.")
    try:
        raw = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        mend = (
            "Upgrade it: pip install -U pocketcrafter"
            if version > SCHEMA_VERSION
            else "Build the bundle again from its recipe: pocketcrafter build --recipe RECIPE --out BUNDLE"
        )
        raise BundleError(
            f"{where}: written in schema version {version}; this program reads version {SCHEMA_VERSION}. {mend}"
        )
    return check_json(Manifest, data, f"{where}: not a valid manifest", BundleError)


def _refuse_repeats(what: str, names: list[str]) -> None:
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"{what} {', '.join(repeated)} is listed twice")


def _check_targets(component: ComponentEntry, targets: Mapping[str, TargetEntry]) -> None:
    name = component.spec.name
    if component.artifacts.keys() != targets.keys():
        has, wants = ", ".join(sorted(component.artifacts)), ", ".join(sorted(targets))
        raise ValueError(f"`{name}` has artifacts for {has}; the bundle's targets are {wants}")
    for target, artifact in component.artifacts.items():
        suffixes = TARGETS[targets[target].kind].suffixes
        if PurePosixPath(artifact.path).suffix not in suffixes:
            raise ValueError(f"`{name}` for {target} is {artifact.path}; it must end in {' or '.join(suffixes)}")
