"""The commands of ``pocketcrafter distill``."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from tqdm import tqdm

from pocketcrafter.export.names import ARTIST_METHODS, QAT_COMPONENTS, QAT_OF_PAIRS, REWARDS, UPDATES
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.options import (
    CRITIC_BATCH,
    CRITIC_STEPS,
    TrainOptions,
    photos_of,
    train_and_save,
    with_options,
)
from pocketcrafter.runtime.cli.options import OutputFile, OutputFolder, json_option
from pocketcrafter.runtime.errors import ConfigError, GateError

_file = click.Path(dir_okay=False, path_type=Path)
_pair = click.Path(exists=True, file_okay=False, path_type=Path)
_PAIR_STEPS: Final = 8
_PAIR_FRAMES: Final = 512
_SEED: Final = 20
"""The shipped recipe's."""
_COMPARED: Final = 4
_OBSERVED: Final = 8
"""Tiles whose patches GPTQ weighs errors by: each has 65,536 at the finest level."""
_SAME_DB: Final = 60.0
"""Float16, in which weights are stored, rounds other numbers otherwise; more than that is a mistake."""
_teacher = click.option(
    "--teacher",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="The teacher: a file of weights, or the folder of a latent pair.",
)
_student = click.option(
    "--start",
    "student",
    type=click.Path(exists=True, path_type=Path),
    help="What the student starts from, of the teacher's kind.  [default: new weights; of a pair, the teacher's]",
)
_out = click.option("--out", type=OutputFolder(), help="Folder that a latent student is written to.")


@click.command()
@_teacher
@_student
@click.option(
    "--keep-tokens",
    is_flag=True,
    help="Hold the plan tokens to those of --start: tone and decoder, trained to read them, need no new training.",
)
@click.option("--checkpointing", is_flag=True, help="Of a latent pair: compute activations again, to take less memory.")
@click.option(
    "--sharded", is_flag=True, help="Of a latent pair: torchrun's processes share weights out among them (FSDP)."
)
@_out
@with_options
def critic(
    options: TrainOptions,
    *,
    teacher: Path,
    student: Path | None,
    keep_tokens: bool,
    checkpointing: bool,
    sharded: bool,
    out: Path | None,
) -> None:
    r"""Distil a critic: plan, presence and hidden states of a teacher.

    The teacher is a critic's weights, or a latent pair: then the student is a pair with the same artist and a smaller
    vision-language model. It learns the teacher's words, what the artist reads of them, edits and score. Several
    processes share each batch where torchrun starts them.

    \b
    Example:
      pocketcrafter distill critic --teacher runs/studio-critic.safetensors --data data
      torchrun --nproc-per-node 2 --no-python pocketcrafter distill critic --teacher my-pair --start small-pair \\
        --data data --out my-phone-pair
    """
    if teacher.is_dir():
        from pocketcrafter.export.distill.latent.run import CriticLesson, distil_pairs_critic

        if student is None or out is None or keep_tokens:
            raise ConfigError(
                f"{teacher} is a pair: --start names the student's pair, --out where it goes, and --keep-tokens has no "
                "meaning."
            )
        lesson = CriticLesson(teacher=teacher, start=student, checkpointing=checkpointing, sharded=sharded, out=out)
        return distil_pairs_critic(options, lesson)
    if out is not None or checkpointing or sharded:
        raise ConfigError(f"--out, --checkpointing and --sharded are for latent pairs, and {teacher} is a file.")
    return _judgement(options, teacher, student, keep_tokens=keep_tokens)


def _judgement(options: TrainOptions, teacher: Path, student: Path | None, *, keep_tokens: bool) -> None:
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.distill.critic import DistillCriticTask
    from pocketcrafter.export.models import critic_network
    from pocketcrafter.export.models.critic import Critic, Judge
    from pocketcrafter.export.train.critic import CriticTask, judge_store
    from pocketcrafter.export.train.estimates import critic_frames, unseen_frames
    from pocketcrafter.runtime.bundle.integrity import sha256_of
    from pocketcrafter.runtime.pocket import Pocket

    if keep_tokens and student is None:
        raise ConfigError("--keep-tokens: there are no tokens to keep; name the critic that has them with --start.")
    settings, device = options.fit_settings(CRITIC_STEPS, CRITIC_BATCH), options.torch_device()
    teaching = critic_network(teacher)
    model = critic_network(student).requires_grad_(requires_grad=True) if student else Critic()
    if not isinstance(model.judge, Judge):
        raise ConfigError(f"{student}: an ensemble cannot be lowered, so it is no student; start from a single judge.")
    had = critic_frames(options, Split.TRAIN, model.evidence) if keep_tokens else None
    kept = judge_store(model.judge, had).tokens if had is not None else None
    model.evidence = teaching.evidence
    store = unseen_frames(options)
    truth = CriticTask(model.judge, store, settings, device, kept=kept)
    task = DistillCriticTask(truth, judge_store(teaching.judge, store))
    digest = sha256_of(teacher)
    train_and_save(
        Pocket.CRITIC,
        task,
        settings,
        options,
        # Named by its teacher: a checkpoint of another one's student must not be resumed.
        folder=options.run / f"distill-critic-{digest[:8]}",
        convert=lambda _: model,
        facts={"teacher_sha256": digest},
    )


