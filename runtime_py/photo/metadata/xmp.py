"""XMP packets, edited in place: values and whole properties by namespace, every other byte as it was."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from pocketcrafter.runtime.errors import PhotoError

EXIF: Final = "http://ns.adobe.com/exif/1.0/"
NOTE: Final = "http://ns.adobe.com/xmp/note/"
TIFF: Final = "http://ns.adobe.com/tiff/1.0/"
XAP: Final = "http://ns.adobe.com/xap/1.0/"
RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META: Final = "adobe:ns:meta/"

_MAX_BYTES: Final = 64 << 20
_MAX_PROPERTIES: Final = 200_000
_WELL_KNOWN: Final = {"tiff": TIFF, "exif": EXIF, "xmpNote": NOTE}
"""Prefixes that are understood where a packet fails to declare them, as viewers do."""
_TAG: Final = re.compile(rb"<([^\s/>]+)((?:\s+[^\s=>]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(/?)>")
_ATTRIBUTE: Final = re.compile(rb"\s+([^\s=]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")

_Span = tuple[int, int]


@dataclass(frozen=True)
class Property:
    """A property as it is written: an attribute, or an element with all that it holds.

    Attributes
    ----------
    namespace, name
        What it is called.
    value
        A leaf's text between its quotes or tags, as it is written; of others nothing.
    span
        Where it lies in the packet, an attribute with the space before it.
    value_span
        Where its value lies.
    is_leaf
        Whether its value is text and not further elements.
    """

    namespace: str
    name: str
    value: bytes
    span: _Span
    value_span: _Span
    is_leaf: bool


def properties(packet: bytes) -> list[Property]:
    """Find the attributes and elements of a packet, at every depth, in no particular order.

    Raises
    ------
    PhotoError
        If the packet is not well-formed, declares a document type, or is too large.
    """
    if len(packet) > _MAX_BYTES:
        raise PhotoError(f"the XMP packet is over {_MAX_BYTES >> 20} MiB")
    reader = _Reader(packet)
    try:
        reader.parser.Parse(packet, True)
    except (expat.ExpatError, UnicodeDecodeError) as error:
        raise PhotoError(f"the XMP packet is damaged ({error})") from error
    return reader.found


def with_values(packet: bytes, values: Mapping[tuple[str, str], str]) -> bytes:
    """Set properties of text that the packet has, by (namespace, name); others are not added."""
    found = ((p, values.get((p.namespace, p.name))) for p in properties(packet) if p.is_leaf)
    return _spliced(packet, ((*p.value_span, value.encode()) for p, value in found if value is not None))


def without(packet: bytes, unwanted: Callable[[Property], bool]) -> bytes:
    """Take properties out, with all that they hold."""
    return _spliced(packet, ((*p.span, b"") for p in properties(packet) if unwanted(p)))


def _spliced(packet: bytes, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    pieces, at = [], 0
    for start, stop, text in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if start >= at:
            pieces += [packet[at:start], text]
            at = stop
    return b"".join([*pieces, packet[at:]])


@dataclass
class _Element:
    """An element whose end has not been read yet."""

    name: str
    tag: "re.Match[bytes]"
    declared: list[str]
    is_leaf: bool


class _Reader:
    """Finds properties with expat, which checks that the packet is well-formed and says where each tag begins."""

    def __init__(self, packet: bytes) -> None:
        self.found: list[Property] = []
        self._packet = packet
        self._bound = {prefix: [uri] for prefix, uri in _WELL_KNOWN.items()}
        self._open: list[_Element] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise PhotoError("the XMP packet declares a document type, which XMP does not have")

    def _start(self, name: str, _: object) -> None:
        tag = _TAG.match(self._packet, self.parser.CurrentByteIndex)
        if tag is None:
            raise PhotoError("the XMP packet is not in UTF-8")
        if self._open:
            self._open[-1].is_leaf = False
        attributes = list(_ATTRIBUTE.finditer(self._packet, *tag.span(2)))
        declared = []
        for attribute in attributes:
            kind, _, prefix = attribute[1].decode().partition(":")
            if kind == "xmlns" and prefix:
                self._bound.setdefault(prefix, []).append((attribute[2] or attribute[3] or b"").decode())
                declared.append(prefix)
        for attribute in attributes:
            value = attribute.span(2 if attribute[2] is not None else 3)
            self._add(attribute[1].decode(), attribute.span(), value, is_leaf=True)
        self._open.append(_Element(name, tag, declared, is_leaf=not tag[3]))

    def _end(self, name: str) -> None:
        element = self._open.pop()
        if element.tag[3]:
            span, value = element.tag.span(), (element.tag.end(), element.tag.end())
        else:
            closing = self.parser.CurrentByteIndex
            span = element.tag.start(), self._packet.index(b">", closing) + 1
            value = element.tag.end(), closing
        self._add(name, span, value, is_leaf=element.is_leaf)
        for prefix in element.declared:
            self._bound[prefix].pop()

    def _add(self, name: str, span: _Span, value: _Span, *, is_leaf: bool) -> None:
        prefix, _, local = name.rpartition(":")
        uris = self._bound.get(prefix)
        if not uris or prefix == "xmlns":
            return
        if len(self.found) == _MAX_PROPERTIES:
            raise PhotoError(f"the XMP packet has over {_MAX_PROPERTIES} properties")
        text = self._packet[slice(*value)] if is_leaf else b""
        self.found.append(Property(uris[-1], local, text, span, value, is_leaf))
