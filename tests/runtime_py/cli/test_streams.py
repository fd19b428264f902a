"""Standard output as it is: full, closed, of another encoding; and file names as they are."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

DARK = (skimage.data.astronaut()[:96, :128] // 3).astype(np.uint8)
NO_UTF8 = os.fsdecode(b"caf\xe9.jpg")
NAMES = ["a.jpg", NO_UTF8, "\N{CYRILLIC SMALL LETTER ZHE}.jpg", "\N{SUNRISE}.jpg"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(DARK).save(folder / "made.jpg")
        (folder / "made.jpg").rename(folder / name)
    return folder


def command(*arguments: object) -> list[str]:
    code = "from pocketcrafter.runtime.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def enhance(bundle: Path, *arguments: object, encoding: str = "", **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | ({"PYTHONIOENCODING": encoding} if encoding else {})
    whole = command("enhance", "--bundle", bundle, *arguments)
    options = {"stdout": subprocess.PIPE} | options
    return subprocess.run(whole, env=environment, stderr=subprocess.PIPE, check=False, **options)  # noqa: S603


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252:strict", "latin-1:strict"])
def test_names_of_any_letters_come_through_as_words_and_as_json(encoding: str, photos: Path, bundle: Path) -> None:
    done = enhance(bundle, photos, "-o", photos / "out", "--sheet", photos / "out/sheet.png", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == len(NAMES) + 1
    done = enhance(bundle, photos, "-o", photos / "out", "--json", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    told = json.loads(done.stdout)["photos"]
    assert {os.path.basename(photo["photo"]) for photo in told} == set(NAMES)  # noqa: PTH119
    assert {p.name for p in (photos / "out").iterdir()} == {*NAMES, "sheet.png"}


def test_a_full_output_is_an_error_in_words(photos: Path, bundle: Path) -> None:
    for more in ((), ("--json",)):
        with Path("/dev/full").open("wb") as full:
            done = enhance(bundle, photos, "-o", photos / "out", *more, stdout=full)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: standard output: the disk is full: ")
        assert len(done.stderr.splitlines()) == 1
    assert len(list((photos / "out").iterdir())) == len(NAMES)


def test_help_that_cannot_be_printed_is_no_success() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command("--help"), stdout=full, stderr=subprocess.PIPE, check=False)  # noqa: S603
    assert (done.returncode, done.stderr[:22]) == (2, b"error: standard output")


def test_a_reader_that_leaves_ends_it_without_a_word(photos: Path, bundle: Path) -> None:
    process = subprocess.Popen(  # noqa: S603
        command("enhance", "--bundle", bundle, photos, "-o", photos / "out"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_output_and_errors_that_were_closed_or_full_stop_nothing(photos: Path, bundle: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no photo")
    whole = " ".join(f"'{part}'" for part in command("enhance", "--bundle", bundle, photos, "-o", photos / "out"))
    for redirection in (">&-", "2>/dev/full", "2>&-"):
        done = subprocess.run(["sh", "-c", f"{whole} {redirection}"], capture_output=True, check=False)  # noqa: S603, S607
        assert done.returncode == 2
        assert len(list((photos / "out").iterdir())) == len(NAMES)


def test_what_was_done_is_told_as_json_whatever_ends_the_run(photos: Path, bundle: Path) -> None:
    """The sheet is a folder; the photos are there by then, and so are their results."""
    (photos / "sheet.png").mkdir()
    (photos / "sheet.png/inside").touch()
    done = enhance(bundle, photos, "-o", photos / "out", "--sheet", photos / "sheet.png", "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert [photo["words"] != "" for photo in told["photos"]] == [True] * len(NAMES)
    assert "sheet.png: cannot be written" in told["error"]
    assert b"Traceback" not in done.stderr


def test_photos_that_do_not_fit_are_named_and_the_others_are_there(photos: Path, bundle: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 90, (400, 400, 3), np.uint8)).save(photos / "b.jpg")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = enhance(bundle, photos, "-o", photos / "out", "--json", preexec_fn=limit)
    assert done.returncode == 2
    failed = [photo for photo in json.loads(done.stdout)["photos"] if "error" in photo]
    assert [Path(photo["photo"]).name for photo in failed] == ["b.jpg"]
    assert "bytes needed" in failed[0]["error"]
    assert {p.name for p in (photos / "out").iterdir()} == set(NAMES)


def test_a_link_to_itself_is_told(photos: Path, bundle: Path) -> None:
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    assert enhance(bundle, photos, "-o", photos / "out").returncode == 0
    done = enhance(bundle, photos / "loop.jpg", photos / "a.jpg", "-o", photos / "out")
    assert done.returncode == 2
    assert b"loop.jpg: there is no such file" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_library_that_finds_no_temporary_folder_is_told_what_to_do() -> None:
    """PyTorch asks for one in the middle of a training."""
    asked = (
        "import resource, sys, tempfile\n"
        "from pocketcrafter.runtime.cli import root, run\n"
        "root.main = lambda **_: tempfile.gettempdir()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "sys.exit(run([]))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 2
    assert b"error: No usable temporary directory found in ['/tmp'" in done.stderr
    assert b"TMPDIR" in done.stderr
    assert b"Traceback" not in done.stderr
