"""Training the critic's judgement on stored evidence: plan regression and the picture that the plan gives."""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.critic import Critic, Judgement, pool
from pocketcrafter.export.models.layout import channels_last
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.losses import delta_e94

_DELTA_E_WEIGHT: Final = 0.015
_NEAR: Final = 0.2
"""An amount this close to the truth, in plan-vector units, counts as right for `confidence`."""
_PICTURE_PX: Final = 32
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
        self.seen = self._see(store)
        self.views, self.cleans = (_small(pictures) for pictures in (store.views, store.cleans))

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Let the judge learn; the backbone is fixed, as a few hundred photos would only be learned by heart."""
        return [(1.0, list(self.model.judge.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of random frames."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = np.sort(rng.choice(len(self.store), self.settings.batch, replace=False))
        vector = torch.from_numpy(self.store.vectors[rows]).to(self.device)
        said = self.model.judge.read(self.seen[rows].to(self.device), vector)
        plan = torch.from_numpy(self.store.plans[rows]).to(self.device)
        score = torch.from_numpy(self.store.scores[rows]).to(self.device)
        present = (plan != 0).float()
        near = ((said.plan - plan).abs() < _NEAR).float().detach()
        scene = _same_scene_loss(said, torch.from_numpy(self.store.photos[rows]).to(self.device))
        view, clean = (to_batch(pictures[rows]).to(self.device) for pictures in (self.views, self.cleans))
        losses = {
            "plan": 0.5 * ((said.plan - plan).square() * self.foreseeable).mean(),
            "picture": _DELTA_E_WEIGHT * delta_e94(render(said.plan.float(), view), clean).mean(),
            "presence": 0.05
            * (F.binary_cross_entropy(said.presence.float(), present, reduction="none") * self.foreseeable).mean(),
            "confidence": 0.02 * F.binary_cross_entropy(said.confidence.float(), near),
            "score": 0.2 * (said.score[:, 0] - score).abs().mean(),
            "scene": 0.02 * scene,
        }
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(part.detach()) for name, part in losses.items()}

    @torch.no_grad()
    def _see(self, store: EvidenceStore, batch: int = 64) -> Tensor:
        """Return the pooled late features of every frame."""
        pooled = []
        for start in range(0, len(store), batch):
            # A copy, as torch warns of arrays that cannot be written to.
            maps = torch.from_numpy(np.array(store.maps[start : start + batch])).to(self.device).float()
            features = self.model.late_features(maps.contiguous(memory_format=torch.channels_last))
            pooled.append(pool(features).cpu())
        return torch.cat(pooled)


def _small(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shrink pictures ``(N, VIEW_PX, VIEW_PX, 3)`` to `_PICTURE_PX`."""
    size = (_PICTURE_PX, _PICTURE_PX)
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures])


def _same_scene_loss(said: Judgement, photos: Tensor) -> Tensor:
    """InfoNCE over frames of one photo in the batch (van den Oord et al., 2018); zero where no photo occurs twice."""
    similarity = said.scene.float() @ said.scene.float().T / _SCENE_TEMPERATURE
    itself = torch.eye(len(photos), dtype=torch.bool, device=photos.device)
    same = (photos[:, None] == photos[None]) & ~itself
    log_probability = similarity.masked_fill(itself, -1e4).log_softmax(1)
    return -(log_probability * same).sum() / same.sum().clamp(min=1)
