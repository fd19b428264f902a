"""The runtime's constants as Swift and Metal; `python -m pocketcrafter.runtime.vectors` writes them.

Apps hold no constant of their own: what Python changes is changed there by the same command, and a test compares.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.bundle.manifest import PACKAGES, SCHEMA_VERSION
from pocketcrafter.runtime.bundle.schema import schema_text
from pocketcrafter.runtime.critique import GROUPS, MEASURED_BY, Item
from pocketcrafter.runtime.embedding import TABLE
from pocketcrafter.runtime.families import LATENT, POCKET
from pocketcrafter.runtime.latent.settings import ARTIST, CRITIC, Latent
from pocketcrafter.runtime.latent.settings import TOKENIZER as LATENT_TOKENIZER
from pocketcrafter.runtime.plan import RESTORATION, VECTOR_UNITS, Attribute, attribute_limits
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket
from pocketcrafter.runtime.prose.prompt import LADDERS, plan_word
from pocketcrafter.runtime.prose.tokenizer import Mark
from pocketcrafter.runtime.prose.wording import CLAUSES, FILLERS, INSTRUCTIONS, NO_CHANGE, STOPS, Fault, amount_text
from pocketcrafter.runtime.targets import TARGETS
from pocketcrafter.runtime.vectors.constants import CONSTANTS

FOLDER: Final = Path("ios_demo")
_CORE: Final = "PocketCrafterKit/Sources/Core/Generated"
_SHADERS: Final = "App/Shaders/Generated"
_HEAD: Final = "// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again."


def swift_sources() -> dict[str, str]:
    """Return the text of each generated file by its path in `FOLDER`."""
    bodies = {
        f"{_CORE}/Attribute.swift": _attributes(),
        f"{_CORE}/Item.swift": _items(),
        f"{_CORE}/Constants.swift": _constants(),
        f"{_CORE}/Wording.swift": _wording(),
        f"{_CORE}/Targets.swift": _targets(),
        f"{_CORE}/ManifestSchema.swift": _schema(),
        f"{_SHADERS}/Constants.h": _shader_constants(),
    }
    return {name: f"{_HEAD}\n\n{body}" for name, body in bodies.items()}


def _attributes() -> str:
    low, high = attribute_limits()
    cases = "".join(f"    case {_camel(a.name)}\n" for a in Attribute)
    rows = "".join(
        f"        Row(key: {_text(a)}, unit: {VECTOR_UNITS[a]!r}, lowest: {lowest!r}, highest: {highest!r}, "
        f"restores: {str(a in RESTORATION).lower()}),\n"
        for a, lowest, highest in zip(Attribute, low.tolist(), high.tolist(), strict=True)
    )
    return f"""\
/// What a plan can change; its raw value is its place in the critic's and artist's vectors.
public enum Attribute: Int, CaseIterable, Sendable {{
{cases}
    private struct Row: Sendable {{
        let key: String
        let unit: Double
        let lowest: Double
        let highest: Double
        let restores: Bool
    }}

    private static let rows: [Row] = [
{rows}    ]

    /// The name in JSON.
    public var key: String {{ Self.rows[rawValue].key }}

    /// One unit of the plan vector in the attribute's own unit.
    public var unit: Double {{ Self.rows[rawValue].unit }}

    /// The legal values, in the attribute's own unit.
    public var range: ClosedRange<Double> {{ Self.rows[rawValue].lowest...Self.rows[rawValue].highest }}

    /// Whether the restoration network carries it out; the others are tones.
    public var restores: Bool {{ Self.rows[rawValue].restores }}
}}
"""


def _items() -> str:
    group_of = {item: group for group, items in GROUPS.items() for item in items}
    cases = "".join(f"    case {_camel(item.name)}\n" for item in Item)
    rows = "".join(
        f"        Row(label: {_text(item)}, group: {_text(group_of[item])}, "
        f"measuredBy: {_listed(_of(a) for a in MEASURED_BY.get(item, ()))}),\n"
        for item in Item
    )
    return f"""\
/// What a critique speaks about.
public enum Item: Int, CaseIterable, Sendable {{
{cases}
    private struct Row: Sendable {{
        let label: String
        let group: String
        let measuredBy: [Attribute]
    }}

    private static let rows: [Row] = [
{rows}    ]

    /// The name in JSON, for people too.
    public var label: String {{ Self.rows[rawValue].label }}

    /// The group that it belongs to.
    public var group: String {{ Self.rows[rawValue].group }}

    /// The attributes that are evidence for it.
    public var measuredBy: [Attribute] {{ Self.rows[rawValue].measuredBy }}
}}
"""


def _constants() -> str:
    rows = "".join(
        f"\n    /// {c.meaning}\n    public static let {_camel(c.name)}: "
        f"{'Int' if isinstance(c.value, int) else 'Double'} = {c.value!r}\n"
        for c in CONSTANTS
    )
    return f"/// Sizes of tensors, and constants of the analytic renderer.\npublic enum Constants {{{rows}}}\n"


def _shader_constants() -> str:
    rows = "".join(f"#define PC_{c.name} {c.value!r}f\n" for c in CONSTANTS if isinstance(c.value, float))
    sizes = "".join(f"#define PC_{c.name} {c.value!r}\n" for c in CONSTANTS if c.name.startswith("GRID_"))
    return f"// Included by Metal and, in tests, by C++.\n#pragma once\n\n{rows}{sizes}"


def _targets() -> str:
    rows = "".join(
        f"        {_text(kind)}: TargetKind("
        f"backend: {_text(row.backend)}, suffixes: {_listed(map(_text, row.suffixes))}),\n"
        for kind, row in TARGETS.items()
    )
    return f"""\
