"""The plan judge: looks at a finished proposal beside the photo and predicts how much better or worse it is.

A critic says what is wrong; whether its remedy helps shows in the remedied picture. Quantiles, not a mean, are
predicted, so that a proposal is carried out only where even the unlucky outcome is an improvement.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import FilmBlock
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import TOKEN_DIM, TOKENS

QUANTILES: Final = (0.1, 0.5, 0.9)
"""Of the gain in CIEDE2000, lowest first."""
_CONDITION: Final = 64
_WIDTHS: Final = (16, 32, 64)
_BLOCKS: Final = (0, 1, 2)
_HIDDEN: Final = 128


class PlanJudge(nn.Module):
    """Predicts `QUANTILES` of a proposal's gain."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(TOKENS * TOKEN_DIM, _CONDITION)
        self.plan = nn.Linear(len(Attribute), _CONDITION)
        self.dropout = nn.Dropout(0.3)
        self.condition = nn.Linear(_CONDITION, _CONDITION)
        inputs = (9, *_WIDTHS[:-1])
        self.down = nn.ModuleList(nn.Conv2d(i, w, 3, 2, 1) for i, w in zip(inputs, _WIDTHS, strict=True))
        self.levels = nn.ModuleList(
            nn.ModuleList(FilmBlock(w, _CONDITION, nn.Hardswish()) for _ in range(n))
            for w, n in zip(_WIDTHS, _BLOCKS, strict=True)
        )
        self.hidden = nn.Linear(2 * (9 + sum(_WIDTHS)) + _CONDITION, _HIDDEN)
        self.median, self.below, self.above = (nn.Linear(_HIDDEN, 1) for _ in QUANTILES)
        for distance in (self.below, self.above):
            # At 0 the square below has no gradient; quantiles lie about 1 from the median before anything is learned.
            nn.init.ones_(distance.bias)

    def forward(self, view: Tensor, rendered: Tensor, plan: Tensor, tokens: Tensor) -> Tensor:
        """Judge proposals.

        Parameters
        ----------
        view, rendered
            The photo, and the photo after the analytic render of the plan: ``(B, 3, 32, 32)``, sRGB-encoded in
            [0, 1]; tones and casts survive this size, and all proposals cost less than one view.
        plan
            ``EditPlan.vector()`` of the proposals: ``(B, len(Attribute))``.
        tokens
            The critic's plan tokens: ``(B, TOKENS, TOKEN_DIM)``.

        Returns
        -------
        Tensor
            `QUANTILES` of the CIEDE2000 by which the proposal is nearer to the undegraded photo, ``(B, 3)``, rising.
        """
        said = self.dropout(F.hardswish(self.tokens(tokens.flatten(1)) + self.plan(plan)))
        condition = F.hardswish(self.condition(said))
        x = torch.cat([view - 0.5, rendered - 0.5, 4 * (rendered - view)], 1)
        seen = [_moments(x)]
        for down, level in zip(self.down, self.levels, strict=True):
            x = F.hardswish(down(x))
            for block in level.children():
                x = block(x, condition)
            seen.append(_moments(x))
        hidden = self.dropout(F.hardswish(self.hidden(torch.cat([*seen, condition], 1))))
        median, below, above = self.median(hidden), self.below(hidden), self.above(hidden)
        # Squares, which every accelerator multiplies; a softplus falls back to the CPU on some.
        return torch.cat([median - below * below, median, median + above * above], 1)


def _moments(x: Tensor) -> Tensor:
    """Return mean and standard deviation of each channel, ``(B, 2·C)``; written as the critic's, for its reasons."""
    mean = x.mean((2, 3), keepdim=True)
    apart = x - mean
    variance = (apart * apart).mean((2, 3), keepdim=True)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1).reshape(-1, 2 * x.shape[1])
