"""EXIF blocks, patched in place: what they say of the pixels must hold for the pixels that are written.

Blocks are patched, not rewritten, because maker notes hold offsets that a rewrite would break.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

PREFIX: Final = b"Exif\x00\x00"

_ORIENTATION: Final = 0x0112
_WIDTH, _HEIGHT = 0x0100, 0x0101
_X_RESOLUTION, _Y_RESOLUTION = 0x011A, 0x011B
_EXIF_DIRECTORY, _GPS_DIRECTORY, _INTEROP_DIRECTORY = 0x8769, 0x8825, 0xA005
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
_FOCAL_X_RESOLUTION, _FOCAL_Y_RESOLUTION = 0xA20E, 0xA20F
_SUBJECT_AREA, _SUBJECT_LOCATION = 0x9214, 0xA214
_JPEG_START, _JPEG_BYTES = 0x0201, 0x0202
_STRIP_STARTS, _STRIP_BYTES = 0x0111, 0x0117
_PICTURE_TAGS: Final = frozenset({_JPEG_START, _JPEG_BYTES, _STRIP_STARTS, _STRIP_BYTES})
_SHORT, _LONG = 3, 4
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MAX_THUMBNAILS: Final = 4

_Span = tuple[int, int]


class _Entry(NamedTuple):
    """A directory's entry: where its 12 bytes lie, and what they say."""

    offset: int
    tag: int
    kind: int
    values: int


def orientation_of(block: bytes) -> int | None:
    """Return the orientation that a block states, even one whose main directory is cut off; `None` without one."""
    tiff = _Tiff.of(block)
    if tiff is None:
        return None
    stated = [e for e in tiff.entries(tiff.main) if e.tag == _ORIENTATION and e.kind == _SHORT]
    return tiff.unpack("H", stated[0].offset + 8) if stated else None


def states_density(block: bytes) -> bool:
    """Whether the block says how many pixels an inch has."""
    tiff = _Tiff.of(block)
    return tiff is not None and any(e.tag == _X_RESOLUTION for e in tiff.entries(tiff.main))


def upright_exif(block: bytes, orientation: int, width: int, height: int) -> bytes | None:
    """Make a block describe a photo whose orientation has been applied, and take the old photo's thumbnail out.

    Parameters
    ----------
    block
        An EXIF block, with or without its ``Exif`` prefix.
    orientation
        The orientation that was applied, 1 to 8; 5 to 8 exchange horizontal and vertical resolution.
    width, height
        The photo's size in pixels now.

    Returns
    -------
    bytes or None
        The TIFF structure without prefix, no longer than before; `None` where it is damaged (BigTIFF, which EXIF does
        not allow, among it).
    """
    tiff = _Tiff.of(block)
    if tiff is None or not tiff.is_whole(tiff.main):
        return None
    for entry in tiff.entries(tiff.main):
        if entry.tag == _ORIENTATION:
            struct.pack_into(f"{tiff.order}HIHH", tiff.data, entry.offset + 2, _SHORT, 1, 1, 0)
    if orientation in {5, 6, 7, 8}:
        tiff.exchange(tiff.main, _X_RESOLUTION, _Y_RESOLUTION)
        for directory in tiff.children(_EXIF_DIRECTORY):
            tiff.exchange(directory, _FOCAL_X_RESOLUTION, _FOCAL_Y_RESOLUTION)
    for directory in tiff.children(_EXIF_DIRECTORY):
        tiff.turn_positions(directory, orientation, width, height)
    tiff.remove_thumbnails()
    return resized_exif(bytes(tiff.data), width, height)


def resized_exif(block: bytes, width: int, height: int) -> bytes:
    """Set every width and height in pixels that a block without prefix states; others are not added.

    Parameters
    ----------
    block
        A TIFF structure, without the prefix that JPEG puts before it.
    width, height
        In pixels.
    """
    tiff = _Tiff.of(block)
    if tiff is None:
        return block
    sides = {tiff.main: {_WIDTH: width, _HEIGHT: height}}
    sides |= {d: {_PIXEL_WIDTH: width, _PIXEL_HEIGHT: height} for d in tiff.children(_EXIF_DIRECTORY) if d != tiff.main}
    for directory, stated in sides.items():
        for entry in tiff.entries(directory):
            if entry.tag in stated and entry.values == 1 and entry.kind in {_SHORT, _LONG}:
                tiff.set_side(entry, stated[entry.tag])
    return bytes(tiff.data)


