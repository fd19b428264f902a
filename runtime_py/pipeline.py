"""From a photo to its critique and its enhanced self: views, critic, judge, gate, restoration, render, tone grid."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray, PixelArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.critique import Critique, critique_from, describe, with_tilt
from pocketcrafter.runtime.develop import develop
from pocketcrafter.runtime.errors import BundleError, ConfigError, PhotoError
from pocketcrafter.runtime.families import POCKET, PairSource, Pipeline, family_settings
from pocketcrafter.runtime.files import same_file
from pocketcrafter.runtime.geometry.composer import Composed, compose, framed, tilt_of
from pocketcrafter.runtime.geometry.turn import corners_in_source, inscribed_box
from pocketcrafter.runtime.grid import blended
from pocketcrafter.runtime.names import MAX_STRENGTH, Mode
from pocketcrafter.runtime.photo.color import handling_of, view_to_srgb
from pocketcrafter.runtime.photo.encode import save
from pocketcrafter.runtime.photo.load import PhotoLike, load
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute, EditPlan, PlanLike
from pocketcrafter.runtime.plan_judge import choose
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket, PocketSettings
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.prose.prompt import as_stated, stated_plan
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer, Written
from pocketcrafter.runtime.render import render
from pocketcrafter.runtime.tiles import map_tiles
from pocketcrafter.runtime.validation import nearest, number_in, path_of
from pocketcrafter.runtime.views import global_view, native_crops


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
        What was done: the gated plan, or the given one, at the asked strength; none where the artist takes no plan.
    critique
        The diagnosis of the input; none where a plan was given for which the critic did not have to look, or the critic
        gives no numbers.
    timings
        Seconds by stage: ``critique``, ``compose``, ``restore``, ``tone``, ``develop``, ``geometry``; only stages that
        ran.
    composed
        What was found out about its composition; none where nobody asked, or the photo is too small to tell.
    said
        What was done, in words, where there is no plan.
    notes
        What of the edit is not in the photo, one short sentence each.
    source
        The file that was enhanced; none where the input was no file.
    """

    photo: Photo
    plan: EditPlan | None
    critique: Critique | None
    timings: Mapping[str, float]
    composed: Composed | None = None
    said: str = ""
    notes: tuple[str, ...] = ()
    source: Path | None = None

    @property
    def words(self) -> str:
        """What was done, in words."""
        return self.said if self.plan is None else describe(self.plan)

    def save(self, path: Path | str, *, threads: int = 2, overwrite: bool = False) -> tuple[str, ...]:
        """Write the result, in the format that the suffix asks for; see `pocketcrafter.runtime.photo.encode.save`.

        Parameters
        ----------
        path
            Where to; an existing file is replaced, but not the photo that was enhanced.
        threads
            Threads to encode with, ≥ 1.
        overwrite
            Replace the photo that was enhanced, too.

        Returns
        -------
        tuple of str
            What is not in the file that was in the source, one short sentence each.

        Raises
        ------
        PhotoError
            If the suffix is unknown, the photo is too large for the format or for memory, or the file is the input.
        ConfigError
            If ``path`` is no path.
        StorageError
            If the file cannot be written.
        """
        path = path_of(path, "Where to save")
        if self.source is not None and not overwrite and same_file(self.source, path):
            raise PhotoError(
                f"{path}: this is the photo that was enhanced, which is not overwritten; choose another name, or give "
                "overwrite=True."
            )
        return save(self.photo, path, threads=threads)


@dataclass(frozen=True)
class Told:
    """A photo's diagnosis in numbers and in words."""

    critique: Critique
    written: Written

    def lines(self) -> list[str]:
        """Return what people read: the numbers, rounded as the words state them, then the words."""
        stated = {"plan": as_stated(self.critique.plan), "score": float(self.written.prose.score)}
        return [*self.critique.model_copy(update=stated).lines(), "", self.written.prose.text, ""]


