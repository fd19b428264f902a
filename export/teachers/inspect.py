"""What a teacher's folder holds, told before anything of it is loaded: headers and configurations alone are read."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.export.families.latent.critic_folder import TOKENIZER_FILE, embedding_table, words_of
from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.lora import Adapter, Dialect
from pocketcrafter.export.licenses import UNKNOWN, forbids_commerce, stated_license
from pocketcrafter.export.teachers.cost import Cost, cost_of
from pocketcrafter.export.teachers.layout import Found, Layout, read_layout, unread_files
from pocketcrafter.export.teachers.systems import PROMPT_FILE, RELEASED, Part, SystemName
from pocketcrafter.export.teachers.tensors import QWEN_IMAGE, differences, fingerprint, gaps, qwen_image_shapes, short
from pocketcrafter.runtime.config import Config

_SLOW_WORDS: Final = ("vocab.json", "added_tokens.json")
_MOST_WORD_BYTES: Final = 64 << 20


class AdapterFacts(Config):
    """A LoRA, and what its release does with it."""

    file: str
    dialect: Dialect
    layers: int = Field(description="Layers that it changes.")
    ranks: tuple[int, ...]
    stored_scales: tuple[float, ...] = Field(description="Factors that its files and configuration ask for.")
    scale: float | None = Field(description="Factor that the release's code fixes; null where it takes the stored one.")
    unplaced: tuple[str, ...] = Field((), description="Layers that the network has not.")


class Vocabulary(Config):
    """A tokenizer beside the table of a language model."""

    words: int = Field(description="One more than the highest number of a word.")
    rows: int = Field(description="Of the table of embeddings.")


class NetworkFacts(Config):
    """One network of a teacher."""

    name: str
    part: str
    path: str
    kind: str = Field(description="Its class.")
    fingerprint: str = Field(description="MD5 over the names and shapes of its tensors.")
    known_as: str | None = Field(description="Which published network has this fingerprint.")
    tensors: int
    parameters: int
    dtypes: dict[str, int] = Field(description="Tensors by type.")
    adapters: tuple[AdapterFacts, ...] = ()
    vocabulary: Vocabulary | None = None


class TeacherFacts(Config):
    """All that headers and configurations tell of a teacher."""

    folder: str
    system: SystemName
    title: str
    license: str = Field(description="SPDX identifier: of its folder, or else of its release.")
    commercial: bool | None = Field(description="Whether the licence allows commercial use; null where none is stated.")
    prompt_sha256: str | None = Field(description="Of the fixed prompt that the release's code has.")
    networks: tuple[NetworkFacts, ...]
    cost: Cost
    missing: tuple[str, ...] = Field(description="What is not there, by name.")
    foreign: tuple[str, ...] = Field(description="Tensors, and layers of adapters, that have no place, by name.")
    unread: tuple[str, ...] = Field(description="Files and folders that nothing reads.")
    warnings: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether all networks are whole, and their adapters theirs."""
        return not self.missing and not self.foreign


def inspect(folder: Path, name: SystemName | None = None) -> TeacherFacts:
    """Return what a teacher's folder holds.

    Parameters
    ----------
    folder
        As it was downloaded.
    name
        Which system it is; told by its marks where none is given.

    Raises
    ------
    CheckpointError
        If it is no teacher that is known, or a file in it is damaged.
    """
    layout = read_layout(folder, name)
    try:
        return _facts(layout)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, IndexError) as error:
        raise CheckpointError(
            f"{folder}: a config.json in it is not one of the class that it names ({error!r}); download it again."
        ) from error


def _facts(layout: Layout) -> TeacherFacts:
    license_ = license_of(layout)
    missing = [*layout.missing]
    foreign: list[str] = []
    warnings: list[str] = []
    networks = []
    for found in layout.networks:
        facts = _network(found)
        networks.append(facts)
        absent, strange = _tensors(found)
        missing += [f"{found.place.name}: {text}" for text in absent]
        foreign += [f"{found.place.name}: {text}" for text in strange]
        foreign += [f"{a.file}: {text}" for a in facts.adapters for text in a.unplaced]
        warnings += _warnings(found, facts)
        missing += _absent_words(found)
    prompt = layout.folder / PROMPT_FILE
    return TeacherFacts(
        folder=str(layout.folder),
        system=layout.name,
        title=layout.system.title,
        license=license_,
        commercial=None if license_ == UNKNOWN else not forbids_commerce(license_),
        prompt_sha256=sha256(prompt.read_bytes()).hexdigest() if layout.system.prompt and prompt.is_file() else None,
        networks=tuple(networks),
        cost=cost_of(layout),
        missing=tuple(missing),
        foreign=tuple(foreign),
        unread=tuple(unread_files(layout)),
        warnings=tuple(warnings),
    )