def without_orientation(block: bytes) -> bytes:
    """Take the orientation out of a block whose photo is upright; nothing but the entries after it moves."""
    tiff = _Tiff.of(block)
    if tiff is None or not tiff.is_whole(tiff.main):
        return block
    tiff.remove(tiff.main, {_ORIENTATION})
    return bytes(tiff.data)


def without_positions(block: bytes) -> bytes:
    """Take out where in the frame the subject was, for a photo whose frame is another one now."""
    tiff = _Tiff.of(block)
    if tiff is None:
        return block
    for directory in tiff.children(_EXIF_DIRECTORY):
        if directory != tiff.main and tiff.is_whole(directory):
            tiff.remove(directory, {_SUBJECT_AREA, _SUBJECT_LOCATION})
    return bytes(tiff.data)


class _Tiff:
    """A TIFF structure of untrusted bytes; every offset is checked before it is followed."""

    def __init__(self, data: bytearray, order: str) -> None:
        self.data, self.order = data, order
        self.main = self.unpack("I", 4)

    @classmethod
    def of(cls, block: bytes) -> "_Tiff | None":
        data = bytearray(block.removeprefix(PREFIX))
        order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(bytes(data[:4]))
        return None if order is None or len(data) < 8 else cls(data, order)

    def unpack(self, code: str, offset: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, offset)[0])

    def count(self, directory: int) -> int:
        return self.unpack("H", directory) if 8 <= directory <= len(self.data) - 2 else 0

    def is_whole(self, directory: int) -> bool:
        count = self.count(directory)
        return count > 0 and directory + 2 + 12 * count <= len(self.data)

    def entries(self, directory: int) -> Iterator[_Entry]:
        """Give the entries of a directory that lie within the data."""
        first = directory + 2
        fitting = min(self.count(directory), max(len(self.data) - first, 0) // 12)
        for offset in range(first, first + 12 * fitting, 12):
            yield _Entry(offset, *struct.unpack_from(f"{self.order}HHI", self.data, offset))

    def children(self, *tags: int) -> list[int]:
        return [self.unpack("I", e.offset + 8) for e in self.entries(self.main) if e.tag in tags]

    def exchange(self, directory: int, first: int, second: int) -> None:
        """Exchange what two tags say, values and all."""
        at = {e.tag: e.offset for e in self.entries(directory) if e.tag in {first, second}}
        if len(at) == 2:
            one, other = (slice(at[tag] + 2, at[tag] + 12) for tag in (first, second))
            self.data[one], self.data[other] = self.data[other], self.data[one]

    def remove(self, directory: int, tags: set[int]) -> None:
        """Take entries out of a directory; the entries behind them move up, and nothing else moves."""
        kept = [bytes(self.data[e.offset : e.offset + 12]) for e in self.entries(directory) if e.tag not in tags]
        count, first = self.count(directory), directory + 2
        link = bytes(self.data[first + 12 * count : first + 12 * count + 4])
        rest = b"".join(kept) + link
        struct.pack_into(f"{self.order}H", self.data, directory, len(kept))
        self.data[first : first + 12 * count + len(link)] = rest.ljust(12 * count + len(link), b"\x00")

    def turn_positions(self, directory: int, orientation: int, width: int, height: int) -> None:
        """Move the subject's place, stated in stored pixels, to where it is in the upright photo of this size."""
        for entry in self.entries(directory):
            if entry.tag not in {_SUBJECT_AREA, _SUBJECT_LOCATION} or entry.kind != _SHORT or entry.values < 2:
                continue
            start = entry.offset + 8 if entry.values == 2 else self.unpack("I", entry.offset + 8)
            if start + 2 * min(entry.values, 4) > len(self.data):
                continue
            x, y, *area = struct.unpack_from(f"{self.order}{min(entry.values, 4)}H", self.data, start)
            if orientation in {5, 6, 7, 8}:
                x, y, area = y, x, area[::-1]
            x = width - 1 - x if orientation in {2, 3, 6, 7} else x
            y = height - 1 - y if orientation in {3, 4, 7, 8} else y
            place = (min(max(side, 0), 65_535) for side in (x, y))
            struct.pack_into(f"{self.order}{2 + len(area)}H", self.data, start, *place, *area)

    def set_side(self, entry: _Entry, side: int) -> None:
        # TIFF and EXIF let a side be a SHORT or a LONG, in the same four bytes.
        if entry.kind == _SHORT and side < 1 << 16:
            struct.pack_into(f"{self.order}HH", self.data, entry.offset + 8, side, 0)
        else:
            struct.pack_into(f"{self.order}HII", self.data, entry.offset + 2, _LONG, 1, side)

    def remove_thumbnails(self) -> None:
        """Detach the directories after the main one and overwrite them and their pictures with zeros.

        Nothing is moved; only a picture at the very end is cut off. Bytes that other directories use stay, wherever
        a hostile thumbnail says that it lies.
        """
        link = self.main + 2 + 12 * self.count(self.main)
        spans: list[_Span] = []
        for _ in range(_MAX_THUMBNAILS):
            directory = self.unpack("I", link) if link + 4 <= len(self.data) else 0
            if not self.count(directory) or directory == self.main:
                break
            spans += [*self._extent(directory), *self._pictures(directory)]
            link = directory + 2 + 12 * self.count(directory)
        link = self.main + 2 + 12 * self.count(self.main)
        if link + 4 <= len(self.data):
            struct.pack_into(f"{self.order}I", self.data, link, 0)
        free = _without(_merged(spans), _merged(self._used()))
        for start, stop in free:
            self.data[start:stop] = bytes(stop - start)
        # Behind a thumbnail that lies at the end there is at most padding.
        if free and len(self.data.rstrip(b"\x00")) <= free[-1][0]:
            del self.data[free[-1][0] :]

    def _used(self) -> list[_Span]:
        directories = [self.main, *self.children(_EXIF_DIRECTORY, _GPS_DIRECTORY)]
        for parent in self.children(_EXIF_DIRECTORY):
            directories += [self.unpack("I", e.offset + 8) for e in self.entries(parent) if e.tag == _INTEROP_DIRECTORY]
        return [(0, 8)] + [span for directory in dict.fromkeys(directories) for span in self._extent(directory)]

    def _extent(self, directory: int) -> list[_Span]:
        """Where a directory and those of its values lie that do not fit into its entries."""
        spans = [(directory, directory + 2 + 12 * self.count(directory) + 4)]
        for entry in self.entries(directory):
            size = _TYPE_BYTES.get(entry.kind, 0) * entry.values
            if size > 4:
                start = self.unpack("I", entry.offset + 8)
                spans.append((start, start + size))
        return [(min(start, len(self.data)), min(stop, len(self.data))) for start, stop in spans]

    def _pictures(self, directory: int) -> list[_Span]:
        # One entry a tag, however often a hostile directory repeats it.
        entries = {e.tag: e for e in self.entries(directory) if e.tag in _PICTURE_TAGS}
        values = {tag: self._integers(entry) for tag, entry in entries.items()}
        spans = []
        for starts, sizes in ((_JPEG_START, _JPEG_BYTES), (_STRIP_STARTS, _STRIP_BYTES)):
            for start, size in zip(values.get(starts, ()), values.get(sizes, ()), strict=False):
                spans.append((min(start, len(self.data)), min(start + size, len(self.data))))
        return spans

    def _integers(self, entry: _Entry) -> list[int]:
        size = _TYPE_BYTES.get(entry.kind, 0)
        if entry.kind not in {_SHORT, _LONG}:
            return []
        start = entry.offset + 8 if size * entry.values <= 4 else self.unpack("I", entry.offset + 8)
        count = min(entry.values, max(len(self.data) - start, 0) // size)
        code = "H" if entry.kind == _SHORT else "I"
        return list(struct.unpack_from(f"{self.order}{count}{code}", self.data, start)) if count else []


def _merged(spans: list[_Span]) -> list[_Span]:
    """Give the same bytes as disjoint spans in ascending order."""
    merged: list[_Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _without(spans: list[_Span], used: list[_Span]) -> list[_Span]:
    """Give the parts of ``spans`` that no span of ``used`` covers; both are disjoint and ascending, as is the result.

    One pass over both, so that a hostile block with thousands of entries takes no longer than its length.
    """
    free: list[_Span] = []
    index = 0
    for start, stop in spans:
        while index < len(used) and used[index][1] <= start:
            index += 1
        at, ahead = start, index
        while ahead < len(used) and used[ahead][0] < stop:
            if used[ahead][0] > at:
                free.append((at, used[ahead][0]))
            at = used[ahead][1]
            ahead += 1
        if at < stop:
            free.append((at, stop))
        index = max(index, ahead - 1)
    return free
