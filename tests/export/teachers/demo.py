"""The walk-through of docs/camera-team.md on networks that this machine can run: `make teacher-demo`.

A tiny random SmartPhotoCrafter in its released layout goes from its folder to a pair's bundle, and by its labels to the
default pair's. Then the shipped `latent-studio`, which has been trained, becomes a pair of one step with a distilled
critic. Each bundle is held against its libraries' own record. Random weights show that it works, and nothing else.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))

from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime import cli

ROOT = Path(__file__).parents[3]
TWIN = ("--side", "96", "--teacher-steps", "3", "--longest-answer", "8")
"""Sizes of the tiny teacher's labels: a release's own would take hours on a CPU."""
ANSWER = 8
SIDE = 64


class DemoError(Exception):
    """A command did not end well."""


def tiny_teacher(folder: Path) -> Path:
    """Write SmartPhotoCrafter's folder with random weights; its words' vectors are such that 8 bits hold them exactly.

    A bundle keeps those in 8 bits. Random ones are all equally important, and would lose more than trained ones do.
    """
    import twins  # noqa: PLC0415 - imports torch
    from safetensors.torch import load_file, save_file  # noqa: PLC0415 - likewise

    teacher: Path = twins.smart_photo_crafter(folder)
    weights = teacher / "vlm/model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    steps = (tensors[name].abs().amax(1, keepdim=True) / 127).clamp(min=1e-9)
    tensors[name] = (tensors[name] / steps).round() * steps
    save_file(tensors, weights, {"format": "pt"})
    return teacher


def do(*words: str | Path) -> None:
    """Run one command, and tell it and what it took."""
    said = [str(word) for word in words]
    click.echo(f"\n$ pocketcrafter {' '.join(said)}")
    begun = time.perf_counter()
    if code := cli.run(said):
        raise DemoError(f"exit code {code}: pocketcrafter {' '.join(said)}")
    click.echo(f"[{time.perf_counter() - begun:.0f} s]")


def lay_out_pair(teacher: Path, pair: Path) -> None:
    """Put what `merge` does not make beside what it made: autoencoder, scheduler, and how the pair runs."""
    from diffusers import FlowMatchEulerDiscreteScheduler  # noqa: PLC0415 - slow to import

    shutil.copytree(teacher / "vae", pair / "artist/vae", dirs_exist_ok=True)
    FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    ).save_pretrained(pair / "artist/scheduler")
    index = {
        "_class_name": "QwenImageEditPlusPipeline", "_diffusers_version": "0.39.0",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"], "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }  # fmt: skip
    (pair / "artist/model_index.json").write_text(json.dumps(index))
    said = {
        "prompt": (teacher / "prompt.txt").read_text(), "longest_answer": ANSWER, "critic_side": 56, "side": SIDE,
        "steps": 3,
        "teachers": [{"name": "SmartPhotoCrafter", "license": "CC-BY-NC-SA-4.0", "text": "LICENSE.teacher"}],
    }  # fmt: skip
    (pair / "LICENSE.teacher").write_text("The text of the teacher's licence stands here.\n")
    (pair / "pair.yaml").write_text(json.dumps(said))


def released_to_bundle(teacher: Path, out: Path, photos: Sequence[Path]) -> Path:
    """Take a released folder to a bundle that is proved, and return the bundle."""
    pair, bundle = out / "my-pair", out / "my-pair.pcbundle"
    do("teacher", "inspect", teacher)
    do("teacher", "merge", teacher, "dit", "--out", pair / "artist/transformer")
    do("teacher", "merge", teacher, "vlm", "--out", pair / "critic")
    lay_out_pair(teacher, pair)
    prove(pair, bundle, photos)
    return bundle


def prove(pair: Path, bundle: Path, photos: Sequence[Path]) -> None:
    """Build a pair, and hold the bundle against what its own libraries make of photos."""
    record = bundle.with_suffix(".pcref")
    asked = [word for photo in photos for word in ("--photos", photo)]
    do("reference", "record", pair, *asked, "--side", "256", "--out", record)
    do("build", pair, "--target", "onnx", "--out", bundle, "--stages", bundle.parent / "stages")
    do("bench", "parity", bundle, "--reference", record)


def labels_to_default_pair(teacher: Path, out: Path) -> None:
    """Teach the default pair by a teacher's labels, and build it."""
    photos, labels, taught = ROOT / "tests/photos", out / "labels", out / "taught"
    do("data", "label", "--teacher", teacher, "--photos", photos, *TWIN, "--workers", "1", "--out", labels)
    run = ("--run", out / "runs", "--steps", "20", "--threads", "2")
    do("distill", "from-labels", labels, "--photos", photos, "--out", taught, *run)
    recipe = ("--recipe", taught / "recipe.yaml", "--target", "onnx", "--stages", out / "stages")
    do("build", *recipe, "--out", out / "taught.pcbundle")


def studio_to_phone(out: Path, photos: Sequence[Path]) -> None:
    """Distil the shipped pair's artist to one step and its critic anew, and prove the bundle."""
    studio, data = WEIGHTS / "latent-studio", out / "data"
    kept = ("--source", "darktable", "--source", "liblensfun-data-v1")
    do("data", "prepare", "--out", data, "--photos", ROOT / "tests/photos", *kept)
    shared = ("--data", data, "--run", out / "runs", "--threads", "2", "--steps", "24")
    steps = ("--teacher-steps", "4", "--student-steps", "1", "--trajectories", "16")
    do("distill", "artist", "--teacher", studio, *steps, *shared, "--out", out / "one-step")
    lessons = ("--start", out / "one-step", "--frames", "64")
    do("distill", "critic", "--teacher", out / "one-step", *lessons, *shared, "--out", out / "phone-pair")
    prove(out / "phone-pair", out / "phone-pair.pcbundle", photos)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Folder of all that is made; an earlier one goes.")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    begun, photos = time.perf_counter(), sorted((ROOT / "tests/photos").glob("*.jpg"))[:2]
    teacher = tiny_teacher(out / "SmartPhotoCrafter")
    released_to_bundle(teacher, out, photos)
    labels_to_default_pair(teacher, out)
    studio_to_phone(out, photos)
    click.echo(f"\nAll of it: {time.perf_counter() - begun:.0f} s, in {out}")


if __name__ == "__main__":
    try:
        main()
    except DemoError as error:
        sys.exit(str(error))
