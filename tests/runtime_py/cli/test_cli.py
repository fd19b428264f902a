"""The command line as a person and as a script meet it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.cli import group, inputs
from pocketcrafter.runtime.errors import PhotoError

DARK = (skimage.data.astronaut()[:256, :384] // 3).astype(np.uint8)
MID = np.clip(skimage.data.astronaut()[:200, :200].astype(int) // 4 + 100, 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a dark photo and one that is fine; the working directory is its parent."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(DARK).save(folder / "dark.jpg", quality=95)
    Image.fromarray(MID + np.uint8(128 - MID.mean())).save(folder / "fine.png")
    monkeypatch.chdir(tmp_path)
    return folder


def enhance(bundle: Path, *arguments: object) -> int:
    return cli.run(["enhance", "--bundle", str(bundle), *map(str, arguments)])


def test_a_dark_photo_comes_out_brighter_beside_its_source(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos / "dark.jpg") == 0
    out = np.asarray(Image.open(photos / "dark.enhanced.jpg"))
    assert out.shape == DARK.shape
    assert out.mean() > DARK.mean() * 1.3


def test_a_photo_that_needs_nothing_is_copied_byte_for_byte(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos / "fine.png") == 0
    assert (photos / "fine.enhanced.png").read_bytes() == (photos / "fine.png").read_bytes()


def test_what_a_format_cannot_hold_is_told_once_and_in_json(
    photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.dstack([DARK, DARK[..., 0]])).save(photos / "clear.png")
    assert enhance(bundle, photos / "clear.png", "-o", photos / "clear.jpg") == 0
    assert "\n  note: JPEG holds no transparency: it was laid over white.\n" in capsys.readouterr().out
    assert enhance(bundle, photos / "clear.png", photos / "dark.jpg", "-o", photos / "out", "--json") == 0
    clear, dark = json.loads(capsys.readouterr().out)["photos"]
    assert clear["notes"] == dark["notes"] == []
    assert enhance(bundle, photos / "clear.png", "-o", photos / "clear.jpg", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["photos"][0]["notes"]) == 1


def test_what_stood_beside_the_pixels_is_told_only_where_the_file_is_a_new_one(
    photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = b"\x00\x00\x00\x18ftypmp42" + bytes(40)
    for name in ("dark.jpg", "fine.jpg"):
        Image.fromarray(DARK if name == "dark.jpg" else MID).save(photos / name, comment=b"a comment")
        (photos / name).write_bytes((photos / name).read_bytes() + video)
    assert enhance(bundle, photos / "dark.jpg", "-o", photos / "dark.webp") == 0
    assert "\n  note: Left out: motion video, JPEG comment.\n" in capsys.readouterr().out
    assert enhance(bundle, photos / "dark.jpg", photos / "fine.jpg", "--strength", "0", "--json") == 0
    assert [photo["notes"] for photo in json.loads(capsys.readouterr().out)["photos"]] == [[], []]
    assert (photos / "dark.enhanced.jpg").read_bytes().endswith(video)


def test_strength_zero_copies_everything(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos / "dark.jpg", "--strength", 0) == 0
    assert (photos / "dark.enhanced.jpg").read_bytes() == (photos / "dark.jpg").read_bytes()


def test_a_folder_gives_a_folder_and_json_tells_all(
    photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enhance(bundle, photos, "-o", photos / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    dark, fine = told["photos"]
    assert sorted(p.name for p in (photos / "out").iterdir()) == ["dark.jpg", "fine.png"]
    assert dark["plan"]["exposure_ev"] > 0.5
    assert "EV" in dark["words"]
    assert fine["words"] == "left as it is"
    assert {"decode", "critique", "encode"} <= set(dark["seconds"])


def test_a_second_run_over_the_folder_skips_the_first_ones_results(photos: Path, bundle: Path) -> None:
    for _ in range(2):
        assert enhance(bundle, photos) == 0
    assert len(list(photos.iterdir())) == 4


def test_globs_are_expanded_and_a_photo_named_twice_is_done_once(
    photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enhance(bundle, photos / "*.jpg", photos / "dark.jpg", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["photos"]) == 1


def test_one_bad_file_does_not_stop_the_others(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "broken.jpg").write_text("no photo")
    assert enhance(bundle, photos / "broken.jpg", photos / "none.jpg", photos / "*.gif", photos / "dark.jpg") == 2
    assert (photos / "dark.enhanced.jpg").exists()
    errors = capsys.readouterr().err
    assert "broken.jpg: not a JPEG" in errors
    assert "none.jpg: there is no such file" in errors
    assert "*.gif: no photo there" in errors
    assert "Traceback" not in errors


def test_a_photo_with_a_wrong_suffix_gets_the_right_one(photos: Path, bundle: Path) -> None:
    (photos / "dark.jpg").rename(photos / "dark.dat")
    assert enhance(bundle, photos / "dark.dat") == 0
    assert Image.open(photos / "dark.enhanced.jpg").format == "JPEG"


def test_the_suffix_of_o_chooses_the_format(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos / "dark.jpg", "-o", photos / "new.webp") == 0
    assert Image.open(photos / "new.webp").format == "WEBP"


def test_an_input_is_never_overwritten(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (photos / "dark.jpg").read_bytes()
    (photos / "link.jpg").symlink_to(photos / "dark.jpg")
    (photos / "hard.jpg").hardlink_to(photos / "dark.jpg")
    for target in (
        photos,
        photos / "dark.jpg",
        photos / "link.jpg",
        photos / "hard.jpg",
        photos / "../photos/dark.jpg",
    ):
        assert enhance(bundle, photos / "dark.jpg", "-o", target) == 2
    assert enhance(bundle, photos / "dark.jpg", "--sheet", photos / "dark.jpg") == 2
    assert (photos / "dark.jpg").read_bytes() == before
    assert "never overwritten" in capsys.readouterr().err


def test_a_result_in_a_format_that_is_not_written_is_refused(
    photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["-o", "x.gif"], ["--geometry", "--overlay", "x.tiff"], ["-o", "x.jpgg"]):
        assert enhance(bundle, photos / "dark.jpg", *words) == 2
        told = capsys.readouterr().err
        assert f"{words[-1]}: .{words[-1].partition('.')[2]} files are not written here" in told
        assert ".jpg, .jpeg, .jpe, .jfif, .png, .webp, .heic" in told
        assert not Path(words[-1]).exists()
    Path("x.gif").mkdir()
    for folder in ("x.gif", "2024.06", "results.v2"):
        assert enhance(bundle, photos / "dark.jpg", "-o", folder) == 0
        assert Path(folder, "dark.jpg").exists()


@pytest.mark.usefixtures("photos")
def test_parts_go_into_a_folder_not_into_a_file(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["split", str(bundle), "--out", "parts.zip"]) == 2
    assert "parts.zip is called like a file" in capsys.readouterr().err
    assert not Path("parts.zip").exists()


def test_a_bundle_that_is_not_there_is_bad_input(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--bundle", "nope"], []):
        assert cli.run(["enhance", str(photos / "dark.jpg"), *words]) == 2
        assert "pocketcrafter build" in capsys.readouterr().err


def test_two_results_of_one_name_are_refused(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "more").mkdir()
    Image.fromarray(DARK).save(photos / "more/dark.jpg")
    assert enhance(bundle, photos / "dark.jpg", photos / "more", "-o", photos / "out") == 2
    assert "already has this name" in capsys.readouterr().err


def test_one_output_file_for_two_photos_is_a_usage_error(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos, "-o", photos / "one.jpg") == 2
    assert not (photos / "one.jpg").exists()


def test_a_folder_that_cannot_be_made_is_told(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enhance(bundle, photos / "dark.jpg", "-o", photos / "fine.png" / "out") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_sheets_are_paged_and_named(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        Image.fromarray(DARK[::8, ::8]).save(photos / f"small{number}.png")
    assert enhance(bundle, photos, "-o", photos / "out", "--sheet", photos / "sheet.jpg", "--json") == 0
    pages = [str(photos / "sheet.jpg"), str(photos / "sheet-2.jpg")]
    assert json.loads(capsys.readouterr().out)["sheet"] == pages
    sizes = [Image.open(page).size for page in pages]
    assert sizes[0][1] > sizes[1][1] > 200


def test_a_sheet_shows_before_left_and_after_right(photos: Path, bundle: Path) -> None:
    assert enhance(bundle, photos / "dark.jpg", "--sheet", photos / "sheet.png") == 0
    page = np.asarray(Image.open(photos / "sheet.png").convert("L")).astype(float)
    height, width = page.shape
    left, right = page[60 : height // 2, 60 : width // 2 - 60], page[60 : height // 2, width // 2 + 60 : -60]
    assert right.mean() > left.mean() * 1.2


def test_critique_in_words_and_json(photos: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["critique", str(photos), "--bundle", str(bundle)]) == 0
    words = capsys.readouterr().out
    assert "score 1" in words
    assert "EV" in words
    assert "aesthetic        not assessed" in words
    assert cli.run(["critique", str(photos), "--bundle", str(bundle), "--json"]) == 0
    dark = json.loads(capsys.readouterr().out)["photos"][0]
    assert dark["critique"]["findings"]["exposure"] > 0.2
    assert dark["critique"]["findings"]["creativity"] == "not_assessed"


def test_critique_of_a_bad_file_exits_with_2(photos: Path, bundle: Path) -> None:
    (photos / "empty.jpg").touch()
    assert cli.run(["critique", str(photos), "--bundle", str(bundle)]) == 2


@pytest.mark.usefixtures("photos")
def test_without_a_bundle_the_build_command_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["critique", "photos/dark.jpg"]) == 2
    assert "pocketcrafter build" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["enhance", "critique", "inspect", "verify", "split", "doctor"])
def test_every_command_shows_an_example_on_a_line_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert f"\n    pocketcrafter {command}" in capsys.readouterr().out


def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["enhance"]) == 2
    assert cli.run(["enhance", "x.jpg", "--strength", "9"]) == 2
    assert cli.run(["nonsense"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_whose_packages_are_missing_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = EntryPoint("simulate", "pocketcrafter.not_there:command [train]", group.ENTRY_POINTS)
    monkeypatch.setattr(group, "entry_points", lambda **_: [entry])
    assert cli.run(["--help"]) == 0
    assert "simulate" in capsys.readouterr().out
    assert cli.run(["simulate", "--fast", "x"]) == 2
    assert "pip install 'pocketcrafter[train]'" in capsys.readouterr().err


def test_a_command_of_a_lazy_group_says_so_too() -> None:
    class Gone(group.LazyGroup):
        lazy = {"fast": "pocketcrafter.not_there:command"}  # noqa: RUF012 - nothing changes it

    shown = CliRunner().invoke(Gone("simulate"), ["--help"])
    assert "fast" in shown.stdout
    refused = CliRunner().invoke(Gone("simulate"), ["fast", "--much"])
    assert refused.exit_code == 2
    assert "`simulate fast` needs packages" in refused.stderr
    assert "pip install 'pocketcrafter[build]'" in refused.stderr


def test_a_registered_command_is_loaded_only_when_asked_for(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    entry = EntryPoint("zen", "this:command", group.ENTRY_POINTS)
    monkeypatch.setattr(group, "entry_points", lambda **_: [entry])
    assert cli.run(["inspect", str(bundle), "--json"]) == 0
    assert "this" not in sys.modules


def test_the_list_of_commands_is_shown_without_importing_what_they_work_with() -> None:
    code = (
        "import sys; from pocketcrafter.runtime import cli; cli.run(['--help']); "
        "sys.exit(sum(m in sys.modules for m in ('torch', 'onnx', 'cv2', 'skimage', 'scipy', 'yaml')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0
    for command in ("enhance Enhance", "bench Measure", "build Quantize", "train Train"):
        assert command in " ".join(done.stdout.split())


def test_runtime_commands_do_not_import_torch(photos: Path, bundle: Path) -> None:
    code = (
        "import sys; from pocketcrafter.runtime import cli; "
        f"cli.run(['enhance', {str(photos / 'dark.jpg')!r}, '--bundle', {str(bundle)!r}]); "
        "sys.exit(sum(m in sys.modules for m in ('torch', 'onnx', 'cv2', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_an_interrupt_exits_with_130_and_leaves_nothing_half_written(photos: Path, bundle: Path) -> None:
    big = np.random.default_rng(0).integers(0, 60, (1800, 2400, 3), dtype=np.uint8)
    Image.fromarray(big).save(photos / "big.png", compress_level=0)
    arguments = ["pocketcrafter", "enhance", "--bundle", str(bundle), "-o", str(photos / "out")]
    arguments += [str(photos / "dark.jpg"), str(photos / "big.png")]
    # A run in a shell's background ignores interrupts, and its children inherit that.
    code = f"""
