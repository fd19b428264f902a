package org.pocketcrafter.core.bundle

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.GateSettings
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.generated.Targets
import org.pocketcrafter.core.latent.LatentSettings

/** One file of a bundle: its path within it, its SHA-256 in lowercase hex, its size in bytes. */
data class FileEntry(val path: String, val sha256: String, val size: Long)

/**
 * One input or output of a component; every tensor is float32 at the component's edge.
 *
 * @property mends of an output that is an input changed a little: that input, of the same shape; its fidelity is that of
 *   the change.
 */
data class TensorSpec(val name: String, val shape: List<Int>, val mends: String? = null) {
    /** How many values it has. */
    val size: Int get() = shape.fold(1) { count, side -> count * side }
}

/** What goes into a further function of a component and comes out of it: other tensors over the same weights. */
data class FunctionSpec(val name: String, val inputs: List<TensorSpec>, val outputs: List<TensorSpec>)

/**
 * Recorded inputs of a component and what full precision makes of them: paths of two files of the bundle.
 *
 * @property function which further function it is of; `null` for the default one.
 */
data class Golden(val inputs: String, val outputs: String, val function: String?)

/**
 * A component for one target.
 *
 * @property path its file in the bundle.
 * @property precision how its numbers are stored, such as `int8`.
 * @property minimumSqnr what its outputs must reach against the goldens, in dB; `null` where another figure is asked for.
 * @property functionPaths the files of those further functions that have one of their own, by name.
 */
data class Artifact(val path: String, val precision: String, val minimumSqnr: Double?, val functionPaths: Map<String, String>)

/**
 * A network of the bundle.
 *
 * @property inputs its inputs in calling order.
 * @property outputs its outputs in calling order.
 * @property artifacts its artifact by target name.
 * @property goldens its goldens.
 * @property functions its further functions.
 */
data class Component(
    val name: String,
    val inputs: List<TensorSpec>,
    val outputs: List<TensorSpec>,
    val artifacts: Map<String, Artifact>,
    val goldens: List<Golden>,
    val functions: List<FunctionSpec>,
) {
    /**
     * Returns the component with the contract of one of its functions; the default one's where it is `null`.
     *
     * @throws BundleException if it has no such function.
     */
    fun of(function: String?): Component {
        if (function == null) return this
        val spec = functions.find { it.name == function } ?: throw BundleException("`$name` has no function `$function`.")
        return copy(inputs = spec.inputs, outputs = spec.outputs)
    }

    /**
     * Returns an input's contract.
     *
     * @throws BundleException if it has no such input.
     */
    fun input(name: String): TensorSpec =
        inputs.find { it.name == name } ?: throw BundleException("`${this.name}` has no input `$name`.")

    /**
     * Returns the values of the inputs in calling order, each of its contract's size.
     *
     * @throws ShapeException if one is absent or of another size.
     */
    fun inOrder(values: Map<String, FloatArray>): List<FloatArray> = inputs.map { spec ->
        values[spec.name]?.takeIf { it.size == spec.size }
            ?: throw ShapeException("`$name` takes ${spec.size} values of `${spec.name}`, not ${values[spec.name]?.size}.")
    }
}

/** A target: what kind of artifact it has, and what it asks for; `null` where any chip or system will do. */
data class Target(val name: String, val kind: String, val backend: String, val soc: String?, val minimumOs: String?)

/**
 * What a bundle holds, read from its `manifest.json`: validated by the JSON Schema that Python checks in, unknown keys
 * refused, and then for what no schema says: safe paths, no file twice, nothing used that is not listed.
 *
 * @property sha256 of the manifest itself, in lowercase hex: it names one state of one bundle.
 * @property family which pair of critic and artist it is.
 * @property gate what a `pocket` bundle's critic is tuned with.
 * @property latent how a `latent` bundle's critic and artist work.
 */
