"""Stub classes of Android's public API, from the signature file that AOSP checks every change against.

Google publishes `android.jar` with its SDK alone. The signature file says as much to a compiler: every public class,
member, type parameter and constant, and what may be null; what is hidden is not there.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from toolchain import class_file as cf

_PRIMITIVES: Final = dict(
    zip(
        ["byte", "char", "double", "float", "int", "long", "short", "boolean", "void"],
        "BCDFIJSZV",
        strict=True,
    )
)
_ANNOTATION: Final = re.compile(r'@([\w.]+)(\((?:[^()"\']|"(?:[^"\\]|\\.)*"|\'[^\']*\'|\([^()]*\))*\))?\s*')
_FLAGS: Final = {
    "public": cf.PUBLIC,
    "protected": cf.PROTECTED,
    "static": cf.STATIC,
    "final": cf.FINAL,
    "abstract": cf.ABSTRACT,
}
_IGNORED: Final = {"default", "native", "synchronized", "transient", "volatile", "strictfp"}
_NULLNESS: Final = {"NonNull": "androidx/annotation/NonNull", "Nullable": "androidx/annotation/Nullable"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def write_stubs(signatures: str, jar: Path) -> int:
    """Write a jar of stub classes.

    Parameters
    ----------
    signatures
        The text of AOSP's ``api/current.txt``, in its format 2.0.
    jar
        The jar to write.

    Returns
    -------
    int
        How many classes it has.
    """
    blocks = list(_blocks(signatures))
    known = {block.name: block for block in blocks}
    members: dict[str, list[str]] = {}
    for block in blocks:
        members.setdefault(block.name.rpartition(".")[0], []).append(block.name)
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for block in blocks:
            archive.writestr(f"{block.internal}.class", _Writer(block, known, members).written().bytes())
    return len(blocks)


@dataclass(frozen=True)
class _Block:
    """A class of the signature file: its package, dotted name within it, heading, and lines of members."""

    package: str
    simple: str
    kind: str
    flags: int
    parameters: str
    extends: str
    implements: str
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.package}.{self.simple}"

    @property
    def internal(self) -> str:
        return f"{self.package.replace('.', '/')}/{self.simple.replace('.', '$')}"


_HEADING: Final = re.compile(r"(?P<kind>class|interface|enum|@interface) (?P<name>[\w.]+)(?P<rest>.*)\{$")


def _blocks(signatures: str) -> Iterator[_Block]:
    package, opened, lines = "", None, list[str]()
    for line in signatures.splitlines():
        if line.startswith("package "):
            package = line.split()[1]
        elif line.startswith("    ") and line[4] != " ":
            lines.append(line.strip())
        elif line == "  }" and opened is not None:
            yield replace(opened, lines=tuple(lines))
        elif line.startswith("  ") and line.endswith("{"):
            opened, lines = _heading(package, line.strip()), []


def _heading(package: str, line: str) -> _Block:
    plain = re.sub(r"@interface\b", "#interface", line)
    plain = _ANNOTATION.sub("", plain).replace("#interface", "@interface")
    found = _HEADING.search(plain)
    if found is None:
        raise ValueError(f"not the heading of a class: {line}")
    flags = sum(_FLAGS.get(word, 0) for word in plain[: found.start()].split())
    parameters, rest = _leading_generics(found["rest"].strip())
    extends, _, implements = rest.partition("implements ")
    extends = extends.strip().removeprefix("extends ").strip()
    return _Block(package, found["name"], found["kind"], flags, parameters, extends, implements.strip(), ())


def _leading_generics(text: str) -> tuple[str, str]:
    """Split ``<…> rest`` into what stands in the brackets, and the rest."""
    if not text.startswith("<"):
        return "", text
    depth = 0
    for n, character in enumerate(text):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if depth == 0:
            return text[1:n], text[n + 1 :].strip()
    raise ValueError(f"brackets are not closed: {text}")


def _split(text: str, separators: str = ",") -> list[str]:
    """Split at separators that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for n, character in enumerate(text):
        depth += {"<": 1, "(": 1, "{": 1, ">": -1, ")": -1, "}": -1}.get(character, 0)
        if depth == 0 and character in separators:
            parts.append(text[start:n])
            start = n + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


