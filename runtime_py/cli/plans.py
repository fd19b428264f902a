"""What the command line says of plans: ``--plan``, ``--set`` and ``--only``."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click

from pocketcrafter.runtime.errors import ConfigError, PhotoError
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from pocketcrafter.runtime.plan import EditPlan, PlanLike

_MOST_BYTES: Final = 64 << 20

plan_option = click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    help="Do what this JSON file says in place of what the critic advises: a plan, or what `critique --json` printed.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set one value of the plan, as in exposure_ev=+0.5; repeatable.",
)
only_option = click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Keep nothing of the plan but this value, as in denoise, and what --set sets; repeatable.",
)


@dataclass(frozen=True)
class Plans:
    """The plan of each photo: the critic's or a file's, what is kept of it, and what is set in it.

    Parameters
    ----------
    given
        A plan for every photo, or plans by photo; `None` leaves it to the critic.
    only
        Fields that are kept; all where none is named.
    changes
        Values that are set after that, by field.
    """

    given: "EditPlan | Mapping[str, EditPlan] | None" = None
    only: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_options(cls, plan: Path | None, only: tuple[str, ...], settings: tuple[str, ...]) -> Self:
        """Read what the options say, and try it on an empty plan.

        Parameters
        ----------
        plan
            A file with a plan, or with one for each photo by its name.
        only
            Names of the edits to keep.
        settings
            Values to set after that, each as ``NAME=VALUE``.

        Raises
        ------
        ConfigError
            If the file is no plan, or a name or value is not one of a plan's.
        """
        from pocketcrafter.runtime.plan import EditPlan

        changes: dict[str, str] = {}
        for setting in settings:
            name, sign, value = (part.strip() for part in setting.partition("="))
            if not sign or not name or not value:
                raise ConfigError(f"--set {setting}: give NAME=VALUE, as in exposure_ev=+0.5.")
            if name in changes:
                raise ConfigError(f"--set {setting}: {name} is set twice.")
            changes[name] = value
        plans = cls(None if plan is None else _read(plan), only, changes)
        plans._edited(EditPlan())
        return plans

    @property
    def has_geometry(self) -> bool:
        """Whether a photo is to be turned or cropped."""
        from pocketcrafter.runtime.plan import EditPlan

        plans = self.given.values() if isinstance(self.given, Mapping) else (self.given or EditPlan(),)
        return any(self._edited(plan).has_geometry for plan in plans)

    def plan_of(self, photo: Path) -> "PlanLike | None":
        """Return what a pipeline's `enhance` takes as a photo's plan.

        Raises
        ------
        PhotoError
            If the file has plans for other photos only.
        """
        from pocketcrafter.runtime.plan import EditPlan

        if self.given is None:
            return self._edited if self.only or self.changes else None
        if isinstance(self.given, EditPlan):
            return self._edited(self.given)
        if (found := self.given.get(os.path.realpath(photo))) is None:
            raise PhotoError(
                f"{photo}: the --plan file has plans for {counted(len(self.given), 'photo')}, and none for this one."
            )
        return self._edited(found)

    def _edited(self, plan: "EditPlan") -> "EditPlan":
        kept = plan.only(*self.only) if self.only else plan
        return kept.replace(**self.changes)


def _read(path: Path) -> "EditPlan | Mapping[str, EditPlan]":
    """Read a plan, or what ``critique --json`` or ``enhance --json`` printed, by the photos' real paths."""
    from pocketcrafter.runtime.config import parse_json
    from pocketcrafter.runtime.plan import EditPlan
    from pocketcrafter.runtime.validation import check_json

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: over {_MOST_BYTES >> 20} MiB; this is no plan.")
        raw = parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("photos"), list):
        return check_json(EditPlan, json.dumps(_plan_in(raw)), f"{path}: not a plan")
    found = {}
    for number, entry in enumerate(raw["photos"]):
        # Of a photo that could not be read there is no plan.
        if isinstance(entry, dict) and isinstance(entry.get("photo"), str) and "error" not in entry:
            plan = check_json(EditPlan, json.dumps(_plan_in(entry)), f"{path}: photos.{number}: not a plan")
            found[os.path.realpath(entry["photo"])] = plan
    return found


def _plan_in(raw: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Return a plan, as it stands alone, in a critique, or in what is told of one photo."""
    for key in ("plan", "critique"):
        if isinstance(raw, dict) and key in raw:
            return _plan_in(raw[key])
    return raw
