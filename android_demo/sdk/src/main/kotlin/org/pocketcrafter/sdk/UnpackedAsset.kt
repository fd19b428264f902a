package org.pocketcrafter.sdk

import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.unpack
import java.io.File
import java.io.IOException
import java.io.InputStream

/**
 * A bundle that comes with the app, unpacked once for each version of the app; one at a time in this process.
 *
 * @param place the folder of this asset alone.
 * @param version the app's; what was unpacked for another is deleted.
 * @param asset opens the bundle's zip.
 */
internal class UnpackedAsset(private val place: File, version: String, private val asset: () -> InputStream) {
    /** Where the bundle lies, once [unpack] has returned. */
    val folder = File(place, version)

    /**
     * Unpacks the bundle where that was not done yet.
     *
     * @throws BundleException if the asset is missing or damaged.
     */
    suspend fun unpack() = one.withLock { if (!folder.isDirectory) unpackAnew() }

    /**
     * Unpacks the bundle anew where its files were damaged since.
     *
     * @return whether they were.
     * @throws BundleException if the asset is missing or damaged.
     */
    suspend fun mend(): Boolean = one.withLock {
        try {
            Bundle.open(folder).verify()
            false
        } catch (_: BundleException) {
            unpackAnew()
            true
        }
    }

    private fun unpackAnew() {
        place.deleteRecursively()
        try {
            asset().buffered().use { Bundle.unpack(it, folder) }
        } catch (error: IOException) {
            throw BundleException("The app has no such bundle: ${error.message}", error)
        }
    }

    private companion object {
        val one = Mutex()
    }
}
