package org.pocketcrafter.app

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ContentResolver
import android.content.ContentValues
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.net.Uri
import android.os.BadParcelableException
import android.os.Build
import android.os.Bundle
import android.os.Parcelable
import android.provider.MediaStore
import android.view.Menu
import android.view.MenuItem
import android.view.View
import android.widget.Button
import android.widget.ProgressBar
import android.widget.TextView
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.sdk.Bitmaps
import org.pocketcrafter.sdk.MainThread
import org.pocketcrafter.sdk.Photos
import org.pocketcrafter.sdk.State

/** Picks or takes a photo, shows it before and after, and saves or shares what became of it. */
class EditorActivity : Activity() {
    private val scope = CoroutineScope(SupervisorJob() + MainThread)
    private val photoView by lazy { findViewById<BeforeAfterView>(R.id.photo) }
    private val status by lazy { findViewById<TextView>(R.id.status) }
    private val words by lazy { findViewById<TextView>(R.id.words) }
    private val progress by lazy { findViewById<ProgressBar>(R.id.progress) }
    private lateinit var session: Session
    private lateinit var sliders: Sliders
    private val demo get() = application as DemoApplication

    /** What a rotation carries over: the editor, which goes on working, and the photo's address. */
    private class Session(val scope: CoroutineScope, val editor: Editor) {
        var uri: Uri? = null
        var taken: Uri? = null
        var afterLeave: Writing? = null
    }

