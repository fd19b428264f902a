"""Training the critic's judgement on stored evidence: plan regression and the picture that the plan gives."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.critic import Critic, Judgement
from pocketcrafter.export.models.layout import channels_last
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.losses import picture_loss

_PICTURE_WEIGHT: Final = 0.5
_LATE_SHARE: Final = 0.3
_NEAR: Final = 0.2
"""An amount this close to the truth, in plan-vector units, counts as right for `confidence`."""
_SCENE_TEMPERATURE: Final = 0.1


class CriticTask:
    """Plan, presence, confidence, score and scene, from stored evidence."""

    def __init__(
        self, store: EvidenceStore, backbone: Mapping[str, Tensor], settings: FitSettings, device: torch.device
    ) -> None:
        self.store, self.settings, self.device = store, settings, device
        model = Critic()
        model.backbone.load_state_dict(dict(backbone))
        sample = np.asarray(store.vectors[:: max(1, len(store) // 4000)], dtype=np.float64)
        model.judge.center.copy_(torch.from_numpy(sample.mean(0)))
        model.judge.spread.copy_(torch.from_numpy(sample.std(0) + 1e-3))
        self.model = channels_last(model, device)
        self.foreseeable = self.model.judge.foreseeable

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Let the judge learn fast and the late backbone slowly; the evidence is fixed."""
        late = [p for stage in self.model.late_stages() for p in stage.parameters()]
        return [(1.0, list(self.model.judge.parameters())), (_LATE_SHARE, late)]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of random frames."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = np.sort(rng.choice(len(self.store), self.settings.batch, replace=False))
        said = self.model.judge_evidence(*self._evidence(rows))
        plan = torch.from_numpy(self.store.plans[rows]).to(self.device)
        score = torch.from_numpy(self.store.scores[rows]).to(self.device)
        present = (plan != 0).float()
        near = ((said.plan - plan).abs() < _NEAR).float().detach()
        scene = _same_scene_loss(said, torch.from_numpy(self.store.photos[rows]).to(self.device))
        losses = {
            "plan": ((said.plan - plan).square() * self.foreseeable).mean(),
            "picture": _PICTURE_WEIGHT * self._picture_loss(said.plan, rows),
            "presence": 0.05
            * (F.binary_cross_entropy(said.presence.float(), present, reduction="none") * self.foreseeable).mean(),
            "confidence": 0.02 * F.binary_cross_entropy(said.confidence.float(), near),
            "score": 0.2 * (said.score[:, 0] - score).abs().mean(),
            "scene": 0.02 * scene,
        }
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(part.detach()) for name, part in losses.items()}

    def _evidence(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Tensor, Tensor]:
        maps = torch.from_numpy(self.store.maps[rows]).to(self.device).float()
        vectors = torch.from_numpy(self.store.vectors[rows]).to(self.device)
        return maps.contiguous(memory_format=torch.channels_last), vectors

    def _picture_loss(self, plan: Tensor, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        views = F.avg_pool2d(to_batch(self.store.views[rows]).to(self.device), 4)
        cleans = F.avg_pool2d(to_batch(self.store.cleans[rows]).to(self.device), 4)
        return picture_loss(render(plan.float(), views), cleans)


def _same_scene_loss(said: Judgement, photos: Tensor) -> Tensor:
    """InfoNCE over frames of one photo in the batch (van den Oord et al., 2018); zero where no photo occurs twice."""
    similarity = said.scene.float() @ said.scene.float().T / _SCENE_TEMPERATURE
    itself = torch.eye(len(photos), dtype=torch.bool, device=photos.device)
    same = (photos[:, None] == photos[None]) & ~itself
    log_probability = similarity.masked_fill(itself, -1e4).log_softmax(1)
    return -(log_probability * same).sum() / same.sum().clamp(min=1)
