"""Quality figures as Markdown tables: what `pocketcrafter bench quality` prints."""

from collections.abc import Mapping

from pocketcrafter.benchmarks.common.markdown import markdown, percent, plain, signed
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.quality.pictures import OURS, KindQuality
from pocketcrafter.benchmarks.quality.results import AttributeQuality, QualitySummary, ScoreQuality
from pocketcrafter.runtime.plan import Attribute


def quality_text(summary: QualitySummary) -> str:
    """Return all tables of a summary, each with a line that says how to read it."""
    parts = [pictures_table(summary.kinds)]
    if summary.attributes:
        parts += [
            "Attributes over degraded and clean frames, in each one's own unit; errors are the carried-out plan's:",
            attributes_table(summary.attributes),
            f"Plan R², mean over attributes: {signed(summary.plan_r2, 2)}",
        ]
    if summary.scores:
        parts += ["Score: the clean frame above the degraded one; the enhanced one above it where ΔE2000 fell:"]
        parts += [scores_table(summary.scores)]
        parts += [f"SRCC of the score with the degradation, degraded and clean frames: {signed(summary.score_srcc, 2)}"]
    if summary.peers:
        parts += ["The same frames by others:", peers_table({OURS: summary.kinds, **summary.peers})]
    return "\n\n".join(parts)


def pictures_table(figures: Mapping[FrameKind, KindQuality]) -> str:
    """Return the means of pictures, a row a kind."""
    head = (
        "frames", "n", "PSNR before", "gain", "SSIM gain", "ΔE2000 before", "change", "feature distance before",
        "change", "BRISQUE before", "change", "better", "worse", "> 38 dB", "s",
    )  # fmt: skip
    rows = [
        (
            kind,
            str(q.frames),
            f"{q.psnr_before_db:.1f} dB",
            f"{q.psnr_gain_db:+.2f} dB",
            f"{q.ssim_gain:+.3f}",
            f"{q.delta_e_before:.1f}",
            f"{q.delta_e_change:+.2f}",
            plain(q.feature_distance_before, 3),
            signed(q.feature_distance_change, 3),
            plain(q.brisque_before, 1),
            signed(q.brisque_change, 1),
            percent(q.better_share),
            percent(q.worse_share),
            percent(q.unchanged_share),
            f"{q.seconds:.2f}",
        )
        for kind, q in figures.items()
    ]
    return markdown(head, rows)


def attributes_table(attributes: Mapping[Attribute, AttributeQuality]) -> str:
    """Return what the critic knows of each attribute, a row an attribute."""
    head = (
        "attribute", "needed", "R²", "MAE", "presence AUROC", "gate opens", "wrongly", "error before", "change",
    )  # fmt: skip
    rows = [
        (
            attribute,
            f"{q.present} of {q.frames}",
            signed(q.r2, 2),
            f"{q.mae:.3g}",
            plain(q.presence_auroc, 2),
            percent(q.opened),
            percent(q.opened_wrongly),
            f"{q.error_before:.3g}",
            f"{q.error_change:+.3g}" if q.error_change else "0",
        )
        for attribute, q in attributes.items()
    ]
    return markdown(head, rows)


def scores_table(scores: Mapping[FrameKind, ScoreQuality]) -> str:
    """Return how the score ranks, a row a kind."""
    rows = [
        (
            kind,
            str(q.pairs),
            percent(q.clean_above_degraded),
            str(q.improved),
            percent(q.enhanced_above_degraded),
        )
        for kind, q in scores.items()
    ]
    return markdown(("frames", "pairs", "clean above", "improved", "enhanced above"), rows)


def peers_table(contestants: Mapping[str, Mapping[FrameKind, KindQuality]]) -> str:
    """Return the bundle beside its peers, kind by kind, a row a contestant."""
    head = (
        "frames", "by", "PSNR gain", "SSIM gain", "ΔE2000 change", "feature distance change", "BRISQUE change",
        "better", "worse", "> 38 dB", "s",
    )  # fmt: skip
    kinds = [kind for kind in FrameKind if all(kind in figures for figures in contestants.values())]
    rows = [
        (
            kind,
            name,
            f"{q.psnr_gain_db:+.2f} dB",
            f"{q.ssim_gain:+.3f}",
            f"{q.delta_e_change:+.2f}",
            signed(q.feature_distance_change, 3),
            signed(q.brisque_change, 1),
            percent(q.better_share),
            percent(q.worse_share),
            percent(q.unchanged_share),
            f"{q.seconds:.2f}",
        )
        for kind in kinds
        for name, figures in contestants.items()
        for q in [figures[kind]]
    ]
    return markdown(head, rows)
