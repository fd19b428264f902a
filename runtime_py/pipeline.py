"""From a photo to its critique and its enhanced self: views, critic, gate, restoration, render, tone grid."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.critique import Critique, critique_from, with_tilt
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.families import POCKET, PairSource, family_settings
from pocketcrafter.runtime.gate import GateSettings
from pocketcrafter.runtime.geometry.composer import Composed, apply, compose, tilt_of
from pocketcrafter.runtime.grid import blended
from pocketcrafter.runtime.photo.color import handling_of, view_to_srgb
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import RESTORATION, TONAL, EditPlan
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket, PocketSettings
from pocketcrafter.runtime.prose.prompt import Mode, stated_plan
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer, Written
from pocketcrafter.runtime.render import render
from pocketcrafter.runtime.tiles import Progress, map_tiles
from pocketcrafter.runtime.views import global_view, native_crops

MAX_STRENGTH: Final = 2.0


class SessionSource(Protocol):
    """Where a pipeline gets its networks and its gate."""

    @property
    def gate(self) -> GateSettings:
        """The gate that the networks were tuned with."""

    def has(self, component: str) -> bool:
        """Whether the component is there; critic, tone and restore always are."""

    def session(self, component: str) -> Session:
        """Open a component; called once for each that is needed."""


@dataclass(frozen=True)
class Enhanced:
    """What became of a photo.

    Attributes
    ----------
    photo
        The result; the very input where there was nothing to do.
    plan
        What was done: the gated plan at the asked strength.
    critique
        The diagnosis of the input.
    timings
        Seconds by stage: ``critique``, ``compose``, ``restore``, ``tone``, ``develop``, ``geometry``; only stages that
        ran.
    composed
        What was found out about its composition; none where nobody asked, or the photo is too small to tell.
    """

    photo: Photo
    plan: EditPlan
    critique: Critique
    timings: Mapping[str, float]
    composed: Composed | None = None


@dataclass(frozen=True)
class Told:
    """A photo's diagnosis in numbers and in words."""

    critique: Critique
    written: Written


