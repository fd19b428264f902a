package org.pocketcrafter.core

import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.bundle.Fidelity
import org.pocketcrafter.core.bundle.FunctionSpec
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.core.bundle.TensorSpec
import org.pocketcrafter.core.bundle.asList
import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.latent.AnswerWords
import org.pocketcrafter.core.latent.ArtistSettings
import org.pocketcrafter.core.latent.Carried
import org.pocketcrafter.core.latent.Change
import org.pocketcrafter.core.latent.CriticSettings
import org.pocketcrafter.core.latent.LatentArtist
import org.pocketcrafter.core.latent.LatentCritic
import org.pocketcrafter.core.latent.LatentCritique
import org.pocketcrafter.core.latent.LatentTiles
import org.pocketcrafter.core.latent.Network
import org.pocketcrafter.core.latent.Noise
import org.pocketcrafter.core.latent.PictureSettings
import org.pocketcrafter.core.latent.Pictures
import org.pocketcrafter.core.latent.Positions
import org.pocketcrafter.core.latent.Rotary
import org.pocketcrafter.core.latent.RotarySettings
import org.pocketcrafter.core.latent.StepSettings
import org.pocketcrafter.core.latent.TimeSettings
import org.pocketcrafter.core.latent.Transfer
import org.pocketcrafter.core.latent.WordTable
import org.pocketcrafter.core.latent.denoised
import org.pocketcrafter.core.photo.Planes
import org.pocketcrafter.core.photo.Resampler
import org.pocketcrafter.core.photo.Resampling
import java.io.File
import kotlin.math.abs
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The loops of the latent family answer as Python's do; networks are played back, and what they are given is checked. */
class LatentTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `what Python refuses of a latent manifest is refused, and nothing else`() {
        for (case in Vectors.of("latent_manifest")) {
            val content = case.text("text").encodeToByteArray()
            if (case["legal"] == true) Manifest.parse(content) else assertFailsWith<BundleException> { Manifest.parse(content) }
        }
        val manifest = Manifest.parse(Vectors.of("latent_manifest").first().text("text").encodeToByteArray())
        assertEquals(listOf(1, 3, 3, 2), manifest.latent?.critic?.prompt)
        assertEquals(-0.5f, manifest.latent?.artist?.steps?.single()?.move)
        assertEquals(null, manifest.gate)
    }

    @Test
    fun `noise is Python's, number by number`() {
        for (case in Vectors.of("noise")) {
            val noise = Noise(case["seed"] as Long)
            for (drawn in asList(case["draws"]).map { Vectors.floats(asObject(it)) }) {
                assertContentEquals(drawn, noise.draw(drawn.size))
            }
        }
    }

    @Test
    fun `timesteps are told, and steps carried out`() {
        for (case in Vectors.of("time_features")) {
            val time = TimeSettings.read(asObject(case["time"]))
            assertNear(case.floats("features"), time.features(case.double("timestep")), 1e-5f)
        }
        for (case in Vectors.of("denoise")) {
            val steps = asList(case["steps"]).map { StepSettings.read(asObject(it)) }
            val made = denoised(case.planes("start"), steps, Noise(case["seed"] as Long)) { latents, timestep ->
                latents.map { it * 0.25f + (timestep / 1000).toFloat() }
            }
            assertNear(case.floats("latents"), made.values, 1e-6f)
        }
    }

    @Test
    fun `tiles lie where Python lays them, and are blended`() {
        for (case in Vectors.of("latent_tiles")) {
            val (tile, scale) = case.int("tile") to case.int("scale")
            val tiles = LatentTiles(tile, case.int("height"), case.int("width"))
            assertEquals(asList(case["places"]).map { asList(it).map { at -> (at as Long).toInt() } }, tiles.places.map { it.toList() })
            var done = 0
            val made = tiles.map(mapOf("latents" to case.planes("values")), { done++ }) { given ->
                val planes = given.getValue("latents")
                val side = tile * scale
                val values = FloatArray(planes.channels * side * side) { n ->
                    val (y, x) = n / side % side to n % side
                    planes.values[(n / (side * side) * tile + y / scale) * tile + x / scale] * (1 - (y + x) / 256f)
                }
                Planes(planes.channels, side, side, values)
            }
            assertEquals(tiles.places.size, done)
            assertNear(case.floats("tiled"), made.values, 1e-6f)
        }
    }

    @Test
    fun `positions are placed and turned`() {
        for (case in Vectors.of("rotary")) {
            val rotary = Rotary(RotarySettings.read(asObject(case["rotary"])))
            val rows = asList(case["positions"])
            val axes = if (rows.first() is List<*>) rows.map { ints(it) } else listOf(ints(rows))
            val (cosines, sines) = rotary.at(Positions(axes))
            assertNear(case.floats("cosines"), cosines, 1e-6f)
            assertNear(case.floats("sines"), sines, 1e-6f)
        }
        for (case in Vectors.of("prompt_positions")) {
            val positions = LatentCritic.promptPositions(CriticSettings.read(asObject(case["critic"])))
            assertEquals(asList(case["positions"]).map { ints(it).toList() }, positions.axes.map { it.toList() })
        }
        val turned = RotarySettings(floatArrayOf(1f, 2f), 1f, listOf(1, 2), false)
        assertFailsWith<BundleException> { Rotary(turned) }
        val plain = Rotary(RotarySettings(floatArrayOf(1f), 1f, emptyList(), false))
        assertFailsWith<ConfigException> { plain.at(Positions(List(3) { intArrayOf(0) })) }
    }

    @Test
    fun `word vectors are gathered, and a file that is no table is refused`() {
        for (case in Vectors.of("word_table")) {
            val file = folder.newFile().apply { writeBytes(case.bytes("file")) }
            if (case["words"] == null) {
                assertFailsWith<BundleException> { WordTable.open(file) }
                continue
            }
            val table = WordTable.open(file)
            assertEquals(case.ints("shape"), listOf(table.words, table.width))
            val rows = case.ints("words").flatMap { table.vector(it).toList() }
            assertContentEquals(case.floats("rows"), rows.toFloatArray())
            assertFailsWith<ConfigException> { table.vector(table.words) }
        }
        assertFailsWith<BundleException> { WordTable.open(File(folder.root, "none")) }
    }

    @Test
    fun `an answer is written word by word, and goes on where it was left`() {
        for (case in Vectors.of("conversation")) {
            val runs = Played(case)
            val table = WordTable.open(folder.newFile().apply { writeBytes(case.bytes("table")) })
            val settings = CriticSettings.read(asObject(case["critic"]))
            val critic = LatentCritic(runs.network("vision"), runs.network("step"), component(case.of("language")), table, settings)
            val said = critic.begin(case.planes("picture"))
            val told = mutableListOf<Int>()
            assertNear(case.floats("states"), said.states(case.int("words")) { done, _ -> told += done }, 0f)
            assertEquals(listOf(1, 2), told)
            val answer = said.finish()
            assertEquals(case.ints("ids"), answer.ids)
            assertNear(case.floats("hidden"), answer.hidden, 0f)
            runs.assertAllPlayed()
        }
    }

    @Test
    fun `an edit gives its networks what Python gives them`() {
        for (case in Vectors.of("edit")) {
            val runs = Played(case)
            val (encode, denoise, decode, bridge) = listOf("encode", "denoise", "decode", "bridge")
                .map { Network(runs.network(it), component(case.of("specs").of(it))) }
            val artist = LatentArtist(encode, denoise, decode, bridge, ArtistSettings.read(asObject(case["artist"])))
            val told = mutableListOf<List<Int>>()
            val change = artist.change(picture(asObject(case["picture"])), case.floats("hidden")) { done, all -> told += listOf(done, all) }
            assertNear(picture(asObject(case["before"])).values, change.before.values, 1e-6f)
            assertNear(picture(asObject(case["after"])).values, change.after.values, 1e-6f)
            assertEquals(asList(case["progress"]).map { ints(it).toList() }, told)
            runs.assertAllPlayed()
            assertFailsWith<BundleException> { artist.change(picture(asObject(case["picture"])), null) }
        }
    }

    @Test
    fun `an edit can be left between two steps`() {
        val case = Vectors.of("edit").first()
        val runs = Played(case)
        val (encode, denoise, decode, bridge) = listOf("encode", "denoise", "decode", "bridge")
            .map { Network(runs.network(it), component(case.of("specs").of(it))) }
        val artist = LatentArtist(encode, denoise, decode, bridge, ArtistSettings.read(asObject(case["artist"])))
        assertFailsWith<InterruptedException> {
            artist.change(picture(asObject(case["picture"])), case.floats("hidden")) { _, _ -> throw InterruptedException() }
        }
        assertEquals(listOf("bridge", "encode", "denoise").sorted(), runs.played.sorted())
    }

    @Test
    fun `pictures are resized as Pillow does it`() {
        for (case in Vectors.of("critics_picture")) {
            val settings = PictureSettings.read(asObject(case["settings"]))
            assertNear(case.floats("picture"), Pictures.critics(case.pixels("pixels"), settings).values, 1e-6f)
        }
        for (case in Vectors.of("artists_picture")) {
            assertNear(picture(asObject(case["picture"])).values, Pictures.artists(case.pixels("pixels"), case.int("side")).values, 0f)
        }
        for (case in Vectors.of("native_picture")) {
            val expected = picture(asObject(case["picture"]))
            val made = Pictures.native(case.pixels("pixels"), case.int("side"), case.int("factor"))
            assertEquals(expected.height to expected.width, made.height to made.width)
            assertNear(expected.values, made.values, 0f)
            assertEquals(0, levelsApart(case.pixels("pixels"), Pictures.levels(Pictures.unit(case.pixels("pixels")))))
        }
        for (case in Vectors.of("resized")) {
            val expected = picture(asObject(case["resized"]))
            val made = Resampler(Resampling.BICUBIC).resized(picture(asObject(case["picture"])), expected.width, expected.height)
            assertNear(expected.values, made.values, 1e-6f)
        }
    }

    @Test
    fun `an edit is fitted as Python fits it`() {
        for (case in Vectors.of("fit_transfer")) {
            val fitted = Transfer.fit(picture(asObject(case["before"])), picture(asObject(case["after"])))
            assertNear(case.floats("grid"), fitted.grid.values, 1e-4f)
            assertTrue(abs(case.double("error_db") - fitted.errorDb) < 0.01)
        }
        assertFailsWith<ShapeException> { Transfer.fit(Planes(3, 1, 2, FloatArray(6)), Planes(3, 2, 1, FloatArray(6))) }
    }

    @Test
    fun `an edit is carried to a photo's own pixels`() {
        for (case in Vectors.of("carry")) {
            val change = Change(picture(asObject(case["before"])), picture(asObject(case["after"])))
            val carried = Carried.of(case.pixels("pixels"), change, case.double("strength"))
            assertTrue(levelsApart(case.pixels("carried"), carried.pixels) <= 1)
            if (case["error_db"] == null) assertTrue(carried.errorDb.isInfinite()) else assertEquals(case.double("error_db"), carried.errorDb, 0.01)
            assertEquals(case.texts("notes").size, carried.notes.size)
        }
    }

    @Test
    fun `outputs are compared as in Python`() {
        for (case in Vectors.of("fidelity")) {
            val expected = case.of("fidelity")
            val found = Fidelity.between("out", case.floats("reference"), case.floats("actual"), case["mended"]?.let { case.floats("mended") })
            if (expected["sqnr_db"] == null) assertEquals(null, found.sqnrDb) else assertEquals(expected.double("sqnr_db"), found.sqnrDb!!, 1e-6)
            assertEquals(expected.double("cosine"), found.cosine, 1e-9)
            assertEquals(expected.double("max_abs_error"), found.maxAbsError, 1e-9)
        }
    }

    @Test
    fun `answers are spelled and taken apart`() {
        val words = AnswerWords.read(Vectors.answers)
        for (case in Vectors.of("answer_text")) assertEquals(case.text("text"), words.text(case.ints("ids")))
        for (case in Vectors.of("answer")) {
            val critique = LatentCritique.of(case.ints("ids"), case.ints("stops").toSet(), words)
            assertEquals(case.text("text"), critique.text)
            assertEquals(case["ended"], critique.ended)
            assertEquals(case["prose"] == null, critique.prose == null)
            assertEquals(case["unread"] == null, critique.unread == null)
        }
        val answers = Vectors.answers.decodeToString()
        for (spoiled in listOf("[]", "{}", answers.replace("ByteLevel", "Fuse"), answers.dropLast(1), answers.replace("\"id\": 0", "\"id\": \"0\""))) {
            assertFailsWith<BundleException> { AnswerWords.read(spoiled.encodeToByteArray()) }
        }
    }

    /** Networks that answer as they did in Python, once they were given the same. */
    private class Played(case: Case) {
        private val runs = case.cases("runs")
        val played = mutableListOf<String>()

        fun network(name: String) = object : Runner {
            override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
                // Where order does not matter, Python's may be another.
                val run = runs.filter { it.text("network") == (function ?: name) }[played.count { it == (function ?: name) }]
                played += function ?: name
                val expected = asObject(run["inputs"])
                assertEquals(expected.keys, inputs.keys)
                for ((input, values) in inputs) assertNear(Vectors.floats(asObject(expected[input])), values, 1e-5f)
                return asObject(run["outputs"]).mapValues { Vectors.floats(asObject(it.value)) }
            }

            override fun close() = Unit
        }

        fun assertAllPlayed() = assertEquals(runs.size, played.size)
    }

    private fun component(spec: Case): Component {
        fun tensors(raw: Any?) = asList(raw).map(::asObject).map { TensorSpec(it["name"] as String, ints(it["shape"]).toList()) }
        val functions = asList(spec["functions"]).map(::asObject)
            .map { FunctionSpec(it["name"] as String, tensors(it["inputs"]), tensors(it["outputs"])) }
        return Component(spec.text("name"), tensors(spec["inputs"]), tensors(spec["outputs"]), emptyMap(), emptyList(), functions)
    }

    private fun ints(value: Any?): IntArray = asList(value).map { (it as Long).toInt() }.toIntArray()

    private fun Case.planes(name: String): Planes {
        val shape = asList(asObject(this[name])["shape"]).map { (it as Long).toInt() }
        return Planes(shape[1], shape[2], shape[3], floats(name))
    }

    /** A picture that Python stores pixel by pixel. */
    private fun picture(about: Map<String, Any?>): Planes {
        val (height, width) = asList(about["shape"]).map { (it as Long).toInt() }
        val values = Vectors.floats(about)
        val size = height * width
        return Planes(3, height, width, FloatArray(3 * size) { values[3 * (it % size) + it / size] })
    }
}