import signal, sys
from pocketcrafter.runtime.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = {arguments!r}
main()
"""
    process = subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert [p.name for p in (photos / "out").iterdir()] == ["dark.jpg"]
    assert Image.open(photos / "out/dark.jpg").convert("RGB").size == DARK.shape[1::-1]


@pytest.mark.parametrize("name", ["a.jpg", "b.JPG", "c.heic", "d.webp", "e.png", "f.jfif", "g.jpe", "h.hif", "i.avif"])
def test_folders_are_read_by_suffix(name: str, tmp_path: Path) -> None:
    for other in (name, "notes.txt", "old.enhanced.jpg", f"._{name}", f".{name}"):
        (tmp_path / other).touch()
    assert inputs.find_photos([str(tmp_path)]) == ([tmp_path / name], [])


def test_a_flipped_bit_in_a_network_ends_the_run_before_anything_is_written(
    photos: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.pcbundle"
    shutil.copytree(bundle, damaged)
    victim = damaged / "targets/onnx/critic.onnx"
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    before = sorted(photos.iterdir())
    assert enhance(damaged, photos / "dark.jpg") == 2
    told = capsys.readouterr().err
    assert "`targets/onnx/critic.onnx` was changed" in told
    assert "Copy the bundle again" in told
    assert sorted(photos.iterdir()) == before


def test_thousands_of_names_are_told_apart_in_seconds(tmp_path: Path) -> None:
    """Compared pairwise, these took minutes."""
    photos = [tmp_path / f"{number}.jpg" for number in range(3000)]
    results = [tmp_path / f"{number}.enhanced.jpg" for number in range(3000)]
    for path in (*photos, *results):
        path.touch()
    started = time.perf_counter()
    names = inputs.Names(inputs.find_photos([str(tmp_path)])[0])
    for result in results:
        names.claim(result)
    assert time.perf_counter() - started < 5
    with pytest.raises(PhotoError, match="never overwritten"):
        names.claim(photos[7])
    (tmp_path / "link.jpg").hardlink_to(results[7])
    with pytest.raises(PhotoError, match="already has this name"):
        names.claim(tmp_path / "link.jpg")
