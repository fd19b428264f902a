"""The artist: a small picture and the critic's hidden states go in, the edited small picture comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, BundleError
from pocketcrafter.runtime.latent.sampler import Noise, denoise
from pocketcrafter.runtime.latent.settings import AffineSettings, ArtistSettings, TimeSettings
from pocketcrafter.runtime.latent.tiling import Tiles


@dataclass(frozen=True)
class Network:
    """An opened network and its contract."""

    session: Session
    spec: ComponentSpec

    def takes(self, name: str) -> bool:
        """Whether it has an input of this name.

        Parameters
        ----------
        name
            Of an input.
        """
        return any(tensor.name == name for tensor in self.spec.inputs)

    @property
    def latents(self) -> int:
        """Side of the latents that it takes or gives."""
        return next(t.shape[-1] for t in (*self.spec.inputs, *self.spec.outputs) if t.name == "latents")

    def run(self, given: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run once, on those of the arrays that it takes.

        Parameters
        ----------
        given
            Float32 arrays by name; there may be more than its inputs.

        Raises
        ------
        BackendError
            If the backend fails.
        """
        return self.session.run({tensor.name: given[tensor.name] for tensor in self.spec.inputs})


@dataclass(frozen=True)
class Change:
    """What an edit changes: the same picture twice, both by the decoder.

    What the autoencoder cannot represent is missing from both, so that their difference is the edit alone.

    Attributes
    ----------
    before
        What the autoencoder makes of the picture itself, sRGB in [0, 1], ``(H, W, 3)``.
    after
        The edited picture, likewise.
    """

    before: FloatArray
    after: FloatArray


