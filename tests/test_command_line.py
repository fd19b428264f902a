"""The whole tree of commands: cheap help, whole summaries, examples, JSON, and one meaning for each option."""

import ast
import json
import re
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import click
import pytest

from pocketcrafter.benchmarks.common.names import PICTURES, TRIED
from pocketcrafter.export.distill.qat import QAT_TASKS
from pocketcrafter.export.names import QAT_COMPONENTS
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.cli.group import root
from pocketcrafter.runtime.cli.options import OutputFile, OutputFolder
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.pocket import Pocket

HEAVY = ("torch", "torchao", "onnx", "onnxruntime", "executorch", "coremltools", "transformers", "diffusers", "cv2")
HEAVY += ("skimage", "scipy", "PIL", "matplotlib", "jinja2", "tokenizers", "safetensors", "yaml")
MOST_CPU_SECONDS = 0.5
MEANINGS = {
    "--against": "what it is compared with",
    "--backend": "what runs the networks",
    "--bits": "bits of a weight",
    "--brisque": "whether BRISQUE is measured",
    "--bundle": "the bundle whose networks run",
    "--component": "only this network",
    "--count": "how many of a kind",
    "--data": "folder that `data prepare` made",
    "--device": "what kind of processor computes",
    "--euler-steps": "how many steps of a flow",
    "--frames": "how many frames",
    "--gallery": "folder of the sheet of worst frames",
    "--jobs": "how many processes at a time",
    "--journal": "file of measurements to go on from",
    "--json": "print JSON",
    "--layers": "how many layers of a network",
    "--layout": "whose layout a teacher's folder has",
    "--kind": "only these frames",
    "--most-photos": "how many photos of the split",
    "--out": "where the result goes",
    "--per-photo": "how many frames of a photo",
    "--photos": "photos to use: files, folders, patterns",
    "--plot": "file of a drawing",
    "--precision": "of weights and activations",
    "--rate": "learning rate",
    "--recipe": "a recipe's file",
    "--reference": "a pair's record by `reference record`",
    "--repeats": "how often each is measured",
    "--run": "folder of training runs",
    "--samples": "how many calibration samples",
    "--seed": "what is drawn from",
    "--side": "side of pictures in pixels",
    "--sheet": "file of a contact sheet",
    "--start": "weights that training starts from",
    "--steps": "how many optimizer steps",
    "--store": "whether results go into the bundle",
    "--studio": "train the studio's network",
    "--target": "a target of the bundle or recipe",
    "--teacher": "what is learnt from",
    "--teacher-steps": "steps that a teacher's artist takes",
    "--threads": "how many threads",
    "--top": "how many rows to print",
    "--trace": "file of a trace for a viewer",
    "--weights": "folder of full-precision weights",
}
"""What options mean that several commands explain in words of their own: a new use of a name must mean the same."""

REPOSITORY = Path(__file__).parents[1]
SPOKEN = re.compile(r"(?<![/.\w-])pocketcrafter(?P<words>(?: +[a-z][a-z0-9-]*)+)(?P<rest>(?:(?![`;:\n]|[.,] ).)*)")
OPTION = re.compile(r"(?<![\w(-])--[a-z][a-z-]*(?![\w-]*\))")
PROSE = ("is", "of", "does", "and")
"""Words that follow the product's name in a sentence."""
OTHERS_OPTIONS = {
    "--no-python": "torchrun --nproc-per-node",
    "--nproc-per-node": "torchrun --nproc-per-node",
    "--api": "qai-hub configure --api_token",
    "--compress-algo": "rcc --compress-algo",
    "--force-reinstall": "--force-reinstall",
}
"""Options of other people's programs that messages name, and what they stand in."""


