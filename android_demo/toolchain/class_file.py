"""Writes Java class files that declare members and have no code: what a compiler reads of a library."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PUBLIC, PROTECTED, STATIC, FINAL, SUPER, VARARGS = 0x1, 0x4, 0x8, 0x10, 0x20, 0x80
INTERFACE, ABSTRACT, ANNOTATION, ENUM = 0x200, 0x400, 0x2000, 0x4000
_VERSION = 52
"""Java 8: the newest that has no modules."""
_NUMBERS = {"B": ">i", "S": ">i", "C": ">i", "I": ">i", "Z": ">i", "J": ">q", "F": ">f", "D": ">d"}
_TAGS = {"J": 5, "F": 4, "D": 6}

Constant = int | float | str


@dataclass
class Member:
    """A field or a method: access flags, name, descriptor, generic signature, and what is known of its nulls.

    ``nullness`` is of the value or result, and ``parameters`` has one entry for each parameter: the internal name of
    an annotation, or `None`.
    """

    flags: int
    name: str
    descriptor: str
    signature: str | None = None
    constant: Constant | None = None
    nullness: str | None = None
    parameters: Sequence[str | None] = ()


@dataclass
class ClassFile:
    """A class to be written; names are internal ones, such as ``android/view/View$OnClickListener``."""

    name: str
    flags: int
    superclass: str | None
    interfaces: Sequence[str] = ()
    signature: str | None = None
    fields: list[Member] = field(default_factory=list)
    methods: list[Member] = field(default_factory=list)
    nested: list[tuple[str, str, int]] = field(default_factory=list)
    """Nested classes that this one names or is: internal name, simple name, access flags as a member."""

    def bytes(self) -> bytes:
        """Return the file's content."""
        pool = _Pool()
        attributes = [*_signature(pool, self.signature), *_inner_classes(pool, self.nested)]
        superclass = 0 if self.superclass is None else pool.class_of(self.superclass)
        head = struct.pack(">HHH", self.flags, pool.class_of(self.name), superclass)
        interfaces = _counted(struct.pack(">H", pool.class_of(name)) for name in self.interfaces)
        fields = _counted(_member(pool, member) for member in self.fields)
        methods = _counted(_member(pool, member) for member in self.methods)
        body = head + interfaces + fields + methods + _counted(attributes)
        return struct.pack(">IHH", 0xCAFEBABE, 0, _VERSION) + pool.bytes() + body


class _Pool:
    """A constant pool; equal constants are stored once."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._next = 1

    def _place(self, entry: bytes, width: int = 1) -> int:
        if entry not in self._places:
            self._places[entry] = self._next
            self._next += width
        return self._places[entry]

    def text(self, value: str) -> int:
        """Return the place of a string of the class file's own; what is outside the plane of 16 bits is a pair."""
        units = value.encode("utf-16-be", "surrogatepass")
        content = b"".join(_unit(code) for (code,) in struct.iter_unpack(">H", units))
        return self._place(b"\1" + struct.pack(">H", len(content)) + content)

    def class_of(self, name: str) -> int:
        return self._place(b"\7" + struct.pack(">H", self.text(name)))

    def value(self, kind: str, value: Constant) -> int:
        """Return the place of a constant for a field of a descriptor."""
        if isinstance(value, str):
            return self._place(b"\10" + struct.pack(">H", self.text(value)))
        content = struct.pack(_NUMBERS[kind], value if kind in "FD" else int(value))
        return self._place(bytes([_TAGS.get(kind, 3)]) + content, 2 if kind in "JD" else 1)

    def bytes(self) -> bytes:
        return struct.pack(">H", self._next) + b"".join(self._places)


def _unit(code: int) -> bytes:
    """Encode one unit of UTF-16 as class files do, whose NUL has two bytes."""
    if 0 < code < 0x80:
        return bytes([code])
    if code < 0x800:
        return bytes([0xC0 | code >> 6, 0x80 | code & 0x3F])
    return bytes([0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])


def _member(pool: _Pool, member: Member) -> bytes:
    attributes = _signature(pool, member.signature)
    if member.constant is not None:
        place = pool.value(member.descriptor, member.constant)
        attributes.append(_attribute(pool, "ConstantValue", struct.pack(">H", place)))
    if member.nullness is not None:
        attributes.append(_attribute(pool, "RuntimeInvisibleAnnotations", _annotations(pool, member.nullness)))
    if any(member.parameters):
        content = bytes([len(member.parameters)]) + b"".join(_annotations(pool, name) for name in member.parameters)
        attributes.append(_attribute(pool, "RuntimeInvisibleParameterAnnotations", content))
    names = struct.pack(">HHH", member.flags, pool.text(member.name), pool.text(member.descriptor))
    return names + _counted(attributes)


def _annotations(pool: _Pool, name: str | None) -> bytes:
    return struct.pack(">H", 0) if name is None else struct.pack(">HHH", 1, pool.text(f"L{name};"), 0)


def _signature(pool: _Pool, signature: str | None) -> list[bytes]:
    if signature is None:
        return []
    return [_attribute(pool, "Signature", struct.pack(">H", pool.text(signature)))]


def _inner_classes(pool: _Pool, nested: Sequence[tuple[str, str, int]]) -> list[bytes]:
    if not nested:
        return []
    rows = []
    for name, simple, flags in nested:
        outer = name[: -len(simple) - 1]
        rows.append(struct.pack(">HHHH", pool.class_of(name), pool.class_of(outer), pool.text(simple), flags))
    return [_attribute(pool, "InnerClasses", _counted(rows))]


def _attribute(pool: _Pool, name: str, content: bytes) -> bytes:
    return struct.pack(">HI", pool.text(name), len(content)) + content


def _counted(entries: Iterable[bytes]) -> bytes:
    listed = list(entries)
    return struct.pack(">H", len(listed)) + b"".join(listed)
