"""The runtime's constants as Kotlin; `python -m pocketcrafter.runtime.vectors` writes them into android_demo.

Apps hold no constant of their own: what Python changes is changed there by the same command, and a test compares.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.bundle.manifest import PACKAGES
from pocketcrafter.runtime.bundle.schema import schema_text
from pocketcrafter.runtime.critique import GROUPS, MEASURED_BY, Item
from pocketcrafter.runtime.embedding import TABLE
from pocketcrafter.runtime.latent.settings import ARTIST, CRITIC, Latent
from pocketcrafter.runtime.plan import RESTORATION, VECTOR_UNITS, Attribute, attribute_limits
from pocketcrafter.runtime.pocket import TOKENIZER, Pocket
from pocketcrafter.runtime.prose.prompt import LADDERS, plan_word
from pocketcrafter.runtime.prose.tokenizer import Mark
from pocketcrafter.runtime.prose.wording import CLAUSES, FILLERS, INSTRUCTIONS, NO_CHANGE, STOPS, Fault, amount_text
from pocketcrafter.runtime.targets import TARGETS
from pocketcrafter.runtime.vectors.constants import CONSTANTS

FOLDER: Final = Path("android_demo/core/src/main")
_PACKAGE: Final = "kotlin/org/pocketcrafter/core/generated"
_HEAD: Final = """\
// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated
"""


def kotlin_sources() -> dict[str, str]:
    """Return the text of each generated file by its path in `FOLDER`."""
    bodies = {
        "Attribute.kt": _attributes(),
        "Item.kt": _items(),
        "Constants.kt": _constants(),
        "Wording.kt": _wording(),
        "Targets.kt": _targets(),
    }
    sources = {f"{_PACKAGE}/{name}": f"{_HEAD}\n{body}" for name, body in bodies.items()}
    return sources | {"resources/org/pocketcrafter/manifest.schema.json": schema_text()}


def _attributes() -> str:
    low, high = attribute_limits()
    rows = ",\n".join(
        f"    {a.name}({_text(a)}, {VECTOR_UNITS[a]!r}, {lowest!r}, {highest!r}, {str(a in RESTORATION).lower()})"
        for a, lowest, highest in zip(Attribute, low.tolist(), high.tolist(), strict=True)
    )
    return f"""\
/**
 * What a plan can change, in the order of the critic's and artist's vectors.
 *
 * @property key the name in JSON.
 * @property unit one unit of the plan vector in the attribute's own unit.
 * @property lowest the lowest legal value, in the attribute's own unit.
 * @property highest the highest legal value, in the attribute's own unit.
 * @property restores whether the restoration network carries it out; the others are tones.
 */
enum class Attribute(
    val key: String,
    val unit: Double,
    val lowest: Double,
    val highest: Double,
    val restores: Boolean,
) {{
{rows},
}}
"""


def _items() -> str:
    group_of = {item: group for group, items in GROUPS.items() for item in items}
    rows = ",\n".join(
        f"    {item.name}({_text(item)}, {_text(group_of[item])}, {_listed(_of(a) for a in MEASURED_BY.get(item, ()))})"
        for item in Item
    )
    return f"""\
/**
 * What a critique speaks about.
 *
 * @property label the name in JSON, for people too.
 * @property group the group that it belongs to.
 * @property measuredBy the attributes that are evidence for it.
 */
enum class Item(val label: String, val group: String, val measuredBy: List<Attribute>) {{
{rows},
}}
"""


def _constants() -> str:
    rows = "".join(
        f"\n    /** {c.meaning} */\n    const val {c.name}: "
        f"{'Int' if isinstance(c.value, int) else 'Double'} = {c.value!r}\n"
        for c in CONSTANTS
    )
    return f"/** Sizes of tensors, and constants of the analytic renderer. */\nobject Constants {{{rows}}}\n"


def _targets() -> str:
    rows = "".join(
        f"        {_text(kind)} to TargetKind({_text(row.backend)}, {_listed(map(_text, row.suffixes))}),\n"
        for kind, row in TARGETS.items()
    )
    return f"""\
