"""The artist: a small picture and the critic's hidden states go in, the edited small picture comes out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, BundleError
from pocketcrafter.runtime.latent.sampler import Noise, denoise
from pocketcrafter.runtime.latent.settings import AffineSettings, ArtistSettings, TimeSettings


@dataclass(frozen=True)
class LatentArtist:
    """Edits pictures.

    Attributes
    ----------
    encode, denoise, decode
        The opened networks.
    spec
        The contract of `denoise`.
    bridge
        What makes its conditions of hidden states; `None` where it reads these as they are.
    settings
        Steps, noise and scales.
    """

    encode: Session
    denoise: Session
    decode: Session
    spec: ComponentSpec
    bridge: Session | None
    settings: ArtistSettings

    def edit(
        self,
        picture: FloatArray,
        hidden: FloatArray,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> FloatArray:
        """Edit a picture; the same picture and hidden states give the same edit.

        Parameters
        ----------
        picture
            sRGB in [0, 1], ``(side, side, 3)``.
        hidden
            The critic's, ``(positions, width)``.
        progress
            As `pocketcrafter.runtime.latent.sampler.denoise` takes it.

        Returns
        -------
        FloatArray
            As ``picture``.

        Raises
        ------
        BackendError
            If a network fails, or the picture is not finite.
        """
        settings = self.settings
        image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None] * 2 - 1, np.float32)
        encoded = self.encode.run({"image": image})["latents"]
        shown = _scaled(encoded, settings.picture)
        inputs = {**self.conditions(hidden), **({"picture": shown} if self._wants("picture") else {})}

        def predict(latents: FloatArray, timestep: float) -> FloatArray:
            given = {"latents": latents, "time": time_features(timestep, settings.time), **inputs}
            return self.denoise.run(given)["prediction"]

        noise = Noise(settings.seed)
        start = noise.draw(encoded.shape) * np.float32(settings.start_noise)
        start += _scaled(encoded, settings.latents) * np.float32(settings.start_picture)
        latents = denoise(start, settings.steps, predict, noise, progress)
        out = self.decode.run({"latents": _unscaled(latents, settings.latents)})["image"]
        if not np.isfinite(out).all():
            raise BackendError("The artist gave a picture that is not finite; try another --backend.")
        made: FloatArray = np.clip(out[0].transpose(1, 2, 0) / 2 + np.float32(0.5), 0, 1)
        return made

    def conditions(self, hidden: FloatArray) -> dict[str, FloatArray]:
        """Return what `denoise` reads of hidden states: padded to its length, and which positions are none.

        Raises
        ------
        BundleError
            If there are more positions than it has.
        """
        _, length, _ = next(t.shape for t in self.spec.inputs if t.name == "text")
        if len(hidden) > length:
            raise BundleError(f"The critic gave {len(hidden)} hidden states; the artist reads at most {length}.")
        padded = np.pad(hidden, ((0, length - len(hidden)), (0, 0)))[None].astype(np.float32)
        text = padded if self.bridge is None else self.bridge.run({"hidden": padded})["text"]
        mask = np.zeros((1, length), np.float32)
        mask[0, : len(hidden)] = 1
        return {"text": text, "mask": mask}

    def _wants(self, name: str) -> bool:
        return any(tensor.name == name for tensor in self.spec.inputs)


def time_features(timestep: float, settings: TimeSettings) -> FloatArray:
    """Return what `denoise` is told of a timestep, ``(1, 2·frequencies)``; in float32, as it was trained."""
    angles = np.float32(timestep) * np.array(settings.frequencies, np.float32)
    waves = (np.cos(angles), np.sin(angles)) if settings.cosines_first else (np.sin(angles), np.cos(angles))
    features: FloatArray = np.concatenate(waves)[None]
    return features


def _scaled(latents: FloatArray, settings: AffineSettings) -> FloatArray:
    return (latents - np.float32(settings.shift)) * np.float32(settings.scale)


def _unscaled(latents: FloatArray, settings: AffineSettings) -> FloatArray:
    return latents / np.float32(settings.scale) + np.float32(settings.shift)