/// A target that a bundle can hold.
public struct TargetKind: Sendable {{
    /// What runs its artifacts on a computer.
    public let backend: String
    /// What names of its artifacts may end in.
    public let suffixes: [String]
}}

/// The targets and components that manifests may name.
public enum Targets {{
    /// Each target by its kind.
    public static let kinds: [String: TargetKind] = [
{rows}    ]

    /// What names of artifacts end in that are folders.
    static let packages: [String] = {_listed(map(_text, sorted(PACKAGES)))}

    /// The components that a pocket bundle may have.
    public static let pocketComponents: [String] = {_listed(map(_text, Pocket))}

    /// Where a bundle with a decoder has its vocabulary.
    public static let tokenizer = {_text(TOKENIZER)}

    /// The family of the default pair.
    static let pocket = {_text(POCKET)}

    /// The family of a vision-language critic and a few-step artist.
    static let latent = {_text(LATENT)}

    /// Where a latent bundle with a critic has its vocabulary.
    static let latentTokenizer = {_text(LATENT_TOKENIZER)}

    /// Where a latent bundle with a critic has its word vectors.
    static let wordTable = {_text(TABLE)}
}}

/// A component of a latent bundle.
enum LatentComponent: String, CaseIterable {{
{"".join(f"    case {name}{chr(10)}" for name in Latent)}
    /// What a critic has.
    static let critic: [Self] = {_listed(f".{name}" for name in CRITIC)}

    /// What an artist has; a bridge goes before it where its conditions have another width.
    static let artist: [Self] = {_listed(f".{name}" for name in ARTIST)}
}}
"""


def _schema() -> str:
    return f"""\
/// The JSON Schema of manifests, as Python checks it in.
enum ManifestSchema {{
    /// The version of the manifests that it describes.
    static let version = {SCHEMA_VERSION}
    static let text = #\"\"\"
{schema_text()}\"\"\"#
}}
"""


def _wording() -> str:
    # One constant a ladder: a single literal of all of them takes the compiler's type checker very long.
    ladders = "".join(
        f"\n    private static let {_camel(a.name)}: [Step] = [\n"
        + "".join(f"        {_step(a, x)},\n" for x in LADDERS[a])
        + "    ]\n"
        for a in Attribute
    )
    table = "".join(f"        {_camel(a.name)},\n" for a in Attribute)
    fillers = "".join(
        f"        {_text(name)}: {_listed(_text(w) for words in by.values() for w in words)},\n"
        for name, by in FILLERS.items()
    )
    stops = "".join(f"        {amount!r}: {_text(words)},\n" for amount, words in STOPS.items())
    return f"""\
/// An amount that prose can state.
public struct Step: Sendable, Equatable {{
    /// In the attribute's own unit.
    public let amount: Double
    /// The word that tells the decoder of it.
    public let word: String
    /// Its magnitude as instructions write it.
    public let text: String
}}

/// A fault and what is said of it.
struct Phrases: Sendable {{
    /// What mends it.
    let attribute: Attribute
    /// The sign of the change that mends it.
    let direction: Int
    /// Templates with gaps such as `{{adv}}` or `{{amount}}`.
    let phrases: [String]
}}

/// The words that critiques are written and read with.
enum Wording {{
    /// The words that give a critique its structure, in order.
    static let marks: [String] = {_listed(map(_text, Mark))}

    /// The amounts that prose can state of an attribute, ascending.
    static func ladder(_ attribute: Attribute) -> [Step] {{ ladders[attribute.rawValue] }}

    private static let ladders: [[Step]] = [
{table}    ]
{ladders}
    /// What stands in the edit block of an empty plan.
    static let noChange: [String] = {_listed(map(_text, NO_CHANGE))}

    /// What the gaps of clauses can hold.
    static let fillers: [String: [String]] = [
{fillers}    ]

    /// Exposure amounts in words.
    static let stops: [Double: String] = [
{stops}    ]

    /// Clauses that state a fault.
    static let clauses: [Phrases] = [
{_phrases(CLAUSES)}    ]

    /// Instructions that mend a fault.
    static let instructions: [Phrases] = [
{_phrases(INSTRUCTIONS)}    ]
}}
"""


def _phrases(table: Mapping[Fault, tuple[str, ...]]) -> str:
    return "".join(
        f"        Phrases(attribute: {_of(attribute)}, direction: {direction}, "
        f"phrases: {_listed(map(_text, phrases))}),\n"
        for (attribute, direction), phrases in table.items()
    )


def _step(attribute: Attribute, amount: float) -> str:
    word, text = _text(plan_word(attribute, amount)), _text(amount_text(amount))
    return f"Step(amount: {amount!r}, word: {word}, text: {text})"


def _of(attribute: Attribute) -> str:
    return f".{_camel(attribute.name)}"


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(word.title() for word in rest)


def _listed(values: Iterable[str]) -> str:
    return f"[{', '.join(values)}]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
