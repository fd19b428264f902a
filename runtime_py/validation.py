"""Configurations and results checked against their models; what is wrong is told in plain sentences, with its place."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError, PocketCrafterError

M = TypeVar("M", bound=BaseModel)

_MOST_FAULTS: Final = 20
_MOST_NAMES: Final = 24
_MOST_SHOWN: Final = 60
"""Characters of a wrong value that are worth repeating."""
_ALLOWED: Final = re.compile(r"'([^']*)'|(-?\d[\d.]*)")
_KINDS: Final[Mapping[str, str]] = {
    "bool": "true or false",
    "bytes": "bytes",
    "dict": "a mapping",
    "float": "a number",
    "frozen_set": "a list",
    "int": "a whole number",
    "iterable": "a list",
    "list": "a list",
    "mapping": "a mapping",
    "model": "a mapping",
    "none": "null",
    "path": "a path",
    "set": "a list",
    "string": "text",
    "tuple": "a list",
}
"""What a value of each of pydantic's kinds is called where people write it."""


def check(model: type[M], raw: object, where: str, fails: type[PocketCrafterError] = ConfigError) -> M:
    """Return plain data as a model.

    Parameters
    ----------
    model
        What it should be.
    raw
        Mappings, lists, text and numbers.
    where
        Where the data is from and what it should be, as the message begins.
    fails
        The type of error to raise.

    Raises
    ------
    PocketCrafterError
        Of type ``fails``, if it is not valid; each fault is told with its place and what is allowed there.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise fails(explain(error, model, where)) from error


def check_json(model: type[M], data: str | bytes, where: str, fails: type[PocketCrafterError] = ConfigError) -> M:
    """Return JSON as a model; parameters and errors as in :func:`check`.

    JSON's types are kept: `true` is no number and `"3"` no whole number, for readers in any language.

    Parameters
    ----------
    model
        What the JSON must be.
    data
        The JSON text.
    where
        What the text is, for the message: a file's name, mostly.
    fails
        The error to raise.

    Raises
    ------
    PocketCrafterError
        ``fails``, if the text is no JSON or not the model's.
    """
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise fails(explain(error, model, where)) from error


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Return what is wrong: one fault on the line that begins with ``where``, several on a line each.

    Parameters
    ----------
    error
        pydantic's error.
    model
        The model that was checked.
    where
        What was checked, for the message.
    """
    details = error.errors(include_url=False)
    faults = [_fault(detail, model) for detail in details[:_MOST_FAULTS]]
    if (left := len(details) - len(faults)) > 0:
        faults.append(f"and {left} more")
    return f"{where}: {faults[0]}" if len(faults) == 1 else "\n  ".join([f"{where}:", *faults])


class Checked(Config):
    """A configuration that programs make themselves; values that are not valid raise `ConfigError`, as `check` does."""

    if not TYPE_CHECKING:  # type checkers derive the arguments from the fields

        def __init__(self, *given: Any, **values: Any) -> None:  # noqa: ANN401 - pydantic checks them
            if given:
                name, fields = type(self).__name__, _listed(type(self).model_fields)
                raise ConfigError(
                    f"{name}: values are given by their names, as in {name}(name=value); it has {fields}."
                )
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ConfigError(explain(error, type(self), type(self).__name__)) from error

        # Inside other models pydantic makes instances itself, and tells the place of a fault.
        __init__.__pydantic_base_init__ = True


def number_in(value: object, low: float, high: float, what: str) -> float:
    """Return a number that was given.

    Parameters
    ----------
    value
        Whatever was given.
    low, high
        Its range, both ends included.
    what
        What it is, as the message begins.

    Raises
    ------
    ConfigError
        If it is no number, or outside the range.
    """
    # Numpy's numbers are registered as real ones; true and false are integers to Python alone.
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigError(f"{what} is a number from {low:g} to {high:g}, not of {type(value).__name__}.")
    if not low <= float(value) <= high:
        raise ConfigError(f"{what} is from {low:g} to {high:g}, not {float(value):g}.")
    return float(value)


def path_of(value: object, what: str) -> Path:
    """Return a path that was given as text or as a path; ``what`` begins the message.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{what} is a path (str or Path), not of {type(value).__name__}.")
    return Path(value)


def nearest(name: str, known: Mapping[str, object] | list[str], what: str) -> str:
    """Return what to say of an unknown name: the known one that is like it, or else all of them.

    Parameters
    ----------
    name
        The unknown name.
    known
        The names that there are.
    what
        What the known ones are, in the plural.
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"{what} are {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    some = list(names)
    return ", ".join(some[:_MOST_NAMES]) + (", …" if len(some) > _MOST_NAMES else "")


