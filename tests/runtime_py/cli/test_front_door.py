"""The names in `pocketcrafter`: what they cost, that they are there for people and type checkers, and the examples."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import pocketcrafter as pc

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "tests/photos/bridge_dim_and_cool.jpg"
GUIDE = ROOT / "docs/python-api.md"
LARGE = ("click", "numpy", "onnxruntime", "PIL", "pydantic")
MOST_SECONDS = 0.05


def test_importing_the_package_is_quick_and_imports_nothing_large() -> None:
    script = (
        "import sys, time; start = time.process_time(); import pocketcrafter as pc; "
        f"print(time.process_time() - start, *[name for name in {LARGE} if name in sys.modules])"
    )
    done = [
        subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, *_ in done) < MOST_SECONDS
    assert [loaded for _, *loaded in done] == [[], [], []]


def test_every_public_name_is_there_and_no_other() -> None:
    assert dir(pc) == sorted(pc.__all__)
    for name in pc.__all__:
        assert getattr(pc, name) is not None
    assert pc.__version__ == version("pocketcrafter")
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        pc.Pipelin  # noqa: B018


def test_type_checkers_see_the_names_that_programs_get() -> None:
    tree = ast.parse(Path(pc.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    checked = {"__version__": version("pocketcrafter")}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            scope: dict[str, Any] = {}
            exec(compile(ast.Module([node], []), pc.__file__, "exec"), scope)  # noqa: S102 - our own source
            checked |= {alias.asname or alias.name: scope[alias.asname or alias.name] for alias in node.names}
    assert checked == {name: getattr(pc, name) for name in pc.__all__}


def test_the_guides_examples_run(
    whole_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    (tmp_path / "build").mkdir()
    (tmp_path / "build/default.pcbundle").symlink_to(whole_bundle)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) > 5
    scope: dict[str, Any] = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"{GUIDE.name}, example {number}", "exec"), scope)  # noqa: S102 - our own words
    told = capsys.readouterr().out
    assert "EV" in told
    assert "missing.jpg: there is no such file" in told
    assert {"enhanced.jpg", "enhanced.png", "mirrored.jpg", "plan.json"} <= {path.name for path in tmp_path.iterdir()}
