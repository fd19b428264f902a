"""Vectors of the loops of the latent family: what its networks are given, and what is made of their answers."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec, FunctionSpec, Role, TensorSpec
from pocketcrafter.runtime.embedding import GROUP, LEVELS, SCALES, EmbeddingTable
from pocketcrafter.runtime.language import PREFILL, Rotary
from pocketcrafter.runtime.latent.artist import LatentArtist, Network, time_features
from pocketcrafter.runtime.latent.critic import LatentCritic, prompt_positions
from pocketcrafter.runtime.latent.sampler import Noise, denoise
from pocketcrafter.runtime.latent.settings import (
    AffineSettings,
    ArtistSettings,
    CriticSettings,
    PictureSettings,
    Resampling,
    RotarySettings,
    StepSettings,
    TimeSettings,
)
from pocketcrafter.runtime.latent.tiling import Tiles
from pocketcrafter.runtime.vectors.recording import Recording

_WIDTH, _HEAD, _CACHE, _CHUNK, _WORDS = 6, 4, 24, 5, 11
_PICTURE_TOKEN: Final = 3
_PROMPT: Final = (1, 7, *[_PICTURE_TOKEN] * 4, 2, 9, 5)
_SIDE, _FACTOR, _STATES, _LENGTH = 16, 4, 5, 8
_TIME: Final = TimeSettings(frequencies=(1.0, 0.1, 0.003), cosines_first=True)
_STEPS: Final = (
    StepSettings(timestep=999.0, scale=0.7, keep=1.0, move=-0.4, noise=0.2),
    StepSettings(timestep=437.5, keep=0.9, move=0.3),
)
_SEEDS: Final = (0, 7, (1 << 53) - 1)


class _Played:
    """A network whose answers are drawn from a seed; each call is recorded, so that another language plays it back."""

    def __init__(self, recording: Recording, runs: list[dict[str, Any]], spec: ComponentSpec, name: str) -> None:
        self._recording, self._runs, self._spec, self._name = recording, runs, spec, name

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Record what goes in and what comes out."""
        rng = np.random.default_rng(len(self._runs))
        made = {t.name: rng.uniform(-1, 1, t.shape).astype(np.float32) for t in self._spec.outputs}
        tensor = self._recording.tensor
        self._runs.append(
            {
                "network": self._name,
                "inputs": {name: tensor(values.copy()) for name, values in inputs.items()},
                "outputs": {name: tensor(values) for name, values in made.items()},
            }
        )
        return made


def record_latent(recording: Recording) -> None:
    """Add the cases of every function around the latent family's networks.

    Parameters
    ----------
    recording
        Receives the cases.
    """
    tensor = recording.tensor
    recording.add("noise", [_drawn(recording, seed) for seed in _SEEDS])
    turned = [_TIME, TimeSettings(frequencies=(2.0, 0.5), cosines_first=False)]
    recording.add(
        "time_features",
        [
            {"timestep": t, "time": settings.model_dump(mode="json"), "features": tensor(time_features(t, settings))}
            for settings in turned
            for t in (0.0, 1.0, 999.0, 437.5)
        ],
    )
    recording.add("denoise", [_denoised(recording)])
    sizes = ((4, 4, 4, 1), (4, 9, 6, 1), (4, 9, 6, 4), (8, 8, 21, 2))
    recording.add("latent_tiles", [_tiled(recording, *sides) for sides in sizes])
    recording.add("rotary", [_rotated(recording, settings, where) for settings, where in _rotations()])
    recording.add("prompt_positions", [_placed(settings) for settings in (_critic(None), _critic(2))])
    recording.add("word_table", _tables(recording))
    recording.add("conversation", [_conversation(recording, rows) for rows in (None, 2)])
    recording.add("edit", [_edit(recording, *sides) for sides in ((16, 16), (16, 28))])


def _drawn(recording: Recording, seed: int) -> dict[str, Any]:
    noise = Noise(seed)
    return {"seed": seed, "draws": [recording.tensor(noise.draw(shape)) for shape in ((1, 3, 5), (64,), (1,))]}


def _denoised(recording: Recording) -> dict[str, Any]:
    """Return a case whose network gives a quarter of the latents and a thousandth of the timestep."""
    start = Noise(3).draw((1, 4, 2, 2))

    def predict(latents: FloatArray, timestep: float) -> FloatArray:
        return latents * np.float32(0.25) + np.float32(timestep / 1000)

    made = denoise(start, _STEPS, predict, Noise(5))
    steps = [step.model_dump(mode="json") for step in _STEPS]
    return {"start": recording.tensor(start), "seed": 5, "steps": steps, "latents": recording.tensor(made)}


