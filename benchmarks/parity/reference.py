"""Rung 3 of a pair with a reference record: each network on the reference's own inputs, then whole photos.

Each call of a network is judged alone, because its inputs are the reference's: what was predicted a step before is
replaced by what the reference predicted. So the first call that misses its gate is where a bundle departs from its
pair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

import numpy as np

from pocketcrafter.benchmarks.common.network_source import NetworkSource
from pocketcrafter.benchmarks.common.picture_metrics import Reference
from pocketcrafter.benchmarks.common.reference_record import Record, RecordedArtist, RecordedCritic, RecordedPhoto
from pocketcrafter.benchmarks.parity.results import CallParity, ReferencePhoto
from pocketcrafter.export.lower.coreml.session import package_divergence
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.gates import Figure, Gate, Metric
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import family_settings
from pocketcrafter.runtime.fidelity import psnr_db, sqnr_db
from pocketcrafter.runtime.latent.picture import artists_picture
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.latent.settings import Latent, LatentSettings
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.words import counted

GREEDY_TOKENS: Final = 64
"""Choices of an answer that are compared."""
_EQUAL_DB: Final = 200.0
"""Stands for the ratio of equal tensors where a mean or a lowest one is told."""

Arrays = Mapping[str, FloatArray]


@dataclass(frozen=True)
class _Held:
    """What the record has of a call, the same of the outputs, and the outputs to go on with."""

    expected: FloatArray
    actual: FloatArray
    following: dict[str, FloatArray]


Expect = Callable[[int, Arrays, Arrays], _Held]
"""Takes the number of a call, its inputs and outputs."""


@dataclass(frozen=True)
class _Seen:
    """A call of a network, or several that read one prompt.

    Attributes
    ----------
    step
        Which step it is, from 1; `None` where the network does not run step by step.
    inputs
        Of the first call.
    """

    component: str
    function: str | None
    step: int | None
    expected: FloatArray
    actual: FloatArray
    inputs: Arrays


@dataclass
class _Judged:
    """A network whose every call is held against the record."""

    session: Session
    component: str
    function: str | None
    expect: Expect
    seen: list[_Seen]
    count: int = 0

    def run(self, inputs: Arrays) -> dict[str, FloatArray]:
        """Run, compare, and go on with what the record has."""
        held = self.expect(self.count, inputs, self.session.run(inputs))
        self.count += 1
        step = self.count if self.component in _BY_STEP and self.function is None else None
        self.seen.append(_Seen(self.component, self.function, step, held.expected, held.actual, inputs))
        return held.following


_BY_STEP: Final = (Latent.LANGUAGE, Latent.DENOISE)


@dataclass
class _JudgedSource:
    """A target's networks, each judged by one photo of a record."""

    source: NetworkSource
    expected: Mapping[str, Expect]
    seen: list[_Seen] = field(default_factory=list)

    @property
    def bundle(self) -> Bundle:
        """See `pocketcrafter.runtime.families.PairSource`."""
        return self.source.bundle

    def has(self, component: str) -> bool:
        """See `pocketcrafter.runtime.families.PairSource`."""
        return self.source.has(component)

    def session(self, component: str, function: str | None = None) -> Session:
        """See `pocketcrafter.runtime.families.PairSource`."""
        opened = self.source.session(component, function)
        return _Judged(opened, component, function, self.expected[component], self.seen)


def check_record(bundle: Bundle, record: Record) -> None:
    """Hold a record against the bundle that it is to judge.

    Raises
    ------
    ConfigError
        If the bundle is of another family, or was built from another pair.
    """
    settings, about = family_settings(bundle.manifest), record.manifest
    if not isinstance(settings, LatentSettings):
        raise ConfigError(
            f"{bundle.path}: of the family {bundle.manifest.family}; references are recorded of latent pairs."
        )
    if any(entry.source.sha256 != about.sha256 for entry in bundle.manifest.components):
        raise ConfigError(
            f"{bundle.path}: was not built from the pair `{about.pair}` as it was recorded (sha256 {about.sha256[:12]}"
            "…). Record the pair that was built, or build the one that was recorded."
        )


