"""Which faults prose words wrongly: by attribute and direction, left out, told the other way, or told unasked."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import Field

from pocketcrafter.benchmarks.prose.measure import CaseResult
from pocketcrafter.benchmarks.quality.tables import markdown
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.wording import CLAUSES


class FaultFigures(Config):
    """One attribute and direction over critiques."""

    attribute: Attribute
    direction: int = Field(ge=-1, le=1, description="Sign of the change that mends it.")
    due: int = Field(ge=0, description="Critiques whose plan has it.")
    turned: int = Field(ge=0, description="Of these, told as the attribute's other direction.")
    left_out: int = Field(ge=0, description="Of these, told in neither direction.")
    unasked: int = Field(ge=0, description="Critiques that tell it though their plan leaves the attribute alone.")

    @property
    def wrong(self) -> int:
        """Critiques that are wrong about it."""
        return self.turned + self.left_out + self.unasked


def fault_figures(results: Iterable[CaseResult]) -> list[FaultFigures]:
    """Return the figures of every fault that prose has words for, in their order; malformed critiques say none."""
    due, turned, left_out, unasked = (Counter[tuple[Attribute, int]]() for _ in range(4))
    for result in results:
        planned, named = set(result.planned), set(result.named)
        due.update(planned)
        for attribute, direction in planned - named:
            (turned if (attribute, -direction) in named else left_out)[attribute, direction] += 1
        changed = {attribute for attribute, _ in planned}
        unasked.update(fault for fault in named if fault[0] not in changed)
    return [
        FaultFigures(
            attribute=fault[0],
            direction=fault[1],
            due=due[fault],
            turned=turned[fault],
            left_out=left_out[fault],
            unasked=unasked[fault],
        )
        for fault in CLAUSES
    ]


def fault_table(figures: Sequence[FaultFigures]) -> str:
    """Return the faults that are ever wrong as a Markdown table, the worst first, or nothing where none is."""
    wrong = sorted((f for f in figures if f.wrong), key=lambda f: -f.wrong)
    rows = [
        (f"{f.attribute} {'+' if f.direction > 0 else '-'}", *map(str, (f.due, f.turned, f.left_out, f.unasked)))
        for f in wrong
    ]
    return markdown(("worded wrongly", "due", "told the other way", "left out", "unasked"), rows) if rows else ""