@click.command()
@_teacher
@_student
@click.option(
    "--teacher-steps",
    type=click.IntRange(1, 64),
    help="Steps that the teacher takes.  [default: its own; of a pair, 8]",
)
@click.option("--student-steps", type=click.IntRange(1, 64), default=1, show_default=True, help="Steps of the student.")
@click.option(
    "--trajectories",
    type=click.IntRange(8),
    default=4096,
    show_default=True,
    help="Frames that teacher and student are shown, stored once for students of any steps.",
)
@click.option(
    "--method",
    type=click.Choice(ARTIST_METHODS),
    help="Of a latent pair: along the teacher's trajectories, latent consistency, or matched distributions.  "
    "[default: trajectory]",
)
@click.option(
    "--guidance", type=click.FloatRange(0), help="Of a latent teacher, folded into the student.  [default: 1]"
)
@click.option(
    "--truth",
    type=click.FloatRange(0),
    help="Of a latent pair's trajectories: weight of the clean frames beside the teacher.  [default: 0.5]",
)
@_out
@with_options
def artist(
    options: TrainOptions,
    *,
    teacher: Path,
    student: Path | None,
    teacher_steps: int | None,
    student_steps: int,
    trajectories: int,
    **latent: Any,  # noqa: ANN401 - of options, which click has checked
) -> None:
    r"""Distil an artist: the teacher's many steps in a few.

    The teacher is the restoration network's weights, or a latent pair: its student is a pair again, whose artist runs
    in as few steps at evenly spaced noise levels.

    \b
    Example:
      pocketcrafter distill artist --teacher runs/studio-restore.safetensors --data data
      pocketcrafter distill artist --teacher my-pair --student-steps 2 --method lcm --data data --out my-phone-pair
    """
    if teacher.is_dir():
        from pocketcrafter.export.distill.latent.run import PairLesson, distil_pair

        lesson = PairLesson(
            teacher=teacher,
            start=student or teacher,
            teacher_steps=teacher_steps or _PAIR_STEPS,
            student_steps=student_steps,
            frames=trajectories,
            **{name: value for name, value in latent.items() if value is not None},
        )
        return distil_pair(options, lesson)
    if given := [name for name, value in latent.items() if value is not None]:
        raise ConfigError(f"--{given[0]} is for latent pairs, and {teacher} is a file: name a pair's folder.")
    return _restoration(options, teacher, student, teacher_steps, student_steps, trajectories)