class _Writer:
    """Turns one class of the signature file into a class file."""

    def __init__(self, block: _Block, known: Mapping[str, _Block], members: Mapping[str, Sequence[str]]) -> None:
        self._block, self._known, self._members = block, known, members
        self._method_bounds: Mapping[str, str] = {}
        self._used: dict[str, _Block] = {}
        self._variables = self._outer_variables()

    def written(self) -> cf.ClassFile:
        block = self._block
        interface = block.kind in {"interface", "@interface"}
        flags = block.flags & ~(cf.STATIC | cf.PROTECTED) | (cf.PUBLIC if block.flags & cf.PROTECTED else 0)
        flags |= {
            "class": cf.SUPER,
            "interface": cf.INTERFACE | cf.ABSTRACT,
            "@interface": cf.INTERFACE | cf.ABSTRACT | cf.ANNOTATION,
            "enum": cf.SUPER | cf.FINAL | cf.ENUM,
        }[block.kind]
        superclass, interfaces = self._supertypes(interface)
        generic = self._formal(block.parameters)
        signature = generic + self._signature(superclass) + "".join(map(self._signature, interfaces))
        is_object = block.name == "java.lang.Object"
        made = cf.ClassFile(
            block.internal,
            flags,
            None if is_object else self._internal(superclass),
            [self._internal(name) for name in interfaces],
            signature if "<" in signature else None,
        )
        for line in block.lines:
            kind, _, text = line.partition(" ")
            if kind in {"field", "enum_constant"}:
                made.fields.append(self._field(text, kind == "enum_constant"))
            else:
                made.methods.append(self._method(text, kind == "ctor", interface))
        if block.kind == "enum":
            fixed = cf.PUBLIC | cf.STATIC
            made.methods.append(cf.Member(fixed, "values", f"()[L{block.internal};"))
            made.methods.append(cf.Member(fixed, "valueOf", f"(Ljava/lang/String;)L{block.internal};"))
        self._note_nested()
        made.nested = [(b.internal, b.simple.rpartition(".")[2], self._nested_flags(b)) for b in self._used.values()]
        return made

    def _supertypes(self, interface: bool) -> tuple[str, list[str]]:
        block = self._block
        if block.kind == "enum":
            return f"java.lang.Enum<{block.name}>", _split(block.implements, " ,")
        if block.kind == "@interface":
            return "java.lang.Object", ["java.lang.annotation.Annotation"]
        if interface:
            return "java.lang.Object", _split(f"{block.extends} {block.implements}", " ,")
        return block.extends or "java.lang.Object", _split(block.implements, " ,")

    def _outer_variables(self) -> frozenset[str]:
        """Return the type variables that the class and those around it declare."""
        names, block = set[str](), self._block
        while True:
            names.update(_names(block.parameters))
            outer = self._outer(block)
            if outer is None or block.flags & cf.STATIC:
                return frozenset(names)
            block = outer

    def _field(self, text: str, of_enum: bool) -> cf.Member:
        nullness, text = _unannotated(text)
        declared, _, value = text.rstrip().split("; //")[0].removesuffix(";").partition(" = ")
        words = declared.split()
        flags = sum(_FLAGS.get(word, 0) for word in words) | (cf.ENUM if of_enum else 0)
        name = words[-1]
        kind = " ".join(word for word in words[:-1] if word not in _FLAGS and word not in _IGNORED)
        descriptor = self._descriptor(kind, frozenset())
        constant = _constant(value, descriptor) if value else None
        signature = self._signature(kind)
        return cf.Member(flags, name, descriptor, signature if signature != descriptor else None, constant, nullness)

    def _method(self, text: str, constructor: bool, interface: bool) -> cf.Member:
        nullness, text = _unannotated(text)
        head, _, tail = text.partition("(")
        head, formal = _formal_of(head)
        given = _arguments(tail)
        words = head.split()
        modifiers = {word for word in words[:-1] if word in _FLAGS or word in _IGNORED}
        flags = sum(_FLAGS.get(word, 0) for word in modifiers)
        if interface and not modifiers & {"default", "static"}:
            flags |= cf.ABSTRACT
        variables = frozenset(_names(formal))
        bounds = dict(_bounds(formal))
        split = [_unannotated(one) for one in _split(given)]
        kinds = [_type_alone(kind) for _, kind in split]
        if kinds and kinds[-1].endswith("..."):
            flags |= cf.VARARGS
            kinds[-1] = kinds[-1][:-3] + "[]"
        result = "void" if constructor else _type_alone(" ".join(w for w in words[:-1] if w not in modifiers))
        self._method_bounds = bounds
        descriptors = [self._descriptor(kind, variables) for kind in kinds]
        outer = self._outer_instance() if constructor else None
        descriptor = f"({''.join([*([outer] if outer else []), *descriptors])}){self._descriptor(result, variables)}"
        signature = f"({''.join(self._signature(k, variables) for k in kinds)}){self._signature(result, variables)}"
        signature = self._formal(formal, variables) + signature
        generic = signature != descriptor and outer is None
        return cf.Member(
            flags,
            "<init>" if constructor else words[-1],
            descriptor,
            signature if generic else None,
            None,
            nullness,
            [kind for kind, _ in split] if outer is None else (),
        )

    def _outer_instance(self) -> str | None:
        """Return what the constructor of an inner class takes first."""
        block = self._block
        if "." not in block.simple or block.flags & cf.STATIC or block.kind != "class":
            return None
        return f"L{block.internal.rpartition('$')[0]};"

    def _formal(self, parameters: str, variables: frozenset[str] = frozenset()) -> str:
        if not parameters:
            return ""
        written = []
        for name, bounds in _bounds(parameters):
            kinds = _split(bounds, "&") or ["java.lang.Object"]
            colon = "::" if self._is_interface(kinds[0]) else ":"
            written.append(name + colon + ":".join(self._signature(kind, variables) for kind in kinds))
        return f"<{''.join(written)}>"

    def _is_interface(self, kind: str) -> bool:
        block = self._known.get(_qualified(kind.partition("<")[0]))
        return block is not None and block.kind in {"interface", "@interface"}

    def _descriptor(self, kind: str, variables: frozenset[str]) -> str:
        bare = re.sub(r"<.*>", "", kind).strip()
        if bare.endswith("[]"):
            return "[" + self._descriptor(bare[:-2], variables)
        if bare in _PRIMITIVES:
            return _PRIMITIVES[bare]
        if bare in variables:
            bound = _split(self._method_bounds.get(bare, ""), "&") or ["java.lang.Object"]
            return self._descriptor(bound[0], variables - {bare})
        if bare in self._variables:
            return self._descriptor(self._class_bound(bare), variables)
        return f"L{self._internal(bare)};"

    def _class_bound(self, variable: str) -> str:
        block: _Block | None = self._block
        while block is not None:
            for name, bound in _bounds(block.parameters):
                if name == variable:
                    found = _split(bound, "&") or ["java.lang.Object"]
                    # `T extends Comparable<T>`: the brackets may name the variable itself.
                    return found[0].partition("<")[0]
            block = self._outer(block)
        return "java.lang.Object"

    def _signature(self, kind: str, variables: frozenset[str] = frozenset()) -> str:
        kind = kind.strip()
        if kind.endswith("[]"):
            return "[" + self._signature(kind[:-2], variables)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        if kind in variables or kind in self._variables:
            return f"T{kind};"
        base, bracket, rest = kind.partition("<")
        if not bracket:
            return f"L{self._internal(kind)};"
        inside, after = _leading_generics(f"<{rest}")
        arguments = "".join(self._argument(part, variables) for part in _split(inside))
        if after.startswith("."):
            # A class within a parameterized one, such as `Outer<T>.Inner`.
            return f"L{self._internal(base)}<{arguments}>.{after[1:].partition('<')[0]};"
        return f"L{self._internal(base)}<{arguments}>;"

    def _argument(self, part: str, variables: frozenset[str]) -> str:
        if part == "?":
            return "*"
        for word, sign in (("? extends ", "+"), ("? super ", "-")):
            if part.startswith(word):
                return sign + self._signature(part[len(word) :], variables)
        return self._signature(part, variables)

    def _internal(self, kind: str) -> str:
        """Return a class's internal name, and note it and those around it where it is a nested one."""
        name = _qualified(re.sub(r"<.*>", "", kind).strip())
        block = found = self._known.get(name)
        while block is not None and "." in block.simple:
            self._used.setdefault(block.internal, block)
            block = self._outer(block)
        return name.replace(".", "/") if found is None else found.internal

    def _outer(self, block: _Block) -> _Block | None:
        return self._known.get(block.name.rpartition(".")[0]) if "." in block.simple else None

    def _note_nested(self) -> None:
        """Note the class itself and those within it, as compilers look for them here."""
        for name in self._members.get(self._block.name, ()):
            self._internal(name)
        self._internal(self._block.name)

    @staticmethod
    def _nested_flags(block: _Block) -> int:
        kinds = {"interface": cf.INTERFACE | cf.ABSTRACT | cf.STATIC, "enum": cf.ENUM | cf.FINAL | cf.STATIC}
        kinds["@interface"] = kinds["interface"] | cf.ANNOTATION
        return block.flags | kinds.get(block.kind, 0)