def compare_with_record(
    source: NetworkSource, record: Record, progress: Callable[[str, int, int], None]
) -> list[ReferencePhoto]:
    """Run a target on the photos of a record; see the module.

    Parameters
    ----------
    source
        The target's networks.
    record
        Of the pair that the bundle was built from, checked by :func:`check_record`.
    progress
        Called with a photo's name, photos done and photos in all.
    """
    found, total = [], len(record.manifest.photos)
    free = LatentPipeline(source, source.threads)
    for number, (name, recorded) in enumerate(record.photos()):
        progress(name, number, total)
        found.append(_photo(name, recorded, source, free))
    progress("photos", total, total)
    return found


def _photo(name: str, recorded: RecordedPhoto, source: NetworkSource, free: LatentPipeline) -> ReferencePhoto:
    settings = cast("LatentSettings", family_settings(source.bundle.manifest))
    photo = Photo(recorded.photo, source_format=PhotoFormat.PNG)
    critic, artist = recorded.critic, recorded.artist
    prompt_equal = (settings.critic and settings.critic.prompt) == (critic and tuple(critic.prompt.tolist()))
    judged = _JudgedSource(source, {**(_of_critic(critic) if critic else {}), **(_of_artist(artist) if artist else {})})
    pipeline = LatentPipeline(judged, source.threads)
    same = compared = 0
    if critic is not None and prompt_equal:
        written = tuple(critic.ids.tolist())
        chosen = pipeline.follow(photo, written).ids[:GREEDY_TOKENS]
        compared = len(chosen)
        same = sum(a == b for a, b in zip(written, chosen, strict=False))
    facts: dict[str, float] = {}
    if artist is not None:
        small = artists_picture(photo, len(artist.picture))
        pipeline.artist.edit(small, None if critic is None else critic.hidden)
        made = free.artist.edit(small, None if critic is None else free.answer(photo).hidden)
        figures = Reference(_eight(artist.picture)).figures(_eight(made))
        facts = {"psnr_db": min(_EQUAL_DB, psnr_db(artist.picture, made, 1.0)), "ssim": figures.ssim}
        facts["delta_e"] = figures.delta_e
    seen = _with_prompts_whole(judged.seen)
    calls = tuple(_call(source, one) for one in seen)
    first = next((one for one, call in zip(seen, calls, strict=True) if not call.passed), None)
    read = [one for one in seen if one.component == Latent.LANGUAGE]
    return ReferencePhoto(
        photo=name,
        prompt_equal=prompt_equal,
        calls=calls,
        hidden_sqnr_db=_ratio(*(np.concatenate([getattr(one, part) for one in read]) for part in _PARTS))
        if read
        else None,
        tokens_same=same,
        tokens_compared=compared,
        layer=None if first is None else _first_layer(source, first),
        **facts,
    )


_PARTS: Final = ("expected", "actual")


def _of_critic(critic: RecordedCritic) -> dict[str, Expect]:
    read = 0

    def vision(_call: int, _inputs: Arrays, outputs: Arrays) -> _Held:
        expected = critic.tokens.reshape(outputs["tokens"].shape)
        return _Held(expected, outputs["tokens"], {**outputs, "tokens": expected})

    def language(_call: int, inputs: Arrays, outputs: Arrays) -> _Held:
        nonlocal read
        # Caches go on as they are: of them the record has nothing.
        start, count = read, int(inputs["pick"].argmax()) + 1
        read += count
        return _Held(critic.hidden[start:read], outputs["hidden"][:count], dict(outputs))

    return {Latent.VISION: vision, Latent.LANGUAGE: language}


