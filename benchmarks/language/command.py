"""``pocketcrafter bench language``: a bundle's language model beside its checkpoint and other runtimes."""

from collections.abc import Sequence
from pathlib import Path

import click
from tqdm import tqdm

from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import ONNX, TARGETS


@click.command("language")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of the causal language model that the bundles were built from, with its tokenizer.json.",
)
@click.option("--target", type=click.Choice(list(TARGETS)), default=ONNX, show_default=True, help="Which artifacts.")
@click.option("--tokens", type=click.IntRange(16), default=256, show_default=True, help="Of the fixed text.")
@click.option(
    "--longest", type=click.IntRange(1), default=64, show_default=True, help="Words of an answer to a fixed question."
)
@click.option("--peer", "peers", multiple=True, metavar="NAME=COMMAND", help="Time another runtime too; repeatable.")
@json_option
def language(
    *,
    bundles: Sequence[Path],
    checkpoint: Path,
    target: str,
    tokens: int,
    longest: int,
    peers: Sequence[str],
    as_json: bool,
) -> None:
    r"""Measure a language model: perplexity, choices, speed.

    The fixed text is read word by word, and greedy answers to fixed questions are held against the checkpoint's own.
    Speeds are of one thread, by processor time. A peer's command is called with
    the lengths of prompt and answer and the number of threads; the package has commands for llama.cpp, OpenVINO GenAI
    and ONNX Runtime GenAI in benchmarks/language/peers.

    \b
    Example:
      pocketcrafter build smollm2 --target onnx --precision language=w8 --out w8.pcbundle
      pocketcrafter bench language w8.pcbundle --checkpoint smollm2 \
          --peer "llama.cpp=node benchmarks/language/peers/time_llama_cpp.mjs model.gguf"
    """
    from pocketcrafter.benchmarks.language.measure import Checkpoint, language_text, measure_language

    named = dict(_named(peer) for peer in peers)
    opened = Checkpoint(checkpoint)
    with tqdm(total=len(bundles) * (tokens - 1), desc="language", unit="token") as bar:
        figures = measure_language(bundles, target, opened, tokens, named, longest, bar.update)
    click.echo(figures.model_dump_json() if as_json else language_text(figures))


def _named(peer: str) -> tuple[str, str]:
    name, separator, command = peer.partition("=")
    if not (name and separator and command):
        raise ConfigError(f"--peer {peer}: say a name and a command, such as llama.cpp='node time_llama_cpp.mjs FILE'.")
    return name, command