def _unannotated(text: str) -> tuple[str | None, str]:
    """Take the annotations off the start of a declaration; returns what they say of null, and the rest."""
    nullness = None
    while found := _ANNOTATION.match(text):
        nullness = _NULLNESS.get(found[1].rpartition(".")[2], nullness)
        text = text[found.end() :]
    return nullness, text.strip()


def _formal_of(head: str) -> tuple[str, str]:
    """Split what precedes a method's arguments into all but its type parameters, and these."""
    before, bracket, rest = head.partition("<")
    # The brackets of a result follow its name; a method's own follow modifiers alone.
    if not bracket or not set(before.split()) <= _FLAGS.keys() | _IGNORED:
        return head, ""
    formal, after = _leading_generics(f"<{rest}")
    return before + after, formal


def _arguments(tail: str) -> str:
    depth = 1
    for n, character in enumerate(tail):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return tail[:n]
    raise ValueError(f"arguments are not closed: {tail}")


def _type_alone(text: str) -> str:
    """Drop what is written behind a type: a default value, or a name."""
    plain = text.partition(" = ")[0]
    return re.sub(r"\s*,\s*", ",", plain).strip()


def _bounds(parameters: str) -> list[tuple[str, str]]:
    pairs = [part.partition(" extends ") for part in _split(parameters)]
    return [(name.strip(), bound.strip()) for name, _, bound in pairs]


