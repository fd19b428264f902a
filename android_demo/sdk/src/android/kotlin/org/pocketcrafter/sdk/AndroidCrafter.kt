package org.pocketcrafter.sdk

import android.content.Context
import android.graphics.Bitmap
import android.os.Build
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Critique
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.Told
import org.pocketcrafter.core.geometry.Composed
import org.pocketcrafter.core.latent.LatentCritique
import org.pocketcrafter.core.prose.Mode
import java.io.File
import java.net.URLEncoder

/** What [enhance] of a bitmap tells of. */
sealed interface BitmapProgress {
    /** So many of a stage are done: words of the answer, steps of the artist, tiles of the restoration; [all] at most. */
    data class Part(val stage: Stage, val done: Int, val all: Int) : BitmapProgress

    /**
     * The photo is finished; always the last.
     *
     * @property plan what was carried out; `null` for an artist that takes no plan.
     * @property critique the numbers behind the plan; `null` where the critic answers in words.
     * @property notes what to say of it.
     * @property composed how it was turned and cropped; `null` where that was not asked for, or the photo is too small.
     */
    data class Done(
        val bitmap: Bitmap,
        val plan: EditPlan?,
        val critique: Critique?,
        val notes: List<String>,
        val composed: Composed?,
    ) : BitmapProgress
}

/**
 * Opens the bundle that the app brings as an asset: unpacks it once, hashes all of it, and runs its first networks.
 *
 * The first call takes some seconds. Files that were damaged since they were unpacked are unpacked once more. What it
 * opens follows the system's heat and memory until [PocketCrafter.close]; where it throws, nothing stays open.
 *
 * @param context any context of the app; its application's is kept.
 * @param bundle the asset: a bundle's zip with a target that the accelerator runs, such as `pocketcrafter split` writes.
 * @param accelerator what computes; nothing falls back to the CPU by itself.
 * @param opening told of each state until it is ready or failed, on no thread in particular.
 * @throws BundleException if the bundle is missing or damaged.
 * @throws org.pocketcrafter.core.RunnerException if a network does not run here.
 */
suspend fun PocketCrafter.Companion.open(
    context: Context,
    bundle: String = "default.pcbundle",
    accelerator: Accelerator = Accelerator.Cpu,
    opening: (State) -> Unit = {},
): PocketCrafter = withContext(Dispatchers.IO) {
    val files = asset(context.applicationContext, bundle)
    try {
        files.unpack()
    } catch (error: BundleException) {
        opening(State.Failed(error))
        throw error
    }
    val crafter = PocketCrafter(files.folder) { OrtRunners(it, accelerator) }
    var told: State? = null
    val tell = { state: State ->
        if (state != told) {
            told = state
            opening(state)
        }
    }
    val telling = launch { crafter.state.collect(tell) }
    try {
        try {
            crafter.open()
        } catch (error: BundleException) {
            if (!files.mend()) throw error
            crafter.open()
        } finally {
            // From here on this coroutine alone tells: nothing is told after the last state.
            withContext(NonCancellable) { telling.cancelAndJoin() }
            tell(crafter.state.value)
        }
        crafter.followSystem(context)
    } catch (error: Throwable) {
        crafter.close()
        throw error
    }
    crafter
}

/** Diagnoses a photo; [PocketCrafter.critique] for bitmaps. */
suspend fun PocketCrafter.critique(bitmap: Bitmap): Critique = critique(pixels(bitmap))

/** Diagnoses a photo and puts it into words; [PocketCrafter.prose] for bitmaps. */
suspend fun PocketCrafter.prose(bitmap: Bitmap, mode: Mode = Mode.FULL): Told = prose(pixels(bitmap), mode)

/** Lets the critic of a latent bundle answer; [PocketCrafter.answer] for bitmaps. */
suspend fun PocketCrafter.answer(bitmap: Bitmap, progress: (Int, Int) -> Unit = { _, _ -> }): LatentCritique =
    answer(pixels(bitmap), progress)

/**
 * Enhances a photo at its own resolution, off the caller's thread; cancelling the collector ends it at the next tile, word or step.
 *
 * @param bitmap not changed; any configuration that Android can draw from.
 */
fun PocketCrafter.enhance(bitmap: Bitmap, options: Options = Options()): Flow<BitmapProgress> =
    enhance({ Bitmaps.toPixels(bitmap) }, options).map { progress ->
        when (progress) {
            is Progress.Part -> BitmapProgress.Part(progress.stage, progress.done, progress.all)
            is Progress.Done -> progress.enhanced.run { BitmapProgress.Done(Bitmaps.toBitmap(pixels), plan, critique, notes, composed) }
        }
    }.flowOn(Dispatchers.Default)

/** What the HTP of this phone is opened with: its chip, where Android names it (12 and later). */
fun qnn(performance: HtpPerformance = HtpPerformance.BURST): Accelerator.Qnn {
    // `Build.SOC_MODEL` is newer than the API that this is compiled against.
    val field = if (Build.VERSION.SDK_INT >= SOC_MODEL_SINCE) Build::class.java.getField("SOC_MODEL") else null
    return Accelerator.Qnn(field?.get(null) as String?, performance)
}

/** What this device is, for reports. */
fun deviceFacts(): DeviceFacts = DeviceFacts(
    model = "${Build.MANUFACTURER} ${Build.MODEL}",
    soc = Build.HARDWARE,
    system = "Android ${Build.VERSION.RELEASE}, API ${Build.VERSION.SDK_INT}",
    machine = System.getProperty("os.arch") ?: "unknown",
)

private suspend fun pixels(bitmap: Bitmap) = withContext(Dispatchers.Default) { Bitmaps.toPixels(bitmap) }

private const val SOC_MODEL_SINCE = 31

/** An asset of the app, unpacked into files that no backup copies. */
private fun asset(context: Context, name: String): UnpackedAsset {
    val place = File(context.noBackupFilesDir, "pocketcrafter/asset-" + URLEncoder.encode(name, "UTF-8"))
    val installed = context.packageManager.getPackageInfo(context.packageName, 0).lastUpdateTime
    return UnpackedAsset(place, installed.toString()) { context.assets.open(name) }
}