def _tiled(recording: Recording, tile: int, height: int, width: int, scale: int) -> dict[str, Any]:
    """Return a case whose network repeats each latent ``scale`` times along both sides, and darkens a tile's end."""
    tiles = Tiles(tile, height, width)
    values = np.random.default_rng(tile + width).uniform(0, 1, (1, 2, height, width)).astype(np.float32)
    y, x = np.mgrid[0 : tile * scale, 0 : tile * scale]
    shade = (1 - (y + x) / 256).astype(np.float32)

    def run(given: Mapping[str, FloatArray]) -> FloatArray:
        larger: FloatArray = given["latents"].repeat(scale, 2).repeat(scale, 3) * shade
        return larger

    made = recording.tensor(tiles.map(run, {"latents": values}))
    sides = {"tile": tile, "height": height, "width": width, "scale": scale}
    return {**sides, "places": tiles.places, "values": recording.tensor(values), "tiled": made}


def _rotations() -> list[tuple[RotarySettings, list[Any]]]:
    frequencies = tuple(float(np.float32(10000.0 ** (-n / 6))) for n in range(6))
    text, picture = [0, 1, 5, 1000], [[0, 1, 2], [0, 1, 9], [0, 3, 2]]
    return [
        (RotarySettings(frequencies=frequencies, scale=1.0), text),
        (RotarySettings(frequencies=frequencies, scale=0.5, sections=(2, 3, 1)), picture),
        (RotarySettings(frequencies=frequencies, scale=1.0, sections=(2, 2, 2), interleaved=True), picture),
        (RotarySettings(frequencies=frequencies, scale=1.0, sections=(4, 1, 1), interleaved=True), picture),
        (RotarySettings(frequencies=frequencies, scale=1.0, sections=(2, 2, 2)), text),
    ]


def _rotated(recording: Recording, settings: RotarySettings, positions: list[Any]) -> dict[str, Any]:
    frequencies = np.array(settings.frequencies, np.float32)
    rotary = Rotary(frequencies, settings.scale, settings.sections, settings.interleaved)
    cosines, sines = rotary.at(np.array(positions))
    made = {"cosines": recording.tensor(cosines), "sines": recording.tensor(sines)}
    return {"rotary": settings.model_dump(mode="json"), "positions": positions, **made}


def _critic(rows: int | None) -> CriticSettings:
    sections = () if rows is None else (1, 1, 0)
    return CriticSettings(
        prompt=_PROMPT,
        picture_token=_PICTURE_TOKEN,
        stops=(0,),
        longest_answer=7,
        picture=PictureSettings(side=8, resampling=Resampling.BILINEAR, mean=(0.5,) * 3, deviation=(0.5,) * 3),
        rotary=RotarySettings(frequencies=(1.0, 0.01), scale=1.0, sections=sections),
        rows=rows,
    )


def _placed(settings: CriticSettings) -> dict[str, Any]:
    positions = np.atleast_2d(prompt_positions(settings)).tolist()
    return {"critic": settings.model_dump(mode="json"), "positions": positions}


def _table() -> tuple[EmbeddingTable, bytes]:
    """Return a table of word vectors, and its file."""
    rng = np.random.default_rng(8)
    levels = rng.integers(-127, 128, (_WORDS, _WIDTH)).astype(np.int8)
    scales = rng.uniform(0.001, 0.1, _WORDS).astype("<f4")
    return EmbeddingTable(levels, scales), _table_file(("I8", levels), ("F32", scales))


