"""An app's manifest in the three forms that it has: XML as written, Android's binary XML, and an AAB's protobuf."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from pocketcrafter.runtime.errors import ConfigError

_ANDROID: Final = "{http://schemas.android.com/apk/res/android}"
_BINARY: Final = b"\x03\x00\x08\x00"
_STRINGS, _START, _RESOURCES = 0x0001, 0x0102, 0x0180
_UTF8: Final = 0x100
_STRING, _BOOLEAN = 0x03, 0x12
_NAMES: Final = {
    0x01010003: "name",
    0x0101000F: "debuggable",
    0x0101020C: "minSdkVersion",
    0x01010270: "targetSdkVersion",
    0x0101028E: "required",
    0x010104EA: "extractNativeLibs",
}
"""Attributes by the number that Android gave them: shrunk packages drop their names."""

Element = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class AndroidManifest:
    """What of a manifest bears on a bundle."""

    minimum_api: int | None
    permissions: tuple[str, ...]
    features: tuple[str, ...]
    """Features that a device must have."""
    debuggable: bool
    extracts_libraries: bool | None
    """Whether libraries are copied out of the APK; `None` where it is not said."""


def read_manifest(content: bytes, name: str) -> AndroidManifest:
    """Read a manifest.

    Raises
    ------
    ConfigError
        If it is in none of the three forms.
    """
    try:
        if content[:4] == _BINARY:
            elements = list(_binary_elements(content))
        elif content.lstrip()[:1] == b"<":
            elements = list(_text_elements(content))
        else:
            elements = list(_protobuf_elements(content))
    except (struct.error, IndexError, UnicodeDecodeError, ET.ParseError, ValueError) as error:
        raise ConfigError(f"{name}: not an Android manifest: {error}") from error
    if not elements or elements[0][0] != "manifest":
        raise ConfigError(f"{name}: not an Android manifest.")

    def of(tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in elements if found == tag]

    api = next((a["minSdkVersion"] for a in of("uses-sdk") if "minSdkVersion" in a), "")
    application = next(iter(of("application")), {})
    extracts = application.get("extractNativeLibs")
    return AndroidManifest(
        minimum_api=int(api) if api.isdigit() else None,
        permissions=tuple(a.get("name", "") for a in of("uses-permission")),
        features=tuple(a.get("name", "") for a in of("uses-feature") if a.get("required") != "false"),
        debuggable=application.get("debuggable") == "true",
        extracts_libraries=None if extracts is None else extracts == "true",
    )


def _text_elements(content: bytes) -> Iterator[Element]:
    if b"<!DOCTYPE" in content:
        raise ValueError("it declares a document type")
    for element in ET.fromstring(content).iter():  # noqa: S314 - no document type, so no entities
        yield element.tag, {key.removeprefix(_ANDROID): value for key, value in element.attrib.items()}


def _binary_elements(content: bytes) -> Iterator[Element]:
    strings: list[str] = []
    resources: tuple[int, ...] = ()
    at = 8
    while at + 8 <= len(content):
        kind, header, size = struct.unpack_from("<HHI", content, at)
        if size < 8:
            raise ValueError("a chunk without a size")
        chunk = content[at : at + size]
        if kind == _STRINGS:
            strings = _string_pool(chunk)
        elif kind == _RESOURCES:
            resources = struct.unpack_from(f"<{(size - header) // 4}I", chunk, header)
        elif kind == _START:
            yield _started(chunk, header, strings, resources)
        at += size


def _started(chunk: bytes, header: int, strings: list[str], resources: tuple[int, ...]) -> Element:
    name, start, size, count = struct.unpack_from("<4xIHHH", chunk, header)
    attributes = {}
    for n in range(count):
        place = header + start + n * size
        key, raw, kind, data = struct.unpack_from("<4xIi3xBI", chunk, place)
        number = resources[key] if key < len(resources) else 0
        if kind == _STRING:
            value = strings[data]
        elif raw >= 0:
            value = strings[raw]
        else:
            value = str(bool(data)).lower() if kind == _BOOLEAN else str(data)
        attributes[_NAMES.get(number, strings[key])] = value
    return strings[name], attributes


def _string_pool(chunk: bytes) -> list[str]:
    header, count, flags, start = struct.unpack_from("<2xH4xI4xII", chunk, 0)
    offsets = struct.unpack_from(f"<{count}I", chunk, header)
    return [_string(chunk, start + offset, utf8=bool(flags & _UTF8)) for offset in offsets]


def _string(chunk: bytes, at: int, *, utf8: bool) -> str:
    if not utf8:
        length = struct.unpack_from("<H", chunk, at)[0]
        if length & 0x8000:
            length = (length & 0x7FFF) << 16 | struct.unpack_from("<H", chunk, at + 2)[0]
            at += 2
        return chunk[at + 2 : at + 2 + 2 * length].decode("utf-16-le")
    for _ in range(2):  # the length in characters, then the one in bytes
        length, at = (chunk[at], at + 1) if chunk[at] < 0x80 else ((chunk[at] & 0x7F) << 8 | chunk[at + 1], at + 2)
    return chunk[at : at + length].decode()


def _protobuf_elements(content: bytes) -> Iterator[Element]:
    """Read aapt2's ``XmlNode``: field 1 is an element; of it 3 is the name, 4 an attribute, 5 a node within."""
    for number, value in _fields(content):
        if number != 1:
            continue
        name, attributes, children = "", {}, []
        for field, part in _fields(value):
            if field == 3:
                name = part.decode()
            elif field == 4:
                words = {key: text.decode() for key, text in _fields(part) if key in {2, 3}}
                attributes[words.get(2, "")] = words.get(3, "")
            elif field == 5:
                children.append(part)
        yield name, attributes
        for child in children:
            yield from _protobuf_elements(child)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a protobuf message that have a length."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field reaches past its message")
            yield key >> 3, message[at : at + length]
            at += length
        elif key & 7 == 0:
            _, at = _varint(message, at)
        elif key & 7 in {1, 5}:
            at += 8 if key & 7 == 1 else 4
        else:
            raise ValueError("not a protobuf message")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at + shift // 7]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + shift // 7 + 1
    raise ValueError("not a protobuf message")
