"""What stands beside a photo's pixels, in a form that no container has a say in."""

from dataclasses import dataclass, replace
from typing import Self

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata import exif as exif_blocks
from pocketcrafter.runtime.photo.metadata import stated
from pocketcrafter.runtime.photo.metadata.words import Word


@dataclass(frozen=True)
class Density:
    """How densely a photo is to be printed.

    Attributes
    ----------
    x, y
        Pixels an inch; where `is_ratio` is set, only the shape of a pixel is known: as ``x`` to ``y``.
    """

    x: float
    y: float
    is_ratio: bool = False

    def __str__(self) -> str:
        """Words for people, as in ``300 dpi``."""
        both = f"{self.x:.4g}" if self.x == self.y else f"{self.x:.4g}×{self.y:.4g}"
        return f"pixel shape {self.x:.4g}:{self.y:.4g}" if self.is_ratio else f"{both} dpi"


@dataclass(frozen=True)
class Text:
    """A text under a keyword, as PNG has them.

    Attributes
    ----------
    keyword
        1 to 79 characters of Latin-1.
    text
        What it says.
    language, translated
        A language tag and the keyword in that language; empty where not stated.
    """

    keyword: str
    text: str
    language: str = ""
    translated: str = ""


@dataclass(frozen=True)
class Metadata:
    """What stands beside a photo's pixels.

    Attributes
    ----------
    exif
        TIFF-structured EXIF block without the ``Exif`` prefix.
    xmp
        XMP packet, UTF-8.
    extended_xmp
        What did not fit into a JPEG's first packet, a packet of its own that `xmp` announces.
    iptc
        Photoshop image resources that hold IPTC and copyright.
    comments
        JPEG comments, of no stated encoding.
    density
        Printing density; `None` where the container does not state one.
    texts
        PNG's texts.
    left_out
        What the source holds and an edited photo does not, in words; each a few words long, none twice.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    extended_xmp: bytes | None = None
    iptc: bytes | None = None
    comments: tuple[bytes, ...] = ()
    density: Density | None = None
    texts: tuple[Text, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def orientation(self) -> int:
        """How the stored pixels are to be turned, 1 to 8: what EXIF says, else XMP, else 1."""
        said = None if self.exif is None else exif_blocks.orientation_of(self.exif)
        if said is None and self.xmp is not None:
            said = stated.orientation_of(self.xmp)
        return said if said is not None and 1 <= said <= 8 else 1

    def leaving_out(self, *words: str) -> Self:
        """Return the metadata with more in `left_out`."""
        return replace(self, left_out=tuple(dict.fromkeys([*self.left_out, *words])))

    def of_edited(self, orientation: int, width: int, height: int) -> Self:
        """Return what holds for a photo whose pixels were decoded, turned upright and edited.

        Damaged blocks, thumbnails of the old photo and announcements of what an edited file lacks are taken out.

        Parameters
        ----------
        orientation
            The orientation that was applied to the pixels.
        width, height
            The photo's size now.
        """
        density = self.density
        if density is not None and orientation in {5, 6, 7, 8}:
            density = replace(density, x=density.y, y=density.x)
        exif = None if self.exif is None else exif_blocks.upright_exif(self.exif, orientation, width, height)
        damaged = [Word.DAMAGED_EXIF] if self.exif is not None and exif is None else []
        edited = replace(self, exif=exif, density=density).leaving_out(*damaged)._with_honest_xmp()
        xmp = None if edited.xmp is None else stated.resized_xmp(stated.upright_xmp(edited.xmp), width, height)
        edited = replace(edited, xmp=xmp)
        return edited if orientation == 1 else edited._without_regions()

    def cropped(self, width: int, height: int) -> Self:
        """Return what holds for a part of the photo, of this size; places in the old frame are left out."""
        metadata = self._without_regions()
        if metadata.exif is not None:
            exif = exif_blocks.without_positions(metadata.exif)
            words = [Word.POSITIONS] if exif != metadata.exif else []
            metadata = replace(metadata, exif=exif_blocks.resized_exif(exif, width, height)).leaving_out(*words)
        xmp = None if metadata.xmp is None else stated.resized_xmp(metadata.xmp, width, height)
        return replace(metadata, xmp=xmp)

    def without_extended_xmp(self) -> Self:
        """Return what holds where a container has one packet only: the first one, which announces no other."""
        if self.extended_xmp is None or self.xmp is None:
            return self
        alone = stated.with_extension(self.xmp, None)
        return replace(self, xmp=alone, extended_xmp=None).leaving_out(Word.EXTENDED_XMP)

    def _without_regions(self) -> Self:
        xmp = None if self.xmp is None else stated.without_positions(self.xmp)
        return self if xmp == self.xmp else replace(self, xmp=xmp).leaving_out(Word.POSITIONS)

    def _with_honest_xmp(self) -> Self:
        """Return the metadata with packets that are whole, and announce what will be there."""
        if self.xmp is None:
            lost = () if self.extended_xmp is None else (Word.EXTENDED_XMP,)
            return replace(self, extended_xmp=None).leaving_out(*lost)
        try:
            first, words = stated.without_announcements(self.xmp)
        except PhotoError:
            return replace(self, xmp=None, extended_xmp=None).leaving_out(Word.DAMAGED_XMP)
        extended = None
        if self.extended_xmp is not None:
            try:
                extended, more = stated.without_announcements(self.extended_xmp)
            except PhotoError:
                words.add(Word.EXTENDED_XMP)
            else:
                words |= more
                extended = extended if stated.says_anything(extended) else None
        elif stated.announces_extension(first):
            words.add(Word.EXTENDED_XMP)
        first = stated.with_extension(first, extended)
        return replace(self, xmp=first, extended_xmp=extended).leaving_out(*sorted(words))
