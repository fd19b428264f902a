"""What the ablation of the plan tokens comes to: how much the picture suffers, with intervals over photos."""

from typing import Literal

from pydantic import Field, computed_field, model_validator

from pocketcrafter.benchmarks.bridge.ablation import BridgeFrame, PlanSource, TokenArm
from pocketcrafter.benchmarks.clusters import Effect, clustered_mean
from pocketcrafter.benchmarks.quality.pictures import Name
from pocketcrafter.benchmarks.quality.tables import markdown
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config


class ArmEffect(Config):
    """One kind of tokens with one kind of plan, beside the critic's own tokens on the same frames."""

    plan: PlanSource
    arm: TokenArm
    frames: int = Field(ge=1)
    delta_e: float = Field(description="Mean CIEDE2000 of the final picture.")
    psnr_db: float
    delta_e_change: Effect = Field(description="Against the own tokens; positive is harm.")
    psnr_change_db: Effect = Field(description="Against the own tokens; negative is harm.")

    @property
    def hurts(self) -> bool:
        """Whether the color error rises measurably: the whole interval is above zero."""
        return self.delta_e_change.low is not None and self.delta_e_change.low > 0


class BridgeReport(Config):
    """Everything that one `pocketcrafter bench bridge` measured."""

    schema_version: Literal[1] = 1
    bundle: Name
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    split: Split
    seed: int
    measured: int = Field(ge=1, description="Frames looked at with each kind of plan.")
    frames: tuple[BridgeFrame, ...] = Field(description="Those on which the tone network ran.")

    @model_validator(mode="before")
    @classmethod
    def _effects_are_computed_anew(cls, data: object) -> object:
        """Leave out what was written as effects: the frames say it."""
        return {k: v for k, v in data.items() if k != "effects"} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _every_arm_everywhere(self) -> "BridgeReport":
        if any(set(frame.arms) != set(TokenArm) for frame in self.frames):
            raise ValueError("every frame must have figures for every kind of tokens")
        return self

    @computed_field  # type: ignore[prop-decorator] # mypy has no property under a decorator
    @property
    def effects(self) -> tuple[ArmEffect, ...]:
        """The means, computed from the frames; kinds of plan without a frame are left out."""
        return tuple(
            _effect(chosen, plan, arm)
            for plan in PlanSource
            if (chosen := [frame for frame in self.frames if frame.plan is plan])
            for arm in TokenArm
        )

    def verdict(self, plan: PlanSource) -> str:
        """Say in a sentence whether the tokens matter with one kind of plan."""
        effects = [e for e in self.effects if e.plan is plan and e.arm is not TokenArm.OWN]
        if not effects:
            return f"With {plan} plans the tone network never ran: nothing can be said of the tokens."
        hurting = [e for e in effects if e.hurts]
        if not hurting:
            return f"With {plan} plans the tokens do not measurably matter."
        found = ", ".join(f"{e.arm} {e.delta_e_change}" for e in hurting)
        return f"With {plan} plans the tokens measurably matter: ΔE2000 with them {found}."

    def tokens_matter(self, plan: PlanSource) -> bool:
        """Whether zeroed or shuffled tokens measurably hurt with one kind of plan."""
        return any(e.hurts for e in self.effects if e.plan is plan)


def bridge_table(report: BridgeReport) -> str:
    """Return the effects as a Markdown table, a row for each kind of plan and tokens."""
    head = ("plan", "tokens", "n", "ΔE2000", "change (95 %)", "PSNR", "change (95 %)")
    rows = []
    for e in report.effects:
        own = e.arm is TokenArm.OWN
        changes = ("–", "–") if own else (str(e.delta_e_change), f"{e.psnr_change_db} dB")
        rows.append((e.plan, e.arm, str(e.frames), f"{e.delta_e:.2f}", changes[0], f"{e.psnr_db:.2f} dB", changes[1]))
    return markdown(head, rows)


def _effect(frames: list[BridgeFrame], plan: PlanSource, arm: TokenArm) -> ArmEffect:
    photos = [frame.photo for frame in frames]
    pairs = [(frame.arms[arm], frame.arms[TokenArm.OWN]) for frame in frames]
    return ArmEffect(
        plan=plan,
        arm=arm,
        frames=len(frames),
        delta_e=sum(given.delta_e for given, _ in pairs) / len(pairs),
        psnr_db=sum(given.psnr_db for given, _ in pairs) / len(pairs),
        delta_e_change=clustered_mean([given.delta_e - own.delta_e for given, own in pairs], photos),
        psnr_change_db=clustered_mean([given.psnr_db - own.psnr_db for given, own in pairs], photos),
    )