def _fault(detail: ErrorDetails, model: type[BaseModel]) -> str:
    # Pydantic marks keys and validators in places; those of the file are enough.
    place = [part for part in detail["loc"] if not str(part).startswith(("[", "function-"))]
    told = _sentence(detail, _model_at(model, place[:-1]), place)
    return f"{'.'.join(map(str, place))}: {told}" if place else told


def _sentence(detail: ErrorDetails, model: type[BaseModel], place: list[int | str]) -> str:
    kind, value, facts = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in {"greater_than_equal", "less_than_equal"} and (limits := _range(model, place)):
        return f"{_shown(value)} is out of range; it must be from {_number(limits[0])} to {_number(limits[1])}"
    if kind in _SENTENCES:
        return _SENTENCES[kind](_shown(value), facts)
    if kind == "model_type":
        return f"{_shown(value)} is not a mapping; its keys are {_listed(_model_at(model, place).model_fields)}"
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(detail['loc'][-1]), list(model.model_fields), 'valid keys')}"
    if kind in {"enum", "literal_error"}:
        allowed = [text or number for text, number in _ALLOWED.findall(str(facts["expected"]))]
        return f"{_shown(value)} is not allowed; {nearest(str(value), allowed, 'allowed')}"
    name = re.sub(r"_(attributes_)?(type|parsing|from_float|parsing_size|required|unicode|sub)$", "", kind)
    return f"{_shown(value)} is not {_KINDS[name]}" if name in _KINDS else f"{_shown(value)} is not valid ({kind})"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


_Sentence = Callable[[str, Mapping[str, Any]], str]

_SENTENCES: Final[Mapping[str, _Sentence]] = {
    "missing": lambda _value, _facts: "missing",
    "json_invalid": lambda _value, facts: f"not JSON: {facts['error']}",
    "value_error": lambda _value, facts: str(facts["error"]),
    "assertion_error": lambda _value, facts: str(facts["error"]),
    "finite_number": lambda value, _facts: f"{value} is not a finite number",
    "greater_than_equal": lambda value, facts: f"{value} is too small; it must be {facts['ge']} or more",
    "greater_than": lambda value, facts: f"{value} is too small; it must be more than {facts['gt']}",
    "less_than_equal": lambda value, facts: f"{value} is too large; it must be {facts['le']} or less",
    "less_than": lambda value, facts: f"{value} is too large; it must be less than {facts['lt']}",
    "multiple_of": lambda value, facts: f"{value} is not a multiple of {facts['multiple_of']}",
    "too_short": lambda _value, facts: f"{facts['actual_length']} entries; {facts['min_length']} or more are needed",
    "too_long": lambda _value, facts: f"{facts['actual_length']} entries; {facts['max_length']} at most are allowed",
    "string_too_short": lambda value, facts: f"{value} is too short; it needs {facts['min_length']} characters or more",
    "string_too_long": lambda value, facts: f"{value} is too long; it may have {facts['max_length']} characters",
    "string_pattern_mismatch": lambda value, facts: (
        f"{value} has characters or a form that are not allowed here; the pattern is {facts['pattern']}"
    ),
}
"""What to say of each kind of fault, by the wrong value as it is shown and pydantic's facts."""


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case tuple():
            return "a tuple"
        case bool() | int() | float():
            return str(value).lower()
        case _:
            text = str(value)
            return f"`{text if len(text) <= _MOST_SHOWN else f'{text[:_MOST_SHOWN]}…'}`"


def _model_at(model: type[BaseModel], place: list[int | str]) -> type[BaseModel]:
    """Return the model at a place, going down the models that the place's keys name."""
    for key in place:
        if isinstance(key, str) and key in model.model_fields:
            model = next(iter(_models_in(model.model_fields[key].annotation)), model)
    return model


def _range(model: type[BaseModel], place: list[int | str]) -> tuple[float, float] | None:
    """Return the lowest and highest value of the field at a place; `None` where it is not bounded on both sides."""
    field = model.model_fields.get(str(place[-1])) if place else None
    bounds = {type(bound).__name__: bound for bound in (field.metadata if field else ())}
    return (bounds["Ge"].ge, bounds["Le"].le) if bounds.keys() >= {"Ge", "Le"} else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