def _names(parameters: str) -> list[str]:
    return [name for name, _ in _bounds(parameters)]


def _qualified(name: str) -> str:
    return name if "." in name and name[0].islower() else f"java.lang.{name}"


def _constant(value: str, descriptor: str) -> cf.Constant | None:
    value = value.strip()
    if descriptor == "Ljava/lang/String;":
        return re.sub(r"\\(u+([0-9a-fA-F]{4})|.)", _unescaped, value[1:-1]) if value.startswith('"') else None
    if descriptor not in "BCDFIJSZ":
        return None
    if descriptor == "Z":
        return int(value == "true")
    if descriptor in "FD":
        words = re.fullmatch(r"\(?(-?)(\d+\.?\d*)(?:[eE](-?\d+))?[fF]?\)?", value)
        division = re.fullmatch(r"\(?(-?[\d.]+)f?/(-?[\d.]+)f?\)?", value)
        if division:
            upper, lower = map(float, division.groups())
            return upper / lower if lower else float("nan") if not upper else float("inf") * upper
        return float(value.strip("()fF")) if words else None
    found = re.match(r"-?\d+", value)
    return int(found[0]) if found else None


def _unescaped(found: "re.Match[str]") -> str:
    if found[2]:
        return chr(int(found[2], 16))
    return _ESCAPES.get(found[1], found[1])