/**
 * A target that a bundle can hold.
 *
 * @property backend what runs its artifacts on a computer.
 * @property suffixes what names of its artifacts may end in.
 */
data class TargetKind(val backend: String, val suffixes: List<String>)

/** The targets and components that manifests may name. */
object Targets {{
    /** Each target by its kind. */
    val KINDS: Map<String, TargetKind> = mapOf(
{rows}    )

    /** What names of artifacts end in that are folders. */
    val PACKAGES: List<String> = {_listed(map(_text, sorted(PACKAGES)))}

    /** The components that a pocket bundle may have. */
    val POCKET_COMPONENTS: List<String> = {_listed(map(_text, Pocket))}

    /** The components that a latent bundle may have. */
    val LATENT_COMPONENTS: List<String> = {_listed(map(_text, Latent))}

    /** Those that its critic has. */
    val LATENT_CRITIC: List<String> = {_listed(map(_text, CRITIC))}

    /** Those that its artist has. */
    val LATENT_ARTIST: List<String> = {_listed(map(_text, ARTIST))}

    /** Where a bundle with a language model has the vectors of its words. */
    const val WORD_TABLE: String = {_text(TABLE)}

    /** Where a bundle whose critic writes words has its vocabulary. */
    const val TOKENIZER: String = {_text(TOKENIZER)}
}}
"""


def _wording() -> str:
    ladders = "".join(f"        {_of(a)} to {_listed(_step(a, x) for x in LADDERS[a])},\n" for a in Attribute)
    fillers = "".join(
        f"        {_text(name)} to {_listed(_text(w) for words in by.values() for w in words)},\n"
        for name, by in FILLERS.items()
    )
    stops = "".join(f"        {amount!r} to {_text(words)},\n" for amount, words in STOPS.items())
    return f"""\
/**
 * An amount that prose can state.
 *
 * @property amount in the attribute's own unit.
 * @property word the word that tells the decoder of it.
 * @property text its magnitude as instructions write it.
 */
data class Step(val amount: Double, val word: String, val text: String)

/**
 * A fault and what is said of it.
 *
 * @property attribute what mends it.
 * @property direction the sign of the change that mends it.
 * @property phrases templates with gaps such as `{{adv}}` or `{{amount}}`.
 */
data class Phrases(val attribute: Attribute, val direction: Int, val phrases: List<String>)

/** The words that critiques are written and read with. */
object Wording {{
    /** The words that give a critique its structure, in order. */
    val MARKS: List<String> = {_listed(map(_text, Mark))}

    /** The amounts that prose can state, ascending. */
    val LADDERS: Map<Attribute, List<Step>> = mapOf(
{ladders}    )

    /** What stands in the edit block of an empty plan. */
    val NO_CHANGE: List<String> = {_listed(map(_text, NO_CHANGE))}

    /** What the gaps of clauses can hold. */
    val FILLERS: Map<String, List<String>> = mapOf(
{fillers}    )

    /** Exposure amounts in words. */
    val STOPS: Map<Double, String> = mapOf(
{stops}    )

    /** Clauses that state a fault. */
    val CLAUSES: List<Phrases> = listOf(
{_phrases(CLAUSES)}    )

    /** Instructions that mend a fault. */
    val INSTRUCTIONS: List<Phrases> = listOf(
{_phrases(INSTRUCTIONS)}    )
}}
"""


def _phrases(table: Mapping[Fault, tuple[str, ...]]) -> str:
    return "".join(
        f"        Phrases({_of(attribute)}, {direction}, {_listed(map(_text, phrases))}),\n"
        for (attribute, direction), phrases in table.items()
    )


def _step(attribute: Attribute, amount: float) -> str:
    return f"Step({amount!r}, {_text(plan_word(attribute, amount))}, {_text(amount_text(amount))})"


def _of(attribute: Attribute) -> str:
    return f"Attribute.{attribute.name}"


def _listed(values: Iterable[str]) -> str:
    listed = ", ".join(values)
    return f"listOf({listed})" if listed else "emptyList()"


def _text(value: str) -> str:
    return json.dumps(value).replace("$", "\\$")