class PhotoPipeline:
    """Critiques and enhances photos with the networks of one bundle; opens each network when it is first needed.

    Parameters
    ----------
    source
        Where the networks come from.
    threads
        Threads for the arithmetic outside the networks, ≥ 1.
    tokenizer
        The decoder's vocabulary; without it there is no prose.
    """

    def __init__(self, source: SessionSource, *, threads: int = 2, tokenizer: Path | None = None) -> None:
        self._source = source
        self._threads = threads
        self._tokenizer = tokenizer
        self._sessions: dict[str, Session] = {}
        self._writer: Writer | None = None

    def critique(self, photo: Photo) -> Critique:
        """Diagnose a photo; its horizon too, where the bundle has the composition network.

        Raises
        ------
        BackendError
            If a network fails.
        """
        return self._diagnosed(photo, self._look(photo).critique)

    def prose(self, photo: Photo, mode: Mode = Mode.FULL) -> Told:
        """Diagnose a photo and put it into words: what is wrong, what to do about it, and the score.

        The words agree with the gated plan, the one that `enhance` carries out at full strength.

        Parameters
        ----------
        photo
            The photo.
        mode
            How much to write.

        Raises
        ------
        ConfigError
            If the bundle has no decoder.
        BundleError
            If the decoder's vocabulary is damaged.
        BackendError
            If a network fails.
        """
        if self._tokenizer is None or not self._source.has(Pocket.DECODER):
            raise ConfigError(
                "This bundle has no decoder, which writes the prose. Build one with a recipe that has the component "
                "`decoder` (the default recipe does), or leave --prose out."
            )
        seen = self._look(photo)
        plan = stated_plan(seen.critique.plan, self._source.gate)
        if self._writer is None:
            self._writer = Writer(self._session(Pocket.DECODER), Words.read(self._tokenizer))
        written = self._writer.write(seen.tokens, plan, seen.critique.score, mode)
        return Told(self._diagnosed(photo, seen.critique), written)

    def enhance(
        self,
        photo: Photo,
        strength: float = 1.0,
        progress: Progress | None = None,
        *,
        geometry: bool = False,
        crop: bool = False,
    ) -> Enhanced:
        """Enhance a photo at its own resolution.

        Parameters
        ----------
        photo
            The photo; it is not changed.
        strength
            Factor on the plan and on the tone grid's departure from identity; 0 changes nothing, 2 is the most.
        progress
            Called with (tiles done, tiles in all) during restoration, the only slow stage.
        geometry
            Whether the photo may be levelled too, whatever the strength.
        crop
            With ``geometry``, whether it may be cropped too.

        Raises
        ------
        ConfigError
            If the strength is not in [0, 2], or the bundle lacks the composition network that ``geometry`` needs.
        BackendError
            If a network fails.
        """
        if not 0 <= strength <= MAX_STRENGTH:
            raise ConfigError(f"The strength is from 0 to {MAX_STRENGTH:g}, not {strength:g}.")
        if geometry and not self._source.has(Pocket.COMPOSITION):
            raise ConfigError(
                "This bundle has no composition network, which levelling needs. Build one from a recipe with the "
                "component `composition`, as the default recipe is, or leave --geometry out."
            )
        clock = _Clock()
        with clock.stage("critique"):
            seen = self._look(photo)
        critique, composed = seen.critique, None
        plan = critique.plan.scaled(strength)
        pixels = photo.pixels
        if plan.is_active(*RESTORATION):
            with clock.stage("restore"):
                pixels = self._restored(pixels, plan, progress)
        if plan.is_active(*TONAL):
            with clock.stage("tone"):
                grid = blended(self._grid(seen), strength)
            with clock.stage("develop"):
                pixels = develop(pixels, plan, grid, threads=self._threads)
        result = photo if pixels is photo.pixels else photo.with_pixels(pixels)
        if geometry:
            with clock.stage("compose"):
                composed = compose(self._session(Pocket.COMPOSITION), photo, crop=crop)
            critique = with_tilt(critique, composed.tilt if composed else None)
        if composed is not None and composed.box is not None:
            plan = plan.model_copy(update={"tilt_degrees": composed.turn_degrees, "crop": composed.box})
            with clock.stage("geometry"):
                result = apply(result, composed)
        return Enhanced(photo=result, plan=plan, critique=critique, timings=clock.seconds, composed=composed)

    def _diagnosed(self, photo: Photo, critique: Critique) -> Critique:
        """Add what the composition network finds, where there is one."""
        if not self._source.has(Pocket.COMPOSITION):
            return critique
        return with_tilt(critique, tilt_of(self._session(Pocket.COMPOSITION), photo))

    def _look(self, photo: Photo) -> "_Seen":
        native = global_view(photo.pixels)
        view, crops = native, native_crops(photo.pixels)
        if photo.icc is not None and handling_of(photo.icc) != "srgb":
            view, crops = view_to_srgb(view, photo.icc), view_to_srgb(crops, photo.icc)
        out = self._session(Pocket.CRITIC).run({"view": view, "crops": crops})
        critique = critique_from(
            out["plan"][0], out["presence"][0], out["confidence"][0], float(out["score"][0, 0]), self._source.gate
        )
        return _Seen(critique, out["tokens"], native)

    def _restored(self, pixels: PixelArray, plan: EditPlan, progress: Progress | None) -> PixelArray:
        session = self._session(Pocket.RESTORE)
        amounts = np.array([[getattr(plan, a) for a in RESTORATION]], dtype=np.float32)
        return map_tiles(
            pixels, lambda tile: session.run({"tile": tile, "amounts": amounts})["restored"], progress=progress
        )

    def _grid(self, seen: "_Seen") -> FloatArray:
        # The full plan goes in, as in training; strength then scales what comes out.
        plan = seen.critique.plan
        rendered = render(plan, seen.view[0].transpose(1, 2, 0)).transpose(2, 0, 1)[None]
        inputs = {
            "view": seen.view,
            "rendered": np.ascontiguousarray(rendered),
            "plan": plan.vector()[None],
            "tokens": np.ascontiguousarray(seen.tokens),
        }
        grids: FloatArray = self._session(Pocket.TONE).run(inputs)["grid"]
        return grids.reshape(grids.shape[1:])

    def _session(self, component: str) -> Session:
        if component not in self._sessions:
            self._sessions[component] = self._source.session(component)
        return self._sessions[component]


@dataclass(frozen=True)
class _Seen:
    """What the critic made of a photo, and the view in the photo's own RGB, in which the tone grid is applied."""

    critique: Critique
    tokens: FloatArray
    view: FloatArray


@dataclass(frozen=True)
class PocketSource:
    """A bundle's networks, with the gate that its manifest holds."""

    source: PairSource

    @property
    def gate(self) -> GateSettings:
        """The gate that the networks were tuned with."""
        return gate_of(self.source.bundle.manifest)

    def has(self, component: str) -> bool:
        """Whether the component is there."""
        return self.source.has(component)

    def session(self, component: str) -> Session:
        """Open a component."""
        return self.source.session(component)


def gate_of(manifest: Manifest) -> GateSettings:
    """Return the gate of a pocket bundle.

    Raises
    ------
    BundleError
        If it is a bundle of another family.
    """
    settings = family_settings(manifest)
    if not isinstance(settings, PocketSettings):
        raise BundleError(f"The bundle `{manifest.name}` is of the family {manifest.family}; only {POCKET} has a gate.")
    return settings.gate


def tokenizer_of(bundle: Bundle) -> Path | None:
    """Return where a bundle's vocabulary lies, `None` where there is no decoder; raises as `Bundle.file` does."""
    return bundle.file(TOKENIZER) if bundle.has(Pocket.DECODER) else None


def pocket_pipeline(source: PairSource, threads: int) -> PhotoPipeline:
    """Return the pipeline of a pocket bundle."""
    return PhotoPipeline(PocketSource(source), threads=threads, tokenizer=tokenizer_of(source.bundle))


class _Clock:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
