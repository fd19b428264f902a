"""Every reader of what strangers write, on a few hundred mutations each, and the bench that does it for longer."""

import base64
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz import child
from pocketcrafter.benchmarks.fuzz.measure import FuzzReport
from pocketcrafter.benchmarks.fuzz.target import BrokenPromiseError, Target, hold, target_of
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.errors import PhotoError, PocketCrafterError


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed in which some places were overwritten, cut out, repeated or followed by others."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 16))
        piece = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"]))
        content = draw(
            st.sampled_from(
                [
                    content[:at] + piece + content[at + len(piece) :],
                    content[:at] + piece + content[at:],
                    content[:at] + content[at + size :],
                    content[:at] + content[at : at + size] * 3 + content[at + size :],
                    content[: at + 1],
                ]
            )
        )
    return content


@pytest.mark.parametrize("name", Format)
def test_mutations_are_read_or_refused_by_a_typed_error(name: Format) -> None:
    target = target_of(name)
    seeds = target.seeds()

    @settings(max_examples=200, derandomize=True, database=None)
    @given(mutated(seeds))
    def takes(content: bytes) -> None:
        with contextlib.suppress(PocketCrafterError):
            target.read(content)

    takes()


@pytest.mark.parametrize("name", Format)
def test_seeds_are_read(name: Format) -> None:
    target = target_of(name)
    for seed in target.seeds():
        target.read(seed)


def test_a_broken_promise_is_no_typed_error() -> None:
    hold(True, "kept")
    with pytest.raises(BrokenPromiseError, match="not kept"):
        hold(False, "not kept")
    assert not issubclass(BrokenPromiseError, PocketCrafterError)


def test_the_bench_reports_and_exits_with_0_where_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("atheris")
    words = ["bench", "fuzz", "--format", "iptc", "--format", "critique", "--executions", "300", "--json"]
    assert run(words) == 0
    report = FuzzReport.model_validate_json(capsys.readouterr().out)
    assert [(r.format, r.executions) for r in report.results] == [(Format.IPTC, 300), (Format.CRITIQUE, 300)]
    assert all(r.read + r.refused == 300 for r in report.results)
    assert report.results[1].refused > 0


def test_findings_hold_the_input_and_are_told_once_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of a reader that is faulty on purpose."""

    class EndedError(Exception):
        pass

    def faulty(content: bytes) -> None:
        if content.startswith(b"a"):
            raise PhotoError("refused")
        if content.startswith(b"b"):
            raise IndexError(content)

    def end(code: int) -> None:
        raise EndedError(code)

    monkeypatch.setattr(child, "imported_target", lambda _: Target(faulty, lambda: [b"c"]))
    monkeypatch.setattr(child.os, "_exit", end)
    job = child.FuzzJob(format=Format.IPTC, executions=4, seconds=60, seed=1)
    journal = child.Journal(tmp_path, job)
    for content in (b"a", b"b1", b"c"):
        journal.take(content)
    with pytest.raises(EndedError, match="0"):
        journal.take(b"b2")
    result = child.FuzzResult.model_validate_json((tmp_path / child.RESULT).read_bytes())
    assert (result.executions, result.read, result.refused) == (4, 1, 1)
    (finding,) = result.findings
    assert finding.what.startswith("IndexError: ")
    assert "in faulty" in finding.what
    assert base64.b64decode(finding.input_base64) == b"b1"
