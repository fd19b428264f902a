"""``pocketcrafter bench real-size``: a checkpoint of a published configuration, and what lowering its parts takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pocketcrafter.benchmarks.common.names import Published
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind

if TYPE_CHECKING:
    from pocketcrafter.runtime.components import Role


@click.group("real-size")
def real_size() -> None:
    r"""Write a checkpoint of a published size, and measure what lowering it takes.

    \b
    Example:
      pocketcrafter bench real-size make --out checkpoints/smolvlm-256m
      pocketcrafter bench real-size language checkpoints/smolvlm-256m --out made
    """


@real_size.command("make")
@click.option(
    "--size",
    "published",
    type=click.Choice([p.value for p in Published]),
    default=Published.SMOLVLM_256M.value,
    show_default=True,
    help="Whose published configuration it has.",
)
@click.option("--out", type=OutputFolder(), required=True, help="Folder that the checkpoint goes to.")
@click.option("--layers", type=click.IntRange(min=1), help="Layers of the language model, where not all are wanted.")
@json_option
def make(published: str, out: Path, layers: int | None, *, as_json: bool) -> None:
    r"""Write a checkpoint with random weights.

    Nothing is fetched. Weights are float16, in the layout of transformers, or of a latent pair with an artist alone.

    \b
    Example:
      pocketcrafter bench real-size make --out checkpoints/smolvlm-256m
      pocketcrafter bench real-size make --size sd-1.5 --out checkpoints/sd-1.5
    """
    from pocketcrafter.benchmarks.real_size.checkpoints import write_checkpoint

    parameters = write_checkpoint(Published(published), out, layers)
    text = f"{out}: {parameters / 1e6:.1f} million parameters"
    click.echo(json.dumps({"checkpoint": str(out), "parameters": parameters}) if as_json else text)


_layers_option = click.option(
    "--layers", type=click.IntRange(min=1), multiple=True, help="Layers of the network, where not all are wanted."
)


def _lowering_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what all networks of a checkpoint are lowered with."""
    for decorate in (
        json_option,
        click.option("--out", type=OutputFolder(), required=True, help="Folder that the files go to."),
        click.option(
            "--precision",
            type=click.Choice([p.value for p in Precision]),
            required=True,
            help="Of weights and activations; a language model's output layer has 8 bits where weights have 4.",
        ),
        click.option(
            "--target", type=click.Choice(list(TARGETS)), default=ONNX, show_default=True, help="Lower for this one."
        ),
        click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    ):
        command = decorate(command)
    return command


@real_size.command("language")
@_lowering_options
@_layers_option
@click.option("--length", type=click.IntRange(min=2), default=1024, show_default=True, help="Positions of the caches.")
def language(
    folder: Path, target: str, precision: str, length: int, layers: tuple[int, ...], out: Path, *, as_json: bool
) -> None:
    r"""Lower a checkpoint's language model, both functions at once.

    Tells bytes, seconds, peak memory of a process of its own, coverage, both rungs, and what a toolchain refuses; given
    several times, ``--layers`` draws the curve over the first layers of the model.

    \b
    Example:
      pocketcrafter bench real-size language checkpoints/smolvlm-256m --target onnx --precision w4 --out made
      pocketcrafter bench real-size language checkpoints/smolvlm-256m --target coreml:ios18 --precision fp16 \\
        --layers 2 --layers 8 --layers 30 --out made
    """
    from pocketcrafter.runtime.components import Role

    _lower(Role.LANGUAGE, folder, target, precision, layers, out, as_json=as_json, length=length)


@real_size.command("vision")
@_lowering_options
@_layers_option
def vision(folder: Path, target: str, precision: str, layers: tuple[int, ...], out: Path, *, as_json: bool) -> None:
    r"""Lower a checkpoint's vision encoder with its connector.

    Tells what `language` tells of the language model.

    \b
    Example:
      pocketcrafter bench real-size vision checkpoints/smolvlm-256m --target qnn-context:sm8750 --precision fp16 \\
        --layers 2 --layers 4 --layers 12 --out made
    """
    from pocketcrafter.runtime.components import Role

    _lower(Role.VISION, folder, target, precision, layers, out, as_json=as_json)


@real_size.command("denoise")
@_lowering_options
def denoise(folder: Path, target: str, precision: str, out: Path, *, as_json: bool) -> None:
    r"""Lower the denoising network of a latent pair.

    Tells what `language` tells of the language model.

    \b
    Example:
      pocketcrafter bench real-size denoise checkpoints/sd-1.5 --target onnx --precision fp32 --out made
    """
    from pocketcrafter.runtime.components import Role

    _lower(Role.DENOISE, folder, target, precision, (), out, as_json=as_json)


@real_size.command("stability")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--target", "targets", multiple=True, help="Only this target; may be given again.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads to compute with.")
@json_option
def stability(bundle: Path, targets: tuple[str, ...], threads: int, *, as_json: bool) -> None:
    r"""Move inputs by a float32 rounding, and measure artifacts.

    Tells for each artifact how far its goldens' outputs are from themselves when its inputs move by a ten-millionth of
    their spread, beside its recorded rung 2: roundings that follow each other amplify any difference.

    \b
    Example:
      pocketcrafter bench real-size stability build/smolvlm-256m.pcbundle --target onnx
    """
    from pocketcrafter.benchmarks.real_size.stability import measure_stability, stability_table
    from pocketcrafter.runtime.bundle.reader import Bundle

    rows = measure_stability(Bundle.open(bundle), targets, threads)
    click.echo(json.dumps([row.model_dump() for row in rows]) if as_json else stability_table(rows))


def _lower(
    role: "Literal[Role.VISION, Role.LANGUAGE, Role.DENOISE]",
    folder: Path,
    target: str,
    precision: str,
    layers: tuple[int, ...],
    out: Path,
    *,
    as_json: bool,
    **settings: int,
) -> None:
    from pocketcrafter.benchmarks.real_size.measure import Lowering, layers_table, lower_layers
    from pocketcrafter.export.builder.preflight import check_packages, check_targets

    kind = TargetKind(target)
    check_packages()
    check_targets((kind,))
    lowering = Lowering(folder, role, kind, Precision(precision), out, **settings)
    rows = []
    for row in lower_layers(lowering, layers or (None,)):
        rows.append(row)
        if not as_json:
            # At once: the next one can take a toolchain long, and what is known by then should not be lost.
            head, rule, line = layers_table([row]).splitlines()
            click.echo("\n".join([head, rule, line] if len(rows) == 1 else [line]))
    if as_json:
        click.echo(json.dumps([row.model_dump() for row in rows]))
