package org.pocketcrafter.core

import java.util.concurrent.Callable
import java.util.concurrent.ExecutionException
import java.util.concurrent.Executors

/** A fixed pool of daemon threads, one for each core up to four, that the rows of pictures are shared between. */
internal object Workers {
    private const val MOST = 4
    private const val ROWS_A_TASK = 16
    private val count = Runtime.getRuntime().availableProcessors().coerceIn(1, MOST)
    private val pool = Executors.newFixedThreadPool(count) { task ->
        Thread(task, "pocketcrafter-rows").apply { isDaemon = true }
    }

    /**
     * Does work on all rows, in bands: each is done once, and all are done on return.
     *
     * @param work called with a band's first row and the row after its last, from any thread; what it throws is thrown.
     */
    fun bands(rows: Int, work: (Int, Int) -> Unit) {
        val size = maxOf(ROWS_A_TASK, (rows + count - 1) / count)
        if (rows <= size) return work(0, rows)
        val tasks = (0 until rows step size).map { first -> Callable { work(first, minOf(first + size, rows)) } }
        try {
            pool.invokeAll(tasks).forEach { it.get() }
        } catch (error: ExecutionException) {
            throw error.cause ?: error
        }
    }
}
