"""PocketCrafter: from critic and artist checkpoints to a phone bundle that says of every target how it was proved.

The names that a program needs to run a bundle are here; each is imported when it is first asked for::

    import pocketcrafter as pc

    pipeline = pc.Pipeline.open("build/default.pcbundle")
    pipeline.enhance("photo.jpg").save("enhanced.jpg")

``docs/python-api.md`` explains them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "Attribute",
    "Bundle",
    "Critique",
    "CropBox",
    "EditPlan",
    "Enhanced",
    "Group",
    "Item",
    "Mode",
    "Photo",
    "PhotoFormat",
    "Pipeline",
    "__version__",
    "describe",
    "errors",
    "load",
]

if TYPE_CHECKING:
    from pocketcrafter.runtime import errors
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.critique import Critique, Group, Item, describe
    from pocketcrafter.runtime.families import Pipeline
    from pocketcrafter.runtime.names import Mode
    from pocketcrafter.runtime.photo.load import load
    from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
    from pocketcrafter.runtime.pipeline import Enhanced
    from pocketcrafter.runtime.plan import Attribute, CropBox, EditPlan

    __version__: str
else:  # type checkers would take any name for one of these if they saw a module's `__getattr__`
    _PLACES = {
        "Attribute": "pocketcrafter.runtime.plan:Attribute",
        "Bundle": "pocketcrafter.runtime.bundle.reader:Bundle",
        "Critique": "pocketcrafter.runtime.critique:Critique",
        "CropBox": "pocketcrafter.runtime.plan:CropBox",
        "EditPlan": "pocketcrafter.runtime.plan:EditPlan",
        "Enhanced": "pocketcrafter.runtime.pipeline:Enhanced",
        "Group": "pocketcrafter.runtime.critique:Group",
        "Item": "pocketcrafter.runtime.critique:Item",
        "Mode": "pocketcrafter.runtime.names:Mode",
        "Photo": "pocketcrafter.runtime.photo.model:Photo",
        "PhotoFormat": "pocketcrafter.runtime.photo.model:PhotoFormat",
        "Pipeline": "pocketcrafter.runtime.families:Pipeline",
        "__version__": "importlib.metadata:version",
        "describe": "pocketcrafter.runtime.critique:describe",
        "errors": "pocketcrafter.runtime.errors",
        "load": "pocketcrafter.runtime.photo.load:load",
    }

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _PLACES[name].partition(":")
        found = import_module(module)
        value = getattr(found, attribute) if attribute else found
        # The version stands in pyproject.toml alone.
        globals()[name] = value(__name__) if name == "__version__" else value
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted(__all__)