def _restoration(
    options: TrainOptions,
    teacher: Path,
    student: Path | None,
    teacher_steps: int | None,
    student_steps: int,
    trajectories: int,
) -> None:
    from pocketcrafter.export.data.manifest import Split
    from pocketcrafter.export.distill.artist import GROUP, DistillArtistTask, build_trajectories, check_divides
    from pocketcrafter.export.models import restore_network
    from pocketcrafter.export.models.restore import Restore, RestoreConfig
    from pocketcrafter.export.train.restore import Patches
    from pocketcrafter.runtime.bundle.integrity import sha256_of
    from pocketcrafter.runtime.pocket import Pocket

    settings, device = options.fit_settings(steps=2000, batch=16), options.torch_device()
    settings = settings.model_copy(update={"learning_rate": 7e-4})
    model = restore_network(student).in_steps(student_steps) if student else Restore(RestoreConfig(steps=student_steps))
    teaching, digest = restore_network(teacher), sha256_of(teacher)
    teaching = teaching.in_steps(teacher_steps or teaching.config.steps)
    check_divides(teaching.config.steps, student_steps)
    patches = Patches(photos_of(options, Split.TRAIN), options.data)
    groups = -(-trajectories // GROUP)
    with tqdm(total=groups * GROUP, desc="trajectories", unit="patch") as bar:
        folder = options.run / f"trajectories-{teaching.config.steps}-{digest[:8]}"
        stored = build_trajectories(folder, teaching, patches, groups, options.seed, device, bar.update)
    task = DistillArtistTask(model, stored, settings, device)
    folder = options.run / f"distill-restore-{teaching.config.steps}-{student_steps}-{digest[:8]}"
    facts = {"teacher_sha256": digest}
    train_and_save(Pocket.RESTORE, task, settings, options, folder=folder, facts=facts)


@click.command()
@click.argument("network", type=click.Choice([*UPDATES]))
@click.option("--start", type=_pair, required=True, help="Folder of the latent pair, trained already.")
@click.option("--out", type=OutputFolder(), required=True, help="Folder that the aligned pair is written to.")
@click.option(
    "--reward",
    "rewards",
    type=(click.Choice(REWARDS), click.FloatRange(0, min_open=True)),
    multiple=True,
    help="A reward and its weight; repeat it.  [default: all four, each 1]",
)
@click.option(
    "--update",
    type=click.Choice([name for names in UPDATES.values() for name in names]),
    help="A critic learns by grpo; an artist by the gradient of its pictures' rewards (direct: DRaFT), or by their "
    "values (nft: DiffusionNFT).  [default: grpo; direct]",
)
@click.option(
    "--held-out", type=click.IntRange(8), default=200, show_default=True, help="Validation frames that the gain is of."
)
@with_options
def align(
    options: TrainOptions,
    *,
    network: str,
    start: Path,
    out: Path,
    rewards: tuple[tuple[str, float], ...],
    update: str | None,
    held_out: int,
) -> None:
    r"""Align a latent pair by rewards, and measure its gain.

    Rewarded are answers that parse (format), artists that do what answers suggest (executed), pictures near to the
    clean frames (photometric), and scores that order frames as the true ones do (rank). The critic learns by
    group-relative policy optimization, the artist as --update says. The pair is written if held-out frames give more
    reward and their pictures are nearer to the clean ones, both by two standard errors. Exit code 1: they do not; more
    reward with no better pictures is hacking.

    \b
    Example:
      pocketcrafter distill align critic --start my-pair --data data --out my-aligned-pair
      pocketcrafter distill align artist --start my-pair --reward photometric 1 --data data --out my-aligned-pair
    """
    from pocketcrafter.export.distill.latent.alignment import AlignmentLesson, Verdict, align_pair, report_text
    from pocketcrafter.export.distill.latent.rewards import Reward

    weights = {Reward(name): weight for name, weight in rewards or [(name, 1.0) for name in REWARDS]}
    known = UPDATES[network]
    if update not in (None, *known):
        raise ConfigError(f"--update {update}: an alignment of the {network} takes {' or '.join(known)}.")
    lesson = AlignmentLesson(
        network=network, update=update or known[0], start=start, out=out, rewards=weights, held_out=held_out
    )
    report = align_pair(options, lesson)
    click.echo(report.model_dump_json() if options.as_json else report_text(report))
    if report.verdict is not Verdict.GAINED:
        sys.exit(GateError.exit_code)


@click.command()
@click.argument("component", type=click.Choice((*QAT_COMPONENTS, QAT_OF_PAIRS)))
@click.option("--bits", type=click.Choice(["2", "4", "8"]), default="4", show_default=True, help="Of the decoder.")
@click.option("--recipe", type=_file, help="Give each of the decoder's layers the bits that it has in this recipe.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2e-4, show_default=True, help="Learning.")
@click.option("--start", type=_pair, help="Folder of the latent pair whose denoise is trained.")
@click.option("--pair-frames", type=click.IntRange(1), help="Frames that it is trained on.  [default: 512]")
@_out
@with_options
def qat(
    options: TrainOptions,
    *,
    component: str,
    bits: str,
    recipe: Path | None,
    rate: float,
    start: Path | None,
    pair_frames: int | None,
    out: Path | None,
) -> None:
    r"""Quantization-aware distillation from full precision.

    Tone and restoration are rounded as INT8 artifacts are, the decoder's weights to few bits. What comes out is weights
    in the folder of runs, for a recipe to name in the full-precision ones' place; the decoder's are rounded already, so
    that building them changes nothing. A latent pair's denoising network is trained through INT8 likewise, and the pair
    is written again.

    \b
    Example:
      pocketcrafter distill qat decoder --bits 4 --data data --steps 300 --threads 1
      pocketcrafter distill qat denoise --start my-phone-pair --data data --out my-int8-pair
    """
    if component == QAT_OF_PAIRS:
        from pocketcrafter.export.distill.latent.qat import RoundedLesson, train_through_int8

        if start is None or out is None or recipe is not None:
            raise ConfigError(
                "denoise is trained through INT8: --start names its pair, --out where it goes; no --recipe."
            )
        frames = pair_frames or _PAIR_FRAMES
        return train_through_int8(options, RoundedLesson(start=start, frames=frames, rate=rate, out=out))
    if start is not None or out is not None or pair_frames is not None:
        raise ConfigError(f"--start, --pair-frames and --out are for denoise, of latent pairs, not for {component}.")
    return _rounded(options, component, bits, recipe, rate)


def _rounded(options: TrainOptions, component: str, bits: str, recipe: Path | None, rate: float) -> None:
    from pocketcrafter.export.distill.qat import QAT_TASKS, weight_scheme
    from pocketcrafter.export.models import weights_facts
    from pocketcrafter.quantize.config import WeightOnly
    from pocketcrafter.runtime.bundle.integrity import sha256_of
    from pocketcrafter.runtime.pocket import Pocket

    settings = options.fit_settings(steps=300, batch=8).model_copy(update={"learning_rate": rate})
    name = component
    if recipe is not None and name != Pocket.DECODER:
        raise ConfigError(f"--recipe says how the decoder's weights are rounded; the {name} is trained through INT8.")
    wanted = WeightOnly.model_validate({"bits": int(bits)}) if recipe is None else weight_scheme(recipe)
    precision = "int8" if name != Pocket.DECODER else f"int{wanted.bits}" if recipe is None else recipe.stem
    source = options.weights / f"{name}.safetensors"
    task, convert = QAT_TASKS[name](options, settings, wanted)
    digest = sha256_of(source)
    train_and_save(
        name,
        task,
        settings,
        options,
        folder=options.run / f"qat-{name}-{precision}-{digest[:8]}",
        weights=options.run / f"{name}.{precision}.safetensors",
        convert=convert,
        facts={**weights_facts(source), "teacher_sha256": digest},
    )


@click.command(epilog="Example: pocketcrafter distill equalize --out runs/restore.safetensors")
@click.option(
    "--start", "weights", type=_file, default=WEIGHTS / "restore.safetensors", help="[default: the shipped ones]"
)
@click.option("--out", type=OutputFile(".safetensors"), required=True, help="Where the equalized weights go.")
@click.option(
    "--samples", type=click.IntRange(4), default=32, show_default=True, help="Frames of the calibration photos."
)
@json_option
def equalize(*, weights: Path, out: Path, samples: int, as_json: bool) -> None:
    """Prepare the restoration network for INT8: channels of equal ranges, weights on the integers' grid.

    Run it after training: INT8 artifacts lose less of it then. Equalization changes nothing in full precision; weights
    are then rounded by GPTQ, which a build finds and keeps.
    """
    import torch

    from pocketcrafter.export.calibration import samples as calibration_samples
    from pocketcrafter.export.lower.measure import as_tensors
    from pocketcrafter.export.models import restore_network, save_component, weights_facts
    from pocketcrafter.export.models.restore import equalizable_pairs
    from pocketcrafter.export.shipped import CALIBRATION_PHOTOS
    from pocketcrafter.quantize.algorithms.convolutions import on_integer_grid
    from pocketcrafter.quantize.algorithms.equalization import equalized
    from pocketcrafter.runtime.fidelity import sqnr_db
    from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

    network = restore_network(weights)
    spec = POCKET_SPECS[Pocket.RESTORE]
    drawn = calibration_samples(
        Pocket.RESTORE, sorted(CALIBRATION_PHOTOS.glob("*.jpg")), weights.parent, samples, _SEED
    )
    inputs = [as_tensors(sample, spec) for sample in drawn]
    # As files of weights keep it, both times: what float16 does to equalized weights is judged before they are rounded.
    equal = equalized(network, equalizable_pairs(network), inputs).half().float()
    made = on_integer_grid(equal, inputs[:_OBSERVED]).half().float()
    with torch.no_grad():
        right, same, said = (
            torch.cat([model(*sample) for sample in inputs[:_COMPARED]]).numpy() for model in (network, equal, made)
        )
    ratio, rounded = sqnr_db(right, same), sqnr_db(right, said)
    if ratio < _SAME_DB:
        raise GateError(
            f"{weights}: equalized, it is {ratio:.1f} dB from itself (needed: {_SAME_DB:.0f}); not written."
        )
    save_component(made, out, weights_facts(weights))
    said_db = {"weights": str(out), "same_db": ratio, "rounded_db": rounded}
    told = f"{out}: equalized, {ratio:.0f} dB from what it was; rounded, {rounded:.0f} dB"
    click.echo(json.dumps(said_db) if as_json else told)