class PhotoPipeline(Pipeline):
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

    def critique(self, photo: PhotoLike) -> Critique:
        """Diagnose a photo; its horizon too, where the bundle has the composition network.

        Parameters
        ----------
        photo
            Whatever `load` takes.

        Raises
        ------
        PhotoError
            If the photo cannot be read.
        BackendError
            If a network fails.
        """
        photo = load(photo)
        return self._diagnosed(photo, self._look(photo).critique)

    def prose(self, photo: PhotoLike, mode: Mode = Mode.FULL) -> Told:
        """Diagnose a photo and put it into words: what is wrong, what to do about it, and the score.

        The words agree with the gated plan, the one that `enhance` carries out at full strength.

        Parameters
        ----------
        photo
            Whatever `load` takes.
        mode
            How much to write.

        Raises
        ------
        PhotoError
            If the photo cannot be read.
        ConfigError
            If the bundle has no decoder, or there is no such mode.
        BundleError
            If the decoder's vocabulary is damaged.
        BackendError
            If a network fails.
        """
        if mode not in set(Mode):
            raise ConfigError(f"No prose is called {mode!r}; {nearest(str(mode), list(Mode), 'modes')}")
        if self._tokenizer is None or not self._source.has(Pocket.DECODER):
            raise ConfigError(
                "This bundle has no decoder, which writes the prose. Build one with a recipe that has the component "
                "`decoder` (the default recipe does), or leave --prose out."
            )
        photo = load(photo)
        seen = self._look(photo)
        plan = stated_plan(seen.critique.plan, self._source.gate)
        if self._writer is None:
            self._writer = Writer(self._session(Pocket.DECODER), Words.read(self._tokenizer))
        written = self._writer.write(seen.tokens, plan, seen.critique.score, mode)
        return Told(self._diagnosed(photo, seen.critique), written)

    def enhance(
        self,
        photo: PhotoLike,
        strength: float = 1.0,
        progress: Progress | None = None,
        *,
        plan: PlanLike | None = None,
        geometry: bool = False,
        crop: bool = False,
    ) -> Enhanced:
        """Enhance a photo at its own resolution.

        Parameters
        ----------
        photo
            Whatever `load` takes; it is not changed.
        strength
            Factor on the plan and on the tone grid's departure from identity; 0 changes nothing, 2 is the most. Turns
            and crops are carried out whatever the strength.
        progress
            Called with (tiles done, tiles in all) during restoration, the only slow stage.
        plan
            What to do, in place of the critic's plan; or a function that is given the critic's gated plan and returns
            what to do. The tone network completes the critic's own tones, and so runs only where the plan keeps all of
            them; what else is in the plan is carried out as it says. With a plan that changes no tones the critic does
            not run.
        geometry
            Whether the photo may be levelled too, as the composition network finds.
        crop
            With ``geometry``, whether it may be cropped too.

        Raises
        ------
        PhotoError
            If the photo cannot be read, or the plan's crop does not lie in it.
        ConfigError
            If the strength is not in [0, 2], the plan is none, it turns or crops and ``geometry`` is asked for too,
            ``crop`` is asked for without it, or the bundle lacks the composition network that ``geometry`` needs.
        BackendError
            If a network fails.
        """
        strength = number_in(strength, 0, MAX_STRENGTH, "The strength")
        _check_geometry(geometry, crop, has_composition=self._source.has(Pocket.COMPOSITION))
        photo = load(photo)
        clock, seen = Clock(), None
        if not isinstance(plan, EditPlan) or plan.scaled(strength).is_active(*TONAL):
            with clock.stage("critique"):
                seen = self._look(photo)
        asked = _asked(plan, seen)
        done = asked.scaled(strength)
        if done.has_geometry:
            _check_frame(done, photo, geometry=geometry)
        pixels = photo.pixels
        if done.is_active(*RESTORATION):
            with clock.stage("restore"):
                pixels = self._restored(pixels, done, progress)
        if done.is_active(*TONAL):
            completed = seen if seen is not None and _keeps_tones(asked, seen.critique.plan) else None
            pixels = self._toned(pixels, done, completed, strength, clock)
        result = photo if pixels is photo.pixels else photo.with_pixels(pixels)
        critique, composed = None if seen is None else seen.critique, None
        if geometry:
            with clock.stage("compose"):
                composed = compose(self._session(Pocket.COMPOSITION), photo, crop=crop)
            critique = critique and with_tilt(critique, composed.tilt if composed else None)
            if composed is not None and composed.box is not None:
                done = done.model_copy(update={"tilt_degrees": composed.turn_degrees, "crop": composed.box})
        if done.has_geometry:
            with clock.stage("geometry"):
                result = framed(result, done.tilt_degrees, done.crop)
        return Enhanced(
            photo=result,
            plan=done,
            critique=critique,
            timings=clock.seconds,
            composed=composed,
            source=photo.path,
        )

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
        critique, tokens = diagnose(view, crops, self._source.gate, self._session)
        return _Seen(critique, tokens, native)

    def _restored(self, pixels: PixelArray, plan: EditPlan, progress: Progress | None) -> PixelArray:
        session = self._session(Pocket.RESTORE)
        amounts = np.array([[getattr(plan, a) for a in RESTORATION]], dtype=np.float32)
        return map_tiles(
            pixels, lambda tile: session.run({"tile": tile, "amounts": amounts})["restored"], progress=progress
        )

    def _toned(
        self, pixels: PixelArray, plan: EditPlan, seen: "_Seen | None", strength: float, clock: "Clock"
    ) -> PixelArray:
        """Carry out a plan's tones, and complete those of the critic where it has seen the photo."""
        grid = None
        if seen is not None:
            with clock.stage("tone"):
                grid = blended(self._grid(seen), strength)
        with clock.stage("develop"):
            return develop(pixels, plan, grid, threads=self._threads)

    def _grid(self, seen: "_Seen") -> FloatArray:
        # The critic's full plan goes in, as in training; strength then scales what comes out. Of another plan it would
        # take back a third (-1 EV on a good photo), and it removes haze whatever the plan says of haze.
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


