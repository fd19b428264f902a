"""What can go wrong while the photo sets are made."""

from pocketcrafter.runtime.errors import PocketCrafterError


class DataError(PocketCrafterError):
    """The photo sets cannot be made, or are not what their manifest says."""


class FetchError(DataError):
    """A source cannot be fetched or opened."""


class ResourceFileError(DataError):
    """A Qt resource file is damaged or uses something that the reader does not know."""


class SplitError(DataError):
    """A photographer or a package would be on two sides of the split."""