def license_of(layout: Layout) -> str:
    """Return a teacher's licence: what its folder states, else its release's; the latter wins where it forbids more.

    Parameters
    ----------
    layout
        Of its folder.
    """
    stated, released = stated_license(layout.folder)[0], layout.system.license
    if released is not None and (stated == UNKNOWN or forbids_commerce(released)):
        return released
    return stated


def _network(found: Found) -> NetworkFacts:
    shapes = found.shapes
    mark = fingerprint(shapes)
    return NetworkFacts(
        name=found.place.name,
        part=found.place.part.value,
        path=str(found.path),
        kind=found.kind,
        fingerprint=mark,
        known_as=RELEASED.get(mark),
        tensors=len(shapes),
        parameters=sum(map(prod, shapes.values())),
        dtypes=dict(Counter(tensor.dtype for tensor in found.stored.tensors.values())),
        adapters=tuple(_adapter(found, adapter) for adapter in found.written),
        vocabulary=_vocabulary(found),
    )


def _adapter(found: Found, adapter: Adapter) -> AdapterFacts:
    return AdapterFacts(
        file=str(adapter.file),
        dialect=adapter.dialect,
        layers=len(adapter.changes),
        ranks=tuple(sorted({change.rank for change in adapter.changes.values()})),
        stored_scales=tuple(sorted({change.stored_scale() for change in adapter.changes.values()})),
        scale=found.place.scale,
        unplaced=_unplaced(found, adapter),
    )


def _unplaced(found: Found, adapter: Adapter) -> tuple[str, ...]:
    """Return why an adapter does not fit: what it says of each layer that the network has not."""
    try:
        found.placed(adapter)
    except CheckpointError as error:
        return tuple(line.strip() for line in str(error).splitlines()[1:-1])
    return ()


def _tensors(found: Found) -> tuple[list[str], list[str]]:
    """Return what tensors are missing, and which are foreign."""
    if found.kind == QWEN_IMAGE:
        return differences(qwen_image_shapes(found.config), found.shapes)
    return gaps(found.shapes), []


def _vocabulary(found: Found) -> Vocabulary | None:
    words = _words(found)
    if words is None:
        return None
    return Vocabulary(words=1 + max(words.values()), rows=embedding_table(found.path, found.stored).shape[0])


def _words(found: Found) -> dict[str, int] | None:
    if "text_config" not in found.config and found.place.part is not Part.CRITIC:
        return None
    for folder in (found.path, found.path.parent / "tokenizer", found.path.parent / "processor"):
        if (folder / TOKENIZER_FILE).is_file():
            return words_of(folder / TOKENIZER_FILE)
        slow = [folder / name for name in _SLOW_WORDS if (folder / name).is_file()]
        if slow:
            ids = [read_json(path, "save the tokenizer again", _MOST_WORD_BYTES) for path in slow]
            return {str(word): int(number) for said in ids for word, number in said.items()}
    return None


def _absent_words(found: Found) -> Iterator[str]:
    words = _words(found)
    if words is None and found.place.part is Part.CRITIC:
        yield f"{found.place.name}: {TOKENIZER_FILE}, or {_SLOW_WORDS[0]}; save its processor there too"
    yield from (f"{found.place.name}: the word {word}" for word in found.place.words if words and word not in words)


def _warnings(found: Found, facts: NetworkFacts) -> Iterator[str]:
    name = found.place.name
    for adapter in facts.adapters:
        wanted = adapter.scale
        if wanted is not None and adapter.stored_scales != (wanted,):
            asked = short(map("{:g}".format, adapter.stored_scales))
            yield (
                f"SCALE: {adapter.file}: its configuration asks for {asked}, and the release applies "
                f"{wanted:g} whatever it says. Readers that follow the configuration (PEFT, diffusers) make another "
                f"network of it; {wanted:g} is applied here."
            )
    if (words := facts.vocabulary) is not None:
        if words.words > words.rows:
            yield (
                f"WORDS: {name}: the tokenizer has {words.words} words and the embeddings {words.rows} rows: they are "
                "not of one model, and words without a row cannot be read."
            )
        elif found.place.words and words.words != words.rows:
            yield f"WORDS: {name}: the tokenizer has {words.words} words and the embeddings {words.rows} rows."