def walk(command: click.Command, context: click.Context, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            nested = command.get_command(context, name)
            assert nested is not None
            yield from walk(nested, click.Context(nested, parent=context, info_name=name), (*path, name))


def find(path: tuple[str, ...]) -> click.Command:
    command, context = root, click.Context(root, info_name="pocketcrafter")
    for name in path:
        assert isinstance(command, click.Group)
        nested = command.get_command(context, name)
        assert nested is not None
        command, context = nested, click.Context(nested, parent=context, info_name=name)
    return command


PATHS = tuple(walk(root, click.Context(root, info_name="pocketcrafter")))
COMMANDS = tuple(path for path in PATHS if not isinstance(find(path), click.Group))
GROUPS = tuple(path for path in PATHS if path not in COMMANDS)


def options(path: tuple[str, ...]) -> dict[str, click.Option]:
    return {p.opts[-1]: p for p in find(path).params if isinstance(p, click.Option)}


def kind(option: click.Option) -> str:
    """What sort of value an option takes."""
    if option.is_flag:
        return "flag"
    numbers = (click.IntRange, click.FloatRange, type(click.INT), type(click.FLOAT))
    if isinstance(option.type, numbers):
        return "number"
    return "path" if isinstance(option.type, click.Path) else "name"


def test_there_are_the_commands_that_we_know() -> None:
    assert {("enhance",), ("build",), ("bench", "quality"), ("train", "critic"), ("device", "farm")} <= set(COMMANDS)
    names = ("bench", "bench real-size", "quantize", "reference", "train", "distill", "data", "device", "teacher")
    assert {(), *(tuple(name.split()) for name in names)} == set(GROUPS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_is_cheap_quiet_and_has_an_example(path: tuple[str, ...]) -> None:
    script = (
        "import sys; from pocketcrafter.runtime.cli import run; code = run(sys.argv[1:]); "
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script, *path, "--help"], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= MOST_CPU_SECONDS
    assert f" pocketcrafter {' '.join(path)}" in done.stdout.split("Example")[1]


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_summaries_are_whole(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for command in (other for other in PATHS if other[:-1] == path and other):
        first = " ".join((find(command).help or "").split("\n\n")[0].split())
        summary = first.partition(". ")[0].removesuffix(".")
        assert f"{command[-1]} {summary}" in told
        assert not summary.endswith("...")


def test_the_commands_stand_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    places = [told.index(words) for words in ("Use a bundle:", "  enhance ", "Build one:", "  build ", "Measure it:")]
    places += [told.index(words) for words in ("  bench ", "Train networks:", "  train ")]
    assert places == sorted(places)
    assert "Others:" not in told


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_prints_json_and_shows_libraries_on_demand(path: tuple[str, ...]) -> None:
    assert {"--json", "--verbose"} <= options(path).keys()
    assert options(path)["--json"].name == "as_json"


def test_an_option_takes_one_kind_of_value_wherever_it_stands() -> None:
    kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in COMMANDS:
        for name, option in options(path).items():
            kinds[name][kind(option)].append(" ".join(path))
    assert {name: dict(found) for name, found in kinds.items() if len(found) > 1} == {}


def test_an_option_that_is_explained_in_several_ways_has_one_meaning_that_is_written_down() -> None:
    helps: dict[str, set[str | None]] = defaultdict(set)
    for path in COMMANDS:
        for name, option in options(path).items():
            helps[name].add(option.help)
    assert {name for name, found in helps.items() if len(found) > 1} - MEANINGS.keys() == set()
    assert [name for name in MEANINGS if name not in helps] == []


def test_names_that_help_offers_are_those_of_the_networks() -> None:
    assert set(TRIED) == set(Pocket) - {Pocket.COMPOSITION, Pocket.JUDGE}
    assert set(PICTURES) == set(TRIED) - {Pocket.DECODER}
    assert set(QAT_COMPONENTS) == set(QAT_TASKS)


def test_what_is_written_is_not_called_otherwise() -> None:
    """But for photos, whose format goes by the name."""
    outputs = {path: options(path)["--out"].type for path in COMMANDS if "--out" in options(path)}
    assert outputs.pop(("enhance",)).name == "path"
    assert len(outputs) > 8
    for path, kind_of in outputs.items():
        assert isinstance(kind_of, OutputFile | OutputFolder), path
        with pytest.raises(click.BadParameter, match=r"x\.docx"):
            kind_of.convert("x.docx", None, None)
        kind_of.convert("x", None, None)


def messages() -> Iterator[tuple[str, str]]:
    """Yield every text of several words in the source, and where it stands; formatted values are left out."""
    folders = ("runtime_py", "quantize", "export", "benchmarks")
    for path in sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            if " " in text.strip():
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", text


def documents() -> Iterator[tuple[str, str]]:
    """Yield the code of every document: what stands in backticks, line by line."""
    paths = (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *REPOSITORY.glob("*/README.md"))
    for path in sorted(path for path in paths if path.name != "CHANGELOG.md"):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
        for line in (*(line for block in blocks for line in block.splitlines()), *spans):
            yield path.name, line


def strange(text: str) -> list[str]:
    """Return the commands that a text names and that are not there, and options that those which are there lack."""
    found = []
    for named in SPOKEN.finditer(text):
        command, context, path = root, click.Context(root), ()
        for word in named["words"].split():
            nested = command.get_command(context, word) if isinstance(command, click.Group) else None
            if nested is None:
                break
            command, path = nested, (*path, word)
        if isinstance(command, click.Group) and (path or named["words"].split()[0] not in PROSE):
            if path != tuple(named["words"].split()):
                found.append(named[0])
        elif path:
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            found += [named[0] for option in OPTION.findall(named["rest"]) if option not in {*known, "--help"}]
    return found


def test_messages_and_documents_name_commands_that_there_are_with_options_that_these_have() -> None:
    told = [(where, wrong) for texts in (messages(), documents()) for where, text in texts for wrong in strange(text)]
    assert told == []


def test_options_that_messages_name_are_some_commands() -> None:
    known = {name for path in PATHS for parameter in find(path).params for name in parameter.opts}
    known |= {name for path in PATHS for parameter in find(path).params for name in parameter.secondary_opts}
    told = [
        (where, option)
        for where, text in messages()
        for option in OPTION.findall(text)
        if option not in {*known, "--help", "--version"} and OTHERS_OPTIONS.get(option, "\0") not in text
    ]
    assert told == []


def test_what_is_written_has_a_short_name_too() -> None:
    shorts = {path: find(path).params for path in COMMANDS if "--out" in options(path)}
    for path, params in shorts.items():
        assert any({"-o", "--out"} <= set(parameter.opts) for parameter in params), path


def test_a_bundle_is_an_argument_but_where_photos_are() -> None:
    """`inspect BUNDLE`, and `enhance PHOTO --bundle BUNDLE`: one way each."""
    arguments = {path: [p.name for p in find(path).params if isinstance(p, click.Argument)] for path in COMMANDS}
    by_option = {path for path in COMMANDS if "--bundle" in options(path)}
    assert by_option == {path for path in by_option if "bundle" not in arguments[path]}
    assert {("enhance",), ("critique",)} <= by_option
    for path in by_option - {("export-vectors",)}:
        assert arguments[path] == ["photos"], path


def test_every_option_is_explained() -> None:
    silent = [(path, name) for path in COMMANDS for name, option in options(path).items() if not option.help]
    assert silent == []


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["enhanse"], "enhance"),
        (["bench", "qualty"], "quality"),
        (["enhance", "x.jpg", "--stregth", "1"], "--strength"),
        (["build", "--target", "coreml:ios81"], "coreml:ios18"),
        (["critique", "x.jpg", "--prose", "shrt"], "short"),
        (["quantize", "sensitivity", "restor"], "restore"),
    ],
)
def test_what_is_misspelt_is_guessed(words: list[str], near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    suggested = capsys.readouterr().err.partition("Did you mean")[2]
    assert f"'{near}'" in suggested


@pytest.mark.parametrize("words", ["inspect", "bench budget"])
def test_an_option_that_is_an_argument_elsewhere_leads_to_it(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands on photos take `--bundle`; those on bundles take the bundle."""
    assert run([*words.split(), "--bundle", "x.pcbundle"]) == 2
    assert f"give the path alone, pocketcrafter {words} BUNDLE" in capsys.readouterr().err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_misused_command_answers_in_json_where_that_is_asked_for(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--json", "--no-such-option"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": ANY, "kind": "NoSuchOption"}
    assert json.loads(told.out)["error"] in told.err


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("inspect {}", "BundleError"),
        ("split {} --out {}/parts", "BundleError"),
        ("critique photo.jpg --bundle {}", "BundleError"),
        ("shippable {}/none", "BadParameter"),
        ("build {} --target onnx --dry-run", "CheckpointError"),
        ("teacher inspect {}", "CheckpointError"),
        ("bench budget {}", "BundleError"),
        ("bench proofs {}", "BundleError"),
        ("report {} --out {}/report.html", "BundleError"),
    ],
)
def test_a_failed_command_answers_in_json_where_that_is_asked_for(
    words: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words.format(tmp_path, tmp_path).split(), "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": ANY, "kind": kind}
    assert json.loads(told.out)["error"] in told.err


def test_a_missed_gate_adds_nothing_to_the_document_that_was_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def miss(*, as_json: bool) -> None:
        click.echo(json.dumps({"measured": as_json}))
        raise GateError("too little")

    monkeypatch.setattr(find(("doctor",)), "callback", miss)
    assert run(["doctor", "--json"]) == 1
    told = capsys.readouterr()
    assert (json.loads(told.out), told.err) == ({"measured": True}, "error: too little\n")
