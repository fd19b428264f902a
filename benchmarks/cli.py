"""``pocketcrafter bench``: names its commands without importing what they measure with."""

from typing import ClassVar

import click

from pocketcrafter.runtime.cli.group import LazyGroup


class _Measurements(LazyGroup):
    extra = "bench"
    lazy: ClassVar = {
        "quality": "pocketcrafter.benchmarks.quality.commands:quality",
        "looks": "pocketcrafter.benchmarks.quality.commands:looks",
        "bridge": "pocketcrafter.benchmarks.pair_commands:bridge",
        "steps": "pocketcrafter.benchmarks.training_commands:steps",
        "quantization": "pocketcrafter.benchmarks.quantization.bars_commands:quantization",
        "quantization-outside": "pocketcrafter.benchmarks.quantization.bars_commands:outside",
        "quantization-memory": "pocketcrafter.benchmarks.quantization.bars_commands:memory",
        "foreign": "pocketcrafter.benchmarks.foreign.command:foreign",
        "learning-curve": "pocketcrafter.benchmarks.training_commands:learning_curve",
        "risk-coverage": "pocketcrafter.benchmarks.risk.command:risk_coverage",
        "proposals": "pocketcrafter.benchmarks.risk.command:proposals",
        "prose": "pocketcrafter.benchmarks.training_commands:prose",
        "composition": "pocketcrafter.benchmarks.pair_commands:composition",
        "endurance": "pocketcrafter.benchmarks.endurance.command:endurance",
        "parity": "pocketcrafter.benchmarks.parity.command:parity",
        "bisect": "pocketcrafter.benchmarks.bisect.command:mutations_command",
        "operators": "pocketcrafter.benchmarks.bisect.command:operators_command",
        "proofs": "pocketcrafter.benchmarks.pair_commands:proofs_command",
        "budget": "pocketcrafter.benchmarks.pair_commands:budget",
        "arm64": "pocketcrafter.benchmarks.arm64.command:arm64",
        "profile": "pocketcrafter.benchmarks.profile.command:profile",
        "fuzz": "pocketcrafter.benchmarks.fuzz.command:fuzz",
        "latent-studio": "pocketcrafter.benchmarks.pair_commands:latent_studio",
        "latent-steps": "pocketcrafter.benchmarks.training_commands:latent_steps",
        "label-likeness": "pocketcrafter.benchmarks.training_commands:label_likeness",
        "merge-memory": "pocketcrafter.benchmarks.training_commands:merge_memory",
        "language": "pocketcrafter.benchmarks.language.command:language",
        "real-size": "pocketcrafter.benchmarks.real_size.command:real_size",
        "opening": "pocketcrafter.benchmarks.pair_commands:opening",
        "estimate": "pocketcrafter.benchmarks.estimate.command:estimate_command",
        "latency": "pocketcrafter.benchmarks.latency.commands:latency",
        "baseline": "pocketcrafter.benchmarks.latency.commands:baseline_command",
        "leaderboard": "pocketcrafter.benchmarks.report.command:leaderboard_command",
        "compare": "pocketcrafter.benchmarks.latency.commands:compare_command",
    }


@click.group("bench", cls=_Measurements)
def bench() -> None:
    r"""Measure a bundle; every figure comes with the gate that it must pass.

    \b
    Example:
      pocketcrafter bench latency build/default.pcbundle
      pocketcrafter bench quality build/default.pcbundle --data data
    """