    /** What is done once the gallery may be written to; no lambda, which would hold on to an activity that was turned away. */
    private enum class Writing { TAKE, SAVE, SHARE }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.editor)
        val kept = lastNonConfigurationInstance as Session?
        session = kept ?: CoroutineScope(SupervisorJob() + MainThread).let { Session(it, Editor(it) { demo.crafter() }) }
        sliders = Sliders(findViewById(R.id.sliders), session.editor)
        findViewById<Button>(R.id.pick).setOnClickListener { pick() }
        findViewById<Button>(R.id.take).setOnClickListener { take() }
        findViewById<Button>(R.id.save).setOnClickListener { withLeave(Writing.SAVE) }
        findViewById<Button>(R.id.share).setOnClickListener { withLeave(Writing.SHARE) }
        if (kept == null) begin(savedInstanceState)
        scope.launch { session.editor.screen.collect(::show) }
        scope.launch { demo.state.collect(::showOpening) }
        scope.launch {
            demo.unproved.filterNotNull().collect {
                session.editor.tell(getString(R.string.unproved, it))
                demo.unproved.value = null
            }
        }
    }

    /** Starts with the photo of before a process death, or with one that another app sends. */
    private fun begin(saved: Bundle?) {
        session.taken = saved?.getParcelable(TAKEN)
        val old: Uri? = saved?.getParcelable(PHOTO)
        val amounts = saved?.getDoubleArray(AMOUNTS)?.takeIf { it.size == Attribute.entries.size }
        val plan = amounts?.let { EditPlan(Attribute.entries.associateWith { each -> it[each.ordinal] }) }
        when {
            old != null -> load(old, plan?.let { it to saved.getDouble(STRENGTH, 1.0) })
            saved == null && intent.action == Intent.ACTION_SEND -> receive(sent())
        }
    }

    /** What another app sends, where that is a content address: any app may send anything, also a path of this app's files. */
    private fun sent(): Uri? = try {
        val extra = intent.getParcelableExtra<Parcelable>(Intent.EXTRA_STREAM)
        (extra as? Uri)?.takeIf { it.scheme == ContentResolver.SCHEME_CONTENT }
    } catch (_: BadParcelableException) {
        null
    }

    private fun receive(uri: Uri?) {
        if (uri == null) return session.editor.tell(getString(R.string.not_sent))
        // A refusal costs the photo's place alone, so that it is asked once.
        val asked = getPreferences(MODE_PRIVATE)
        if (!isOfMediaStore(uri) || mayLocate() || asked.getBoolean(LOCATION, false)) return load(uri)
        asked.edit().putBoolean(LOCATION, true).apply()
        session.uri = uri
        requestPermissions(arrayOf(Manifest.permission.ACCESS_MEDIA_LOCATION), ASK_LOCATION)
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        val shown = session.editor.screen.value
        outState.putParcelable(PHOTO, session.uri)
        outState.putParcelable(TAKEN, session.taken)
        outState.putDoubleArray(AMOUNTS, Attribute.entries.map { shown.plan[it] }.toDoubleArray().takeIf { shown.critique != null })
        outState.putDouble(STRENGTH, shown.strength)
    }

    @Deprecated("The framework has no other way to keep work alive while a screen turns.")
    override fun onRetainNonConfigurationInstance(): Any = session

    override fun onDestroy() {
        scope.cancel()
        if (!isChangingConfigurations) session.scope.cancel()
        super.onDestroy()
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        menuInflater.inflate(R.menu.editor, menu)
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        when (item.itemId) {
            R.id.describe -> session.editor.describe()
            R.id.reset -> session.editor.reset()
            R.id.goldens -> startActivity(ReportActivity.intent(this, ReportActivity.GOLDENS))
            R.id.benchmark -> startActivity(ReportActivity.intent(this, ReportActivity.BENCHMARK))
            else -> return super.onOptionsItemSelected(item)
        }
        return true
    }

    private fun pick() {
        val wanted = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        startActivityForResult(wanted, PICK)
    }

    private fun take() {
        if (checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            return requestPermissions(arrayOf(Manifest.permission.CAMERA), ASK_CAMERA)
        }
        withLeave(Writing.TAKE)
    }

    /** Has the camera write a photo into an entry of the gallery's, which goes again where none comes of it. */
    private fun startCamera() {
        val values = ContentValues().apply { put(MediaStore.Images.Media.MIME_TYPE, "image/jpeg") }
        val entry = contentResolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values)
            ?: return session.editor.tell(getString(R.string.no_gallery))
        try {
            startActivityForResult(Intent(MediaStore.ACTION_IMAGE_CAPTURE).putExtra(MediaStore.EXTRA_OUTPUT, entry), TAKE)
            session.taken = entry
        } catch (_: ActivityNotFoundException) {
            contentResolver.delete(entry, null, null)
            session.editor.tell(getString(R.string.no_camera))
        }
    }

    /** Writes once the gallery may be written to; on Android 10 and later that needs nobody's leave. */
    private fun withLeave(writing: Writing) {
        val needed = Manifest.permission.WRITE_EXTERNAL_STORAGE
        val free = Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q
        if (free || checkSelfPermission(needed) == PackageManager.PERMISSION_GRANTED) return write(writing)
        session.afterLeave = writing
        requestPermissions(arrayOf(needed), ASK_STORAGE)
    }

    private fun write(writing: Writing) = when (writing) {
        Writing.TAKE -> startCamera()
        Writing.SAVE -> finish(share = false)
        Writing.SHARE -> finish(share = true)
    }

    override fun onRequestPermissionsResult(requestCode: Int, permissions: Array<String>, grantResults: IntArray) {
        val granted = grantResults.firstOrNull() == PackageManager.PERMISSION_GRANTED
        when (requestCode) {
            ASK_LOCATION -> session.uri?.let(::load)
            ASK_CAMERA -> if (granted) take() else session.editor.tell(getString(R.string.camera_denied))
            ASK_STORAGE -> {
                val writing = session.afterLeave
                session.afterLeave = null
                if (granted) writing?.let(::write) else session.editor.tell(getString(R.string.storage_denied))
            }
        }
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val taken = session.taken
        if (requestCode == TAKE) {
            session.taken = null
            // The camera was left without a photo: its empty entry goes too.
            if (resultCode == RESULT_OK) taken?.let(::load) else taken?.let { contentResolver.delete(it, null, null) }
        } else if (requestCode == PICK && resultCode == RESULT_OK) {
            data?.data?.let { uri ->
                // So that the photo can be read again after a process death.
                try {
                    contentResolver.takePersistableUriPermission(uri, Intent.FLAG_GRANT_READ_URI_PERMISSION)
                } catch (_: SecurityException) {
                    // Some apps lend a photo only until this one is left.
                }
                load(uri)
            }
        }
    }

    private fun load(uri: Uri) = load(uri, null)

    private fun load(uri: Uri, kept: Pair<EditPlan, Double>?) {
        session.uri = uri
        val resolver = applicationContext.contentResolver
        session.editor.open(kept) {
            withContext(Dispatchers.IO) {
                val photo = Photos.load(resolver, original(uri))
                Opened(photo.pixels, smaller(photo.pixels), photo.exif, photo.reduced)
            }
        }
    }

    /** The photo with the place where it was taken, where that may be read. */
    private fun original(uri: Uri): Uri = if (isOfMediaStore(uri) && mayLocate()) MediaStore.setRequireOriginal(uri) else uri

    /** Whether Android leaves the place out of a photo; what a document provider hands out of a picked one is its own affair. */
    private fun isOfMediaStore(uri: Uri) = Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q && uri.authority == MediaStore.AUTHORITY

    private fun mayLocate() =
        checkSelfPermission(Manifest.permission.ACCESS_MEDIA_LOCATION) == PackageManager.PERMISSION_GRANTED

    private fun finish(share: Boolean) {
        // The screen may be turned before the photo is done: nothing of this activity is held on to.
        val app = applicationContext
        val editor = session.editor
        editor.finish { pixels, exif ->
            val name = "PocketCrafter ${System.currentTimeMillis()}"
            val uri = withContext(Dispatchers.IO) { Photos.save(app.contentResolver, pixels, exif, name) }
            editor.tell(app.getString(R.string.saved))
            if (share) app.startActivity(chooser(uri))
        }
    }

    private fun show(screen: Screen) {
        val idle = screen.work == Work.Idle
        val photo = screen.photo
        drawn.show(photo?.preview, screen.after)
        photoView.show(drawn.before, drawn.after)
        sliders.show(screen.plan, screen.strength, enabled = screen.critique != null)
        listOf(R.id.save, R.id.share).forEach { findViewById<View>(it).isEnabled = idle && screen.isEdited }
        progress.visibility = if (idle) View.INVISIBLE else View.VISIBLE
        progress.isIndeterminate = screen.work !is Work.Enhancing
        (screen.work as? Work.Enhancing)?.let {
            progress.max = it.all
            progress.progress = it.done
        }
        status.text = screen.message ?: statusOf(screen)
        words.text = if (screen.words.isEmpty()) "" else (screen.words + getString(R.string.english_only)).joinToString("\n\n")
    }

    private fun statusOf(screen: Screen): String = when (val work = screen.work) {
        is Work.Looking -> getString(R.string.looking)
        is Work.Enhancing -> {
            val text = when (work.stage) {
                Stage.TILES -> R.string.tiles
                Stage.WORDS -> R.string.spoken
                Stage.STEPS, Stage.BOXES -> R.string.steps
            }
            getString(text, work.done, work.all)
        }
        is Work.Writing -> getString(R.string.writing)
        is Work.Saving -> getString(R.string.saving)
        is Work.Idle -> {
            val photo = screen.photo
            val critique = screen.critique
            val plan = critique?.plan?.words()?.takeIf { critique.plan != EditPlan() } ?: getString(R.string.good)
            val reduced = photo?.takeIf { it.reduced > 1 }?.let { getString(R.string.reduced, it.full.width, it.full.height) }
            val done = critique?.let { listOf(getString(R.string.score, it.score, plan)) }
                ?: screen.notes?.let { listOf(getString(R.string.edited)) + it }
            if (done == null) getString(R.string.no_photo) else (done + listOfNotNull(reduced)).joinToString("\n")
        }
    }

    private fun showOpening(state: State) {
        when (state) {
            is State.Verifying -> status.text = getString(R.string.verifying, 100 * state.done / maxOf(state.all, 1))
            is State.Warming -> status.text = getString(R.string.warming)
            is State.Failed -> status.text = getString(R.string.failed, state.error.message)
            is State.Cold, is State.Ready, is State.Running -> Unit
        }
    }

    private val drawn = Drawn()

    /** The two bitmaps on the screen; drawn into again while the photo is the same. */
    private class Drawn {
        var before: Bitmap? = null
        var after: Bitmap? = null
        private var shownBefore: Pixels? = null
        private var shownAfter: Pixels? = null

        fun show(old: Pixels?, new: Pixels?) {
            if (old !== shownBefore) before = old?.let(Bitmaps::toBitmap)
            if (new !== shownAfter) {
                val size = after?.let { it.width to it.height }
                if (new == null || size != new.width to new.height) after = new?.let(Bitmaps::toBitmap)
                else after?.let { Bitmaps.draw(new, it) }
            }
            shownBefore = old
            shownAfter = new
        }
    }

    private companion object {
        const val PHOTO = "photo"
        const val TAKEN = "taken"
        const val AMOUNTS = "amounts"
        const val STRENGTH = "strength"
        const val LOCATION = "location-asked"
        const val PICK = 1
        const val TAKE = 2
        const val ASK_CAMERA = 3
        const val ASK_STORAGE = 4
        const val ASK_LOCATION = 5
        const val PREVIEW_PX = 1080

        fun chooser(uri: Uri): Intent {
            val sent = Intent(Intent.ACTION_SEND).setType("image/jpeg").putExtra(Intent.EXTRA_STREAM, uri)
            sent.addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
            return Intent.createChooser(sent, null).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK)
        }

        /** The photo with at most [PREVIEW_PX] on its longer side. */
        fun smaller(pixels: Pixels): Pixels {
            val longer = maxOf(pixels.width, pixels.height)
            if (longer <= PREVIEW_PX) return pixels
            val bitmap = Bitmaps.toBitmap(pixels)
            val width = maxOf(1, pixels.width * PREVIEW_PX / longer)
            val height = maxOf(1, pixels.height * PREVIEW_PX / longer)
            val scaled = Bitmap.createScaledBitmap(bitmap, width, height, true)
            bitmap.recycle()
            return Bitmaps.toPixels(scaled).also { scaled.recycle() }
        }
    }
}