def _grouped_table() -> tuple[EmbeddingTable, bytes]:
    """Return a table of 4 bits, two groups a vector, and its file."""
    rng = np.random.default_rng(9)
    levels = rng.integers(0, 256, (_WORDS, GROUP)).astype(np.uint8)
    scales = (rng.uniform(0.001, 0.1, (_WORDS, 2)).astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    return EmbeddingTable(levels, scales), _table_file(("U8", levels), ("BF16", scales))


def _table_file(levels: tuple[str, npt.NDArray[Any]], scales: tuple[str, npt.NDArray[Any]]) -> bytes:
    """Return the file of a table whose tensors are given with safetensors' names of their types."""
    about, content = dict[str, Any](), b""
    for name, (dtype, values) in ((SCALES, scales), (LEVELS, levels)):
        places = [len(content), len(content) + values.nbytes]
        about[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": places}
        content += values.tobytes()
    header = json.dumps(about).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content


def _tables(recording: Recording) -> list[dict[str, Any]]:
    """Return a table's file and the vectors of a few words, in each number of bits, and files that are none."""
    tables, words = (_table(), _grouped_table()), (0, 10, 3, 3)
    (_, legal), (_, grouped) = tables
    broken = [b"", legal[:40], legal[:-1], legal.replace(b'"I8"', b'"U8"'), legal.replace(b"levels", b"lovels")]
    broken += [b"\xff" * 8 + legal[8:], legal.replace(b'"shape"', b'"shake"')]
    # Half the levels of its groups; levels of one kind with scales of the other; no group a vector.
    broken += [_table_file(("U8", np.zeros((2, 16), np.uint8)), ("BF16", np.zeros((2, 2), np.uint16)))]
    broken += [_table_file(("U8", np.zeros((2, 16), np.uint8)), ("F32", np.zeros(2, np.float32)))]
    broken += [_table_file(("I8", np.zeros((2, 32), np.int8)), ("BF16", np.zeros((2, 1), np.uint16)))]
    broken += [grouped[:-1]]

    def tensor(content: bytes) -> dict[str, Any]:
        return recording.tensor(np.frombuffer(content, np.uint8))

    read = [
        {"file": tensor(file), "words": words, "rows": recording.tensor(table.rows(words)), "shape": table.shape}
        for table, file in tables
    ]
    return [*read, *({"file": tensor(file), "words": None} for file in broken)]


def _spec(
    name: str, role: Role, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]
) -> ComponentSpec:
    return ComponentSpec(name=name, role=role, inputs=_tensors(inputs), outputs=_tensors(outputs))


def _tensors(shapes: Mapping[str, Sequence[int]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, shape=tuple(shape), semantics=name) for name, shape in shapes.items())


def _language() -> ComponentSpec:
    def function(size: int) -> tuple[dict[str, Sequence[int]], dict[str, Sequence[int]]]:
        rotated, cache, new = (size, _HEAD), (2, 1, _CACHE, _HEAD), (2, 1, size, _HEAD)
        inputs: dict[str, Sequence[int]] = {"embeddings": (size, _WIDTH + 2), "cosines": rotated, "sines": rotated}
        inputs |= {"mask": (size, _CACHE + size), "keys": cache, "values": cache, "pick": (1, size)}
        return inputs, {"logits": (1, _WORDS), "hidden": (size, _WIDTH), "new_keys": new, "new_values": new}

    step, prefill = function(1), function(_CHUNK)
    more = FunctionSpec(name=PREFILL, inputs=_tensors(prefill[0]), outputs=_tensors(prefill[1]))
    return _spec("language", Role.LANGUAGE, *step).model_copy(update={"functions": (more,)})


def _conversation(recording: Recording, rows: int | None) -> dict[str, Any]:
    """Return an answer of which the artist reads two words, and which then goes on to its end."""
    settings, language, runs = _critic(rows), _language(), list[dict[str, Any]]()
    table, file = _table()
    seen = _spec("vision", Role.VISION, {"pixels": (1, 3, 8, 8)}, {"tokens": (1, 4, _WIDTH + 2)})

    def played(spec: ComponentSpec, name: str) -> _Played:
        return _Played(recording, runs, spec, name)

    critic = LatentCritic(
        played(seen, "vision"),
        played(language.of(None), "step"),
        played(language.of(PREFILL), PREFILL),
        language,
        table,
        settings,
    )
    picture = np.random.default_rng(2).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    said = critic.begin(picture)
    states = said.states(2)
    answer = said.finish()
    return {
        "critic": settings.model_dump(mode="json"),
        "table": recording.tensor(np.frombuffer(file, np.uint8)),
        "language": language.model_dump(mode="json"),
        "picture": recording.tensor(picture),
        "words": 2,
        "states": recording.tensor(states),
        "ids": answer.ids,
        "hidden": recording.tensor(answer.hidden),
        "runs": runs,
    }


def _edit(recording: Recording, height: int, width: int) -> dict[str, Any]:
    """Return an edit by an artist with a bridge, which reads fewer hidden states than there are."""
    runs, small = list[dict[str, Any]](), _SIDE // _FACTOR
    latents, image, read = (1, 2, small, small), (1, 3, _SIDE, _SIDE), (1, _STATES, _LENGTH)
    specs = {
        "encode": _spec("encode", Role.ENCODE, {"image": image}, {"latents": latents}),
        "denoise": _spec(
            "denoise",
            Role.DENOISE,
            {"latents": latents, "picture": latents, "time": (1, 6), "text": read, "mask": (1, _STATES)},
            {"prediction": latents},
        ),
        "decode": _spec("decode", Role.DECODE, {"latents": latents}, {"image": image}),
        "bridge": _spec("bridge", Role.BRIDGE, {"hidden": read, "mask": (1, _STATES)}, {"text": read}),
    }
    networks = {name: Network(_Played(recording, runs, spec, name), spec) for name, spec in specs.items()}
    settings = ArtistSettings(
        side=_SIDE, latents=AffineSettings(scale=0.8, shift=0.1), picture=AffineSettings(scale=1.5),
        start_noise=0.9, start_picture=0.4, steps=_STEPS, time=_TIME, seed=11,
    )  # fmt: skip
    artist = LatentArtist(**networks, settings=settings)
    rng = np.random.default_rng(height * width)
    picture = rng.uniform(0, 1, (height, width, 3)).astype(np.float32)
    hidden = rng.uniform(-1, 1, (7, _LENGTH)).astype(np.float32)
    told: list[tuple[int, int]] = []
    change = artist.change(picture, hidden, _teller(told))
    return {
        "artist": settings.model_dump(mode="json"),
        "specs": {name: spec.model_dump(mode="json") for name, spec in specs.items()},
        "picture": recording.tensor(picture),
        "hidden": recording.tensor(hidden),
        "before": recording.tensor(change.before),
        "after": recording.tensor(change.after),
        "progress": told,
        "runs": runs,
    }


def _teller(told: list[tuple[int, int]]) -> Callable[[int, int], None]:
    return lambda done, of: told.append((done, of))
