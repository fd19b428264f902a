package org.pocketcrafter.sdk

import android.content.ContentResolver
import android.content.ContentValues
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.net.Uri
import android.os.Build
import android.os.Environment
import android.provider.MediaStore
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.photo.Exif
import org.pocketcrafter.core.photo.Pixels
import java.io.ByteArrayOutputStream
import java.io.IOException

/**
 * A photo of the gallery or the camera, upright and in sRGB.
 *
 * @property exif what its file says of it; `null` where it says nothing, or is no JPEG.
 * @property reduced one pixel stands for this many squared of the file's, where memory did not hold all of them; else 1.
 */
class Photo(val pixels: Pixels, val exif: Exif?, val reduced: Int)

/** Reads photos within the memory there is, and writes them with the EXIF block that they came with. */
object Photos {
    /** Pixels in, restored and developed, each of three bytes, and what decoding takes beside. */
    private const val HEAP_BYTES_A_PIXEL = 12L
    private const val QUALITY = 95
    private const val MOST_FILE_BYTES = 256 shl 20

    /** The most pixels that can be enhanced in this process's heap; a half of it is left to the app. */
    fun mostPixels(): Long = Runtime.getRuntime().maxMemory() / 2 / HEAP_BYTES_A_PIXEL

    /**
     * Reads a photo, halved as often as it takes to stay within a number of pixels.
     *
     * @param mostPixels such as [mostPixels].
     * @throws ConfigException if it cannot be read, or is no picture.
     */
    fun load(resolver: ContentResolver, uri: Uri, mostPixels: Long = mostPixels()): Photo {
        val file = content(resolver, uri)
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        BitmapFactory.decodeByteArray(file, 0, file.size, bounds)
        if (bounds.outWidth < 1 || bounds.outHeight < 1) throw ConfigException("This is no picture that Android can read.")
        var reduced = 1
        while (bounds.outWidth.toLong() * bounds.outHeight / reduced / reduced > mostPixels) reduced *= 2
        val options = BitmapFactory.Options().apply {
            inSampleSize = reduced
            inPreferredConfig = Bitmap.Config.ARGB_8888
            inPreferredColorSpace = ColorSpace.get(ColorSpace.Named.SRGB)
        }
        val bitmap = BitmapFactory.decodeByteArray(file, 0, file.size, options)
            ?: throw ConfigException("This picture is damaged.")
        val pixels = Bitmaps.toPixels(bitmap)
        bitmap.recycle()
        // Decoders of HEIF and WebP turn the picture themselves.
        val exif = Exif.of(file)
        return Photo(pixels.upright(exif?.orientation ?: 1), exif, reduced)
    }

    /**
     * Writes a photo as a JPEG of the gallery's, with the EXIF block of the photo that it was made from.
     *
     * @return where it lies; other apps may read it there.
     * @throws ConfigException if it cannot be written.
     */
    fun save(resolver: ContentResolver, pixels: Pixels, exif: Exif?, name: String): Uri {
        val values = ContentValues().apply {
            put(MediaStore.Images.Media.DISPLAY_NAME, "$name.jpg")
            put(MediaStore.Images.Media.MIME_TYPE, "image/jpeg")
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
                put(MediaStore.Images.Media.RELATIVE_PATH, Environment.DIRECTORY_PICTURES + "/PocketCrafter")
                put(MediaStore.Images.Media.IS_PENDING, 1)
            }
        }
        // First, since it is what memory may be short for.
        val content = jpeg(pixels, exif)
        val uri = try {
            resolver.insert(MediaStore.Images.Media.EXTERNAL_CONTENT_URI, values)
        } catch (error: SecurityException) {
            throw ConfigException("The gallery may not be written to.")
        } ?: throw ConfigException("The gallery takes no photo now.")
        var isWritten = false
        try {
            val stream = resolver.openOutputStream(uri) ?: throw IOException("the gallery gave no stream")
            stream.use { it.write(content) }
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
                resolver.update(uri, ContentValues().apply { put(MediaStore.Images.Media.IS_PENDING, 0) }, null, null)
            }
            isWritten = true
        } catch (error: IOException) {
            throw ConfigException("The photo cannot be written: ${error.message}")
        } finally {
            if (!isWritten) resolver.delete(uri, null, null)
        }
        return uri
    }

    private fun jpeg(pixels: Pixels, exif: Exif?): ByteArray {
        val bitmap = Bitmaps.toBitmap(pixels)
        val stream = ByteArrayOutputStream()
        val isEncoded = bitmap.compress(Bitmap.CompressFormat.JPEG, QUALITY, stream)
        bitmap.recycle()
        if (!isEncoded) throw ConfigException("Android cannot encode this photo as a JPEG.")
        return exif?.into(stream.toByteArray()) ?: stream.toByteArray()
    }

    private fun content(resolver: ContentResolver, uri: Uri): ByteArray = try {
        val stream = resolver.openInputStream(uri) ?: throw ConfigException("The photo is not there any more.")
        stream.use { source ->
            val made = ByteArrayOutputStream()
            val block = ByteArray(1 shl 16)
            while (true) {
                val count = source.read(block)
                if (count < 0) break
                made.write(block, 0, count)
                if (made.size() > MOST_FILE_BYTES) throw ConfigException("The file is larger than ${MOST_FILE_BYTES shr 20} MiB.")
            }
            made.toByteArray()
        }
    } catch (error: IOException) {
        throw ConfigException("The photo cannot be read: ${error.message}")
    } catch (error: SecurityException) {
        throw ConfigException("The photo may not be read.")
    }
}
