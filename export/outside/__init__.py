"""Networks of other people: folders in Hugging Face's layout, as parts that every target's lowering takes."""

from pocketcrafter.export.outside.checkpoint import OutsideError
from pocketcrafter.export.outside.folder import load_folder
from pocketcrafter.export.outside.ladder import PartResult, climb, faults
from pocketcrafter.export.outside.part import Part

__all__ = ["OutsideError", "Part", "PartResult", "climb", "faults", "load_folder"]