def _asked(plan: PlanLike | None, seen: "_Seen | None") -> EditPlan:
    """Return the plan that is to be carried out: the critic's, the given one, or what is made of the critic's."""
    made: object = plan
    if not isinstance(plan, EditPlan) and seen is not None:
        critics = seen.critique.plan
        made = critics if plan is None else plan(critics) if callable(plan) else plan
    if isinstance(made, EditPlan):
        return made
    hint = "give its `plan`" if isinstance(made, Critique) else "pc.EditPlan(exposure_ev=0.5) makes one"
    kind = type(made).__name__
    raise ConfigError(
        f"A plan is an EditPlan, or a function that makes one of the critic's; this is of {kind}: {hint}."
    )


def _keeps_tones(plan: EditPlan, critics: EditPlan) -> bool:
    """Whether a plan changes all the tones that the critic would change, and as much, whatever it does besides."""
    active = [critics.is_active(a) and a in TONAL for a in Attribute]
    # As far as float32 goes, in which strength scales them.
    return any(active) and bool(np.allclose(plan.vector()[active], critics.vector()[active], rtol=1e-5, atol=0))


def _check_geometry(geometry: bool, crop: bool, *, has_composition: bool) -> None:
    if not isinstance(geometry, bool) or not isinstance(crop, bool):
        raise ConfigError(f"geometry and crop are True or False, not {geometry!r} and {crop!r}.")
    if crop and not geometry:
        raise ConfigError("crop is for what geometry does: give geometry=True too.")
    if geometry and not has_composition:
        raise ConfigError(
            "This bundle has no composition network, which levelling needs. Build one from a recipe with the component "
            "`composition`, as the default recipe is, or leave --geometry out."
        )


def _check_frame(plan: EditPlan, photo: Photo, *, geometry: bool) -> None:
    """Look whether a given plan's turn and crop fit a photo.

    Raises
    ------
    PhotoError
        If they do not.
    ConfigError
        If the composition network was asked for others.
    """
    if geometry:
        raise ConfigError("The plan turns or crops the photo itself: leave geometry out, or tilt and crop of the plan.")
    width, height, box = photo.width, photo.height, plan.crop
    if box is None:
        return
    where = f"{photo.path or 'photo'}: the plan's crop ({box.left}, {box.top})-({box.right}, {box.bottom})"
    if not (box.left < box.right <= width and box.top < box.bottom <= height):
        raise PhotoError(f"{where} is empty or does not lie in the photo, which has {width}×{height} px.")
    points = corners_in_source(box, width, height, plan.tilt_degrees)
    if any(not (-1 <= x <= width + 1 and -1 <= y <= height + 1) for x, y in points):
        free = inscribed_box(width, height, plan.tilt_degrees)
        raise PhotoError(
            f"{where} reaches into the corners that a turn by {plan.tilt_degrees:g}° leaves empty; "
            f"({free.left}, {free.top})-({free.right}, {free.bottom}) does not."
        )


@dataclass(frozen=True)
class _Seen:
    """What the critic made of a photo, and the view in the photo's own RGB, in which the tone grid is applied."""

    critique: Critique
    tokens: FloatArray
    view: FloatArray


def diagnose(
    view: FloatArray, crops: FloatArray, gate: GateSettings, session: Callable[[str], Session]
) -> tuple[Critique, FloatArray]:
    """Let the critic look, and the judge where the gate has one.

    Parameters
    ----------
    view, crops
        sRGB-encoded, as `global_view` and `native_crops` give them.
    gate
        What of the critic's plan is carried out.
    session
        Opens a component.

    Returns
    -------
    tuple
        The critique, and the critic's plan tokens, ``(1, TOKENS, TOKEN_DIM)``.

    Raises
    ------
    BackendError
        If a network fails.
    """
    out = session(Pocket.CRITIC).run({"view": view, "crops": crops})
    plan, presence, confidence, tokens = (out[name] for name in ("plan", "presence", "confidence", "tokens"))
    chosen = None
    if gate.judge is not None:
        chosen = choose(plan[0], view, tokens, gate.judge, lambda: session(Pocket.JUDGE))
    score = float(out["score"][0, 0])
    return critique_from(plan[0], presence[0], confidence[0], score, gate, chosen), tokens


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
    """Return the gate of a pocket bundle; without a judge where the bundle has none.

    Raises
    ------
    BundleError
        If it is a bundle of another family.
    """
    settings = family_settings(manifest)
    if not isinstance(settings, PocketSettings):
        raise BundleError(f"The bundle `{manifest.name}` is of the family {manifest.family}; only {POCKET} has a gate.")
    judged = Pocket.JUDGE in {entry.spec.name for entry in manifest.components}
    return settings.gate if judged else settings.gate.model_copy(update={"judge": None})


def tokenizer_of(bundle: Bundle) -> Path | None:
    """Return where a bundle's vocabulary lies, `None` where there is no decoder; raises as `Bundle.file` does."""
    return bundle.file(TOKENIZER) if bundle.has(Pocket.DECODER) else None


def pocket_pipeline(source: PairSource, threads: int) -> PhotoPipeline:
    """Return the pipeline of a pocket bundle."""
    return PhotoPipeline(PocketSource(source), threads=threads, tokenizer=tokenizer_of(source.bundle))


class Clock:
    """Wall-clock seconds by stage, in `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
