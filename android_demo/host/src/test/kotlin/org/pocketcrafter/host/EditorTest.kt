package org.pocketcrafter.host

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.pocketcrafter.app.Editor
import org.pocketcrafter.app.Opened
import org.pocketcrafter.app.Screen
import org.pocketcrafter.app.Work
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.levelsApart
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.psnr
import org.pocketcrafter.sdk.PocketCrafter
import java.io.File
import java.util.concurrent.Executors
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** What the demo's screen shows, without a screen: on the networks of a real bundle. */
class EditorTest {
    private val main = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private val scope = CoroutineScope(Job() + main)
    private val crafter = PocketCrafter(File(System.getProperty("bundle"))) { bundle -> runners(bundle) }
    private val editor = Editor(scope) { crafter.also { it.open() } }

    @After
    fun close() = runBlocking {
        scope.cancel()
        crafter.close()
        main.close()
    }

    @Test
    fun `a photo that is opened shows the critic's plan carried out`() = runBlocking {
        val case = Vectors.of("pair").first { it.plan("plan").changesTones }
        editor.open { opened(case.pixels("pixels")) }
        val shown = settled { it.critique != null && it.after != null && it.after !== it.photo?.preview }
        assertEquals(shown.critique?.plan, shown.plan)
        assertTrue(levelsApart(case.pixels("enhanced"), shown.after!!) <= 1)
    }

    @Test
    fun `a slider changes the preview, and reset takes it back`() = runBlocking {
        editor.open { opened(photo()) }
        val before = settled { it.critique != null }
        editor.slide(Attribute.EXPOSURE, 1.0)
        // A preview that was drawn before the slider moved may still come first.
        settled { it.plan[Attribute.EXPOSURE] == 1.0 && light(it) > light(before) }
        editor.strengthen(0.0)
        editor.rest()
        settled { it.strength == 0.0 && it.after != null && levelsApart(it.after, photo()) == 0 }
        editor.reset()
        assertEquals(before.plan, settled { it.strength == 1.0 }.plan)
    }

    @Test
    fun `sliders of before a process death come back`() = runBlocking {
        val kept = EditPlan(mapOf(Attribute.CONTRAST to 0.4))
        editor.open(kept to 0.5) { opened(photo()) }
        val shown = settled { it.critique != null }
        assertEquals(kept to 0.5, shown.plan to shown.strength)
    }

    @Test
    fun `all of the photo is saved as the sliders say`() = runBlocking {
        var saved: Pixels? = null
        editor.open { opened(photo()) }
        settled { it.critique != null }
        editor.slide(Attribute.EXPOSURE, 0.7)
        editor.finish { pixels, exif ->
            assertNull(exif)
            saved = pixels
        }
        val shown = settled { saved != null }
        assertTrue(levelsApart(shown.after!!, saved!!) <= 1)
    }

    @Test
    fun `a photo that cannot be read is told of, and words come when they are asked for`() = runBlocking {
        editor.open { throw ConfigException("This is no picture.") }
        assertEquals("This is no picture.", settled { it.message != null }.message)
        editor.open { opened(photo()) }
        settled { it.critique != null }
        editor.describe()
        assertTrue(settled { it.words.isNotEmpty() }.words.all { it.isNotBlank() })
    }

    @Test
    fun `an artist that takes no plan edits, answers and saves, and sliders do nothing`() {
        assumeTrue(System.getProperty("latent") != null)
        val latent = PocketCrafter(File(System.getProperty("latent"))) { bundle -> runners(bundle) }
        val editor = Editor(scope) { latent.also { it.open() } }
        val case = Vectors.of("latent_pair").first { it.texts("notes").isEmpty() && it.double("strength") == 1.0 }
        runBlocking {
            editor.open { opened(case.pixels("pixels")) }
            val shown = settled(editor) { it.isEdited }
            assertNull(shown.critique)
            assertTrue(psnr(case.pixels("enhanced"), shown.after!!) >= 40)
            editor.rest()
            editor.reset()
            withContext(main) {}
            assertNull(settled(editor) { true }.message)
            editor.describe()
            assertTrue(settled(editor) { it.words.isNotEmpty() }.words.joinToString("").isNotEmpty())
            var saved: Pixels? = null
            editor.finish { pixels, _ -> saved = pixels }
            settled(editor) { saved != null && it.message == null }
            assertEquals(0, levelsApart(shown.after, saved!!))
            latent.close()
        }
    }

    private suspend fun settled(editor: Editor = this.editor, shown: (Screen) -> Boolean): Screen =
        withTimeout(60_000) { editor.screen.first { it.work == Work.Idle && shown(it) } }

    private fun light(screen: Screen) = screen.after!!.rgb.sumOf { it.toInt() and 0xFF }

    private fun opened(pixels: Pixels) = Opened(pixels, pixels, null, 1)

    private fun photo() = Pixels(60, 40, ByteArray(7200) { (60 + it % 90).toByte() })

    private fun runners(bundle: Bundle) =
        OnnxRunners(bundle, File(System.getProperty("onnxruntime")), 2, System.getProperty("exact") == "true")
}