def _of_artist(artist: RecordedArtist) -> dict[str, Expect]:
    def encode(_call: int, _inputs: Arrays, outputs: Arrays) -> _Held:
        return _Held(artist.encoded[None], outputs["latents"], {"latents": artist.encoded[None]})

    def bridge(_call: int, _inputs: Arrays, outputs: Arrays) -> _Held:
        count, text = len(artist.text), outputs["text"].copy()
        text[0, :count] = artist.text
        return _Held(artist.text, outputs["text"][0, :count], {**outputs, "text": text})

    def denoise(call: int, _inputs: Arrays, outputs: Arrays) -> _Held:
        expected = artist.predictions[call][None]
        return _Held(expected, outputs["prediction"], {"prediction": expected})

    def decode(_call: int, _inputs: Arrays, outputs: Arrays) -> _Held:
        picture = artist.picture.transpose(2, 0, 1)[None] * 2 - 1
        return _Held(picture, np.clip(outputs["image"], -1, 1), dict(outputs))

    return {Latent.ENCODE: encode, Latent.BRIDGE: bridge, Latent.DENOISE: denoise, Latent.DECODE: decode}


def _with_prompts_whole(seen: Sequence[_Seen]) -> list[_Seen]:
    """Put the calls that read one prompt chunk by chunk into one."""
    made: list[_Seen] = []
    for one in seen:
        before = made[-1] if made else None
        if before is not None and one.function is not None and before.function == one.function:
            joined = {part: np.concatenate([getattr(before, part), getattr(one, part)]) for part in _PARTS}
            made[-1] = replace(before, **joined)
        else:
            made.append(one)
    return made


def _call(source: NetworkSource, seen: _Seen) -> CallParity:
    gate = source.bundle.manifest.entry(seen.component).artifacts[source.target].golden_gate
    ratio = _ratio(seen.expected, seen.actual)
    figure = Figure(metric=Metric.SQNR_DB, value=ratio)
    return CallParity(
        component=seen.component,
        function=seen.function,
        step=seen.step,
        sqnr_db=ratio,
        gate=gate,
        passed=gate.passes(figure),
    )


def _ratio(expected: FloatArray, actual: FloatArray) -> float | None:
    ratio = sqnr_db(expected, actual)
    return None if np.isposinf(ratio) else max(ratio, -_EQUAL_DB)


def _first_layer(source: NetworkSource, first: _Seen) -> str | None:
    """Return where rounding takes an artifact away from itself, on targets whose layers can be seen."""
    manifest = source.bundle.manifest
    entry, backend = manifest.entry(first.component), manifest.targets[source.target].backend
    if first.function is not None or backend is not BackendName.MIL_INTERPRETER:
        return None
    found = package_divergence(source.bundle.artifact(entry, source.target), entry.spec, first.inputs)
    return found.layer if found else None


def _eight(picture: FloatArray) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.rint(picture * 255).astype(np.uint8)


def reference_rung(photos: Sequence[ReferencePhoto], gates: Sequence[Gate], target: str, record: Record) -> Rung:
    """Judge a target by the photos of a record.

    Parameters
    ----------
    photos
        The comparisons, at least one.
    gates
        What the figures must reach.
    target, record
        For the report.
    """
    about, figures = record.manifest, list[Figure]()
    compared = sum(p.tokens_compared for p in photos)
    agreed = sum(p.tokens_same for p in photos) / compared if compared else 0.0
    if about.steps:
        delta_e = [p.delta_e for p in photos if p.delta_e is not None]
        figures += [
            Figure(metric=Metric.DELTA_E_MEAN, value=float(np.mean(delta_e))),
            Figure(metric=Metric.DELTA_E_WORST, value=max(delta_e)),
            Figure(metric=Metric.PSNR_DB, value=min(p.psnr_db for p in photos if p.psnr_db is not None)),
            Figure(metric=Metric.SSIM, value=min(p.ssim for p in photos if p.ssim is not None)),
        ]
    if about.width:
        hidden = [_EQUAL_DB if p.hidden_sqnr_db is None else p.hidden_sqnr_db for p in photos]
        figures.append(Figure(metric=Metric.TOKEN_AGREEMENT, value=agreed))
        figures.append(Figure(metric=Metric.SQNR_DB, value=min(hidden), of="hidden"))
    libraries = ", ".join(
        f"{name} {about.tools[name]}" for name in ("transformers", "diffusers") if name in about.tools
    )
    how = (
        f"{counted(len(photos), 'photo')} through {target} on this host against the pair's own pipeline in float32 "
        f"({libraries}; {about.device})"
    )
    return Rung.judged(3, how, gates, figures=figures)
