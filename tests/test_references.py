"""Objects named in strings, as ``module:object``: stages, families, teachers, pipelines and commands are found so."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pocketcrafter
from pocketcrafter.export.builder.stage import source_hash

ROOT = Path(pocketcrafter.__file__).parent
REFERENCE = re.compile(r"pocketcrafter(?P<parts>(?:\.\w+)+):(?P<name>\w+|\{\}(?:_\w+)?)")
"""``{}`` stands for what an f-string fills in: for that name, the module alone is looked for."""
LIKELY = re.compile(r"(?:pocketcrafter|\})[\w.]*:[\w{]")
"""What the source of such a string looks like: files without it are not parsed."""


def sources() -> Iterator[Path]:
    """Yield every source file of the package, whose parts may be links to folders."""
    for part in ROOT.iterdir():
        yield from part.rglob("*.py")


def strings(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of a module, f-strings with its constants filled in."""
    constants = {
        target.id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value)
                if isinstance(part, ast.Constant)
                else str(constants.get(ast.unparse(part.value), "{}") if isinstance(part, ast.FormattedValue) else "{}")
                for part in node.values
            )


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the functions, classes and constants that a module defines."""
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_every_name_of_an_object_in_a_string_is_one_that_its_module_defines() -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources()}
    texts = {module: path.read_text(encoding="utf-8") for module, path in files.items()}
    tree = cache(lambda module: ast.parse(texts[module]))
    found, stale = set(), []
    for module in (module for module, text in texts.items() if LIKELY.search(text)):
        for text in strings(tree(module)):
            if match := REFERENCE.fullmatch(text):
                found.add(text)
                named = match["parts"].removeprefix(".")
                if named not in texts or ("{}" not in match["name"] and match["name"] not in defined(tree(named))):
                    stale.append(f"{module}: {text}")
    assert not stale
    kinds = ("families.pocket.plan:plan", "families.latent.networks:run", "builder.steps.lower:run", "generic:", "cli.")
    assert [kind for kind in kinds if not any(kind in text for text in found)] == []


def test_the_source_of_a_stage_that_is_nowhere_has_no_hash() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pocketcrafter\.export\.moved_away"):
        source_hash("pocketcrafter.export.moved_away")