class Manifest private constructor(
    val name: String,
    val sha256: String,
    val family: String,
    val components: List<Component>,
    val targets: List<Target>,
    val files: List<FileEntry>,
    val gate: GateSettings?,
    val latent: LatentSettings?,
) {
    /**
     * Returns a component by its name.
     *
     * @throws BundleException if the bundle has none of that name.
     */
    fun component(name: String): Component = components.find { it.name == name }
        ?: throw BundleException("The bundle `${this.name}` has no component `$name`; it has ${components.joinToString { it.name }}.")

    companion object {
        /** The most bytes that a manifest has. */
        const val MAX_BYTES = 4 shl 20
        private const val RESOURCE = "/org/pocketcrafter/manifest.schema.json"
        private const val VERSION = 2L
        private const val POCKET = "pocket"
        private const val LATENT = "latent"
        private const val JUDGE = "judge"
        private val RESERVED = setOf("manifest.json", "manifest.sha256")
        private val FORBIDDEN = Regex("[\\\\:*?\"<>|\\u0000-\\u001F\\u007F]")

        private val SCHEMA: Schema by lazy {
            val stream = Manifest::class.java.getResourceAsStream(RESOURCE)
                ?: error("$RESOURCE is not in the app: pack the core's resources too.")
            Schema(Json.parse(stream.use { it.readBytes().decodeToString() }))
        }

        /**
         * Parses and validates a manifest.
         *
         * @throws BundleException with every fault that was found.
         */
        fun parse(content: ByteArray): Manifest {
            if (content.size > MAX_BYTES) throw BundleException("The manifest has ${content.size} bytes; $MAX_BYTES are the most.")
            val raw = try {
                Json.parse(content.decodeToString(throwOnInvalidSequence = true))
            } catch (error: JsonException) {
                throw BundleException("The manifest is not JSON: ${error.message}", error)
            } catch (error: CharacterCodingException) {
                throw BundleException("The manifest is not UTF-8.", error)
            }
            val version = (raw as? Map<*, *>)?.get("schema_version")
            if (version is Long && version != VERSION) {
                throw BundleException("The manifest is of schema version $version; this app reads version $VERSION.")
            }
            refuse(SCHEMA.faults(raw))
            val manifest = read(asObject(raw), sha256(content))
            refuse(faults(manifest, asObject(raw)))
            return manifest
        }

        private fun refuse(faults: List<String>) {
            if (faults.isNotEmpty()) throw BundleException("Not a valid manifest: ${faults.take(20).joinToString("; ")}.")
        }

        private fun read(raw: Map<String, Any?>, sha256: String): Manifest {
            val settings = asObject(raw["settings"])
            val components = asList(raw["components"]).map { component(asObject(it)) }
            val gate = settings["gate"]?.takeIf { raw["family"] == POCKET }?.let { GateSettings.read(asObject(it)) }
            return Manifest(
                name = raw["name"] as String,
                sha256 = sha256,
                family = raw["family"] as String,
                components = components,
                targets = asObject(raw["targets"]).map { (name, it) -> target(name, asObject(it)) },
                files = asList(raw["files"]).map { file(asObject(it)) },
                gate = if (components.any { it.name == JUDGE }) gate else gate?.unjudged(),
                latent = settings.takeIf { raw["family"] == LATENT }?.let(LatentSettings::read),
            )
        }

        private fun component(raw: Map<String, Any?>): Component {
            val spec = asObject(raw["spec"])
            return Component(
                spec["name"] as String,
                tensors(spec["inputs"]),
                tensors(spec["outputs"]),
                asObject(raw["artifacts"]).mapValues { artifact(asObject(it.value)) },
                asList(raw["goldens"]).map(::asObject)
                    .map { Golden(it["inputs"] as String, it["outputs"] as String, it["function"] as String?) },
                asList(spec["functions"]).map(::asObject)
                    .map { FunctionSpec(it["name"] as String, tensors(it["inputs"]), tensors(it["outputs"])) },
            )
        }

        private fun artifact(raw: Map<String, Any?>): Artifact {
            val gate = asObject(raw["golden_gate"])
            val minimum = (gate["minimum"] as Number?)?.toDouble().takeIf { gate["metric"] == "sqnr-db" }
            val path = raw["path"] as String
            val own = asList(raw["functions"]).map(::asObject).mapNotNull { function ->
                (function["file"] as String?)?.let { function["name"] as String to path.substringBeforeLast('/') + "/" + it }
            }
            return Artifact(path, raw["precision"] as String, minimum, own.toMap())
        }

        private fun tensors(raw: Any?): List<TensorSpec> = asList(raw).map(::asObject).map {
            TensorSpec(it["name"] as String, asList(it["shape"]).map { side -> (side as Number).toInt() }, it["mends"] as String?)
        }

        private fun target(name: String, raw: Map<String, Any?>) = Target(
            name, raw["kind"] as String, raw["backend"] as String, raw["soc"] as String?, raw["minimum_os"] as String?,
        )

        private fun file(raw: Map<String, Any?>) =
            FileEntry(raw["path"] as String, raw["sha256"] as String, (raw["size"] as Number).toLong())

        private fun faults(manifest: Manifest, raw: Map<String, Any?>): List<String> = buildList {
            val used = used(raw)
            (manifest.files.map { it.path } + used).filterNot(::isSafe).forEach { add("the path `$it` does not stay inside the bundle") }
            // Two paths that differ only in case are one file on some phones.
            val folded = manifest.files.map { it.path.lowercase() }
            repeats(folded).forEach { add("the file `$it` is listed twice") }
            RESERVED.filter { it in folded }.forEach { add("`files` lists `$it`, which holds the list itself") }
            repeats(manifest.components.map { it.name }).forEach { add("the component `$it` is listed twice") }
            val listed = manifest.files.map { it.path }.toSet()
            val packages = listed.flatMap(::packagesOf).toSet()
            (used - listed - packages).forEach { add("`$it` is used but not in `files`") }
            val names = manifest.targets.map { it.name }.toSet()
            for (component in manifest.components) {
                if (component.artifacts.keys != names) add("`${component.name}` has not one artifact for each target")
                for ((target, artifact) in component.artifacts) {
                    val path = artifact.path
                    val kind = manifest.targets.find { it.name == target }?.kind ?: continue
                    if (Targets.KINDS.getValue(kind).suffixes.none { path.endsWith(it) }) {
                        add("`${component.name}` for $target is `$path`, which is no artifact of $kind")
                    }
                }
            }
            for (target in manifest.targets) {
                val backend = Targets.KINDS.getValue(target.kind).backend
                if (target.backend != backend) add("`${target.kind}` is run by $backend, not by ${target.backend}")
            }
            if (manifest.family == POCKET) {
                (manifest.components.map { it.name } - Targets.POCKET_COMPONENTS.toSet()).forEach { add("a pocket bundle has no component `$it`") }
                if (manifest.gate?.judge == null && manifest.components.any { it.name == JUDGE }) {
                    add("the judge needs what it chooses from, and the gate says nothing of that")
                }
                if (manifest.components.any { it.name == "decoder" } && Targets.TOKENIZER !in listed) add("the decoder needs ${Targets.TOKENIZER}")
            }
            manifest.latent?.let { addAll(latentFaults(it, manifest.components.map { it.name }, listed)) }
            asList(raw["components"]).map(::asObject).forEach { addAll(functionFaults(it)) }
        }

        private fun latentFaults(settings: LatentSettings, names: List<String>, files: Set<String>): List<String> = buildList {
            (names - Targets.LATENT_COMPONENTS.toSet()).forEach { add("a latent bundle has no component `$it`") }
            val wanted = Targets.LATENT_CRITIC.takeIf { settings.critic != null }.orEmpty() + Targets.LATENT_ARTIST.takeIf { settings.artist != null }.orEmpty()
            (wanted - names.toSet()).forEach { add("the pair lacks `$it`") }
            if (settings.critic != null) (setOf(Targets.WORD_TABLE, Targets.TOKENIZER) - files).forEach { add("the critic needs $it") }
        }

        private fun functionFaults(component: Map<String, Any?>): List<String> = buildList {
            val spec = asObject(component["spec"])
            val wanted = asList(spec["functions"]).map(::asObject)
            val names = wanted.map { it["name"] as String }
            val goldens = asList(component["goldens"]).map { asObject(it)["function"] as String? }
            goldens.filter { it != null && it !in names }.forEach { add("`${spec["name"]}` has a golden of `$it`, no function of it") }
            if (null !in goldens) add("`${spec["name"]}` has no golden of its default function")
            repeats(names).forEach { add("`${spec["name"]}` lists the function `$it` twice") }
            for ((target, artifact) in asObject(component["artifacts"])) {
                val made = asList(asObject(artifact)["functions"]).map { asObject(it)["name"] as String }
                (names - made.toSet()).forEach { add("`${spec["name"]}` for $target lacks the function `$it`") }
            }
        }

        private fun used(raw: Map<String, Any?>): Set<String> = buildSet {
            asList(raw["licenses"]).forEach { add(asObject(it)["path"] as String) }
            for (component in asList(raw["components"]).map(::asObject)) {
                for (golden in asList(component["goldens"]).map(::asObject)) {
                    add(golden["inputs"] as String)
                    add(golden["outputs"] as String)
                }
                for (artifact in asObject(component["artifacts"]).values.map(::asObject)) {
                    val path = artifact["path"] as String
                    add(path)
                    val beside = path.substringBeforeLast('/', "")
                    asList(artifact["functions"]).mapNotNull { asObject(it)["file"] as String? }
                        .forEach { add(if (beside.isEmpty()) it else "$beside/$it") }
                }
            }
        }

        /** Packages are folders: their files are listed, they are not. */
        private fun packagesOf(path: String): List<String> =
            path.indices.filter { path[it] == '/' }.map { path.take(it) }.filter { folder -> Targets.PACKAGES.any(folder::endsWith) }

        internal fun isSafe(path: String): Boolean =
            !FORBIDDEN.containsMatchIn(path) &&
                path.split('/').all { it !in setOf("", ".", "..") && !it.endsWith('.') && !it.endsWith(' ') }

        private fun repeats(names: List<String>): Set<String> =
            names.groupingBy { it }.eachCount().filterValues { it > 1 }.keys
    }
}
