"""What stands beside a photo's pixels: read from every container, kept true after an edit, written or named as lost."""

from pocketcrafter.runtime.photo.metadata.model import Density, Metadata, Text

__all__ = ["Density", "Metadata", "Text"]