@dataclass(frozen=True)
class LatentArtist:
    """Edits pictures.

    Attributes
    ----------
    encode, denoise, decode
        The opened networks.
    bridge
        What makes conditions of hidden states; `None` where `denoise` reads these as they are, or none.
    settings
        Steps, noise and scales.
    """

    encode: Network
    denoise: Network
    decode: Network
    bridge: Network | None
    settings: ArtistSettings

    def edit(
        self,
        picture: FloatArray,
        hidden: FloatArray | None = None,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> FloatArray:
        """Edit a picture; the same picture and hidden states give the same edit.

        A picture larger than the artist's own goes through each network in tiles, which are blended after every step:
        all of them work on one picture.

        Parameters
        ----------
        picture
            sRGB in [0, 1], ``(H, W, 3)``: neither side below the artist's, both whole latents.
        hidden
            The critic's, ``(positions, width)``; an artist whose conditions are fixed reads none.
        progress
            Told how many runs of `denoise` of how many are done; what it raises ends the work between two of them.

        Returns
        -------
        FloatArray
            As ``picture``.

        Raises
        ------
        BackendError
            If a network fails, or the picture is not finite.
        BundleError
            If the artist reads hidden states, and there are none.
        """
        photo = _planes(picture)
        return self._decode(self._denoise(photo, self._encode(photo), hidden, progress), photo)

    def change(
        self,
        picture: FloatArray,
        hidden: FloatArray | None = None,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> Change:
        """Edit a picture, and decode its own latents too: a run of `decode` more than in :meth:`edit`; raises alike.

        Parameters
        ----------
        picture, hidden, progress
            As for :meth:`edit`.
        """
        photo = _planes(picture)
        encoded = self._encode(photo)
        after = self._decode(self._denoise(photo, encoded, hidden, progress), photo)
        return Change(self._decode(encoded, photo), after)

    def latents(self, picture: FloatArray) -> FloatArray:
        """Return the autoencoder's latents of a picture, ``(1, channels, side, side)``.

        Parameters
        ----------
        picture
            As for :meth:`edit`.

        Raises
        ------
        BackendError
            If the network fails.
        """
        return self._encode(_planes(picture))

    def _encode(self, photo: FloatArray) -> FloatArray:
        return self._tiles(self.encode, photo).map(
            lambda given: self.encode.run(given)["latents"], {"image": photo * 2 - 1}
        )

    def _denoise(
        self, photo: FloatArray, encoded: FloatArray, hidden: FloatArray | None, progress: Callable[[int, int], None]
    ) -> FloatArray:
        """Return the autoencoder's latents of the edit."""
        settings, done = self.settings, 0
        beside: dict[str, FloatArray] = {"picture": _scaled(encoded, settings.picture), "photo": photo}
        shown = {name: values for name, values in beside.items() if self.denoise.takes(name)}
        conditions, tiles = self.conditions(hidden), self._tiles(self.denoise, photo)
        runs = len(tiles.places) * len(settings.steps)

        def count() -> None:
            nonlocal done
            done += 1
            progress(done, runs)

        def predict(latents: FloatArray, timestep: float) -> FloatArray:
            fixed = {"time": time_features(timestep, settings.time), **conditions}
            return tiles.map(
                lambda given: self.denoise.run({**fixed, **given})["prediction"], {"latents": latents, **shown}, count
            )

        noise = Noise(settings.seed)
        start = noise.draw(encoded.shape) * np.float32(settings.start_noise)
        start += _scaled(encoded, settings.latents) * np.float32(settings.start_picture)
        return _unscaled(denoise(start, settings.steps, predict, noise), settings.latents)

    def _decode(self, latents: FloatArray, photo: FloatArray) -> FloatArray:
        """Return latents as a picture in [0, 1], ``(H, W, 3)``."""
        out = self._tiles(self.decode, photo).map(lambda given: self.decode.run(given)["image"], {"latents": latents})
        if not np.isfinite(out).all():
            raise BackendError("The artist gave a picture that is not finite; try another --backend.")
        made: FloatArray = np.clip(out[0].transpose(1, 2, 0) / 2 + np.float32(0.5), 0, 1)
        return made

    @property
    def factor(self) -> int:
        """Pixels along the side of a latent."""
        return self.encode.spec.inputs[0].shape[-1] // self.encode.spec.outputs[0].shape[-1]

    def _tiles(self, network: Network, photo: FloatArray) -> Tiles:
        """Return where a network's tiles lie on a picture ``(1, 3, H, W)``."""
        return Tiles(network.latents, photo.shape[2] // self.factor, photo.shape[3] // self.factor)

    @property
    def reads_critic(self) -> bool:
        """Whether its conditions come of hidden states; they are fixed otherwise."""
        return self.denoise.takes("text")

    def conditions(self, hidden: FloatArray | None) -> dict[str, FloatArray]:
        """Return what `denoise` reads of hidden states: padded to its length, and which positions are none.

        Parameters
        ----------
        hidden
            The critic's, ``(positions, width)``; of more than the artist reads, the first.

        Raises
        ------
        BundleError
            If the artist reads hidden states, and there are none.
        """
        if not self.reads_critic:
            return {}
        if hidden is None:
            raise BundleError("The artist reads a critic's hidden states, and the bundle has no critic.")
        _, length, _ = next(t.shape for t in self.denoise.spec.inputs if t.name == "text")
        count = min(len(hidden), length)
        padded = np.pad(hidden[:count], ((0, length - count), (0, 0)))[None].astype(np.float32)
        mask = np.zeros((1, length), np.float32)
        mask[0, :count] = 1
        made = {} if self.bridge is None else self.bridge.run({"hidden": padded, "mask": mask})
        return {"text": padded, "mask": mask, **made}


def time_features(timestep: float, settings: TimeSettings) -> FloatArray:
    """Return what `denoise` is told of a timestep, ``(1, 2·frequencies)``; in float32, as it was trained.

    Parameters
    ----------
    timestep
        The scheduler's.
    settings
        How it is told.
    """
    angles = np.float32(timestep) * np.array(settings.frequencies, np.float32)
    waves = (np.cos(angles), np.sin(angles)) if settings.cosines_first else (np.sin(angles), np.cos(angles))
    features: FloatArray = np.concatenate(waves)[None]
    return features


def _planes(picture: FloatArray) -> FloatArray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def _scaled(latents: FloatArray, settings: AffineSettings) -> FloatArray:
    return (latents - np.float32(settings.shift)) * np.float32(settings.scale)


def _unscaled(latents: FloatArray, settings: AffineSettings) -> FloatArray:
    return latents / np.float32(settings.scale) + np.float32(settings.shift)
