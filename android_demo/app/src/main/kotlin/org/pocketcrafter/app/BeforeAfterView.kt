package org.pocketcrafter.app

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.os.Bundle
import android.util.AttributeSet
import android.view.KeyEvent
import android.view.MotionEvent
import android.view.View
import android.view.accessibility.AccessibilityNodeInfo
import android.widget.SeekBar

/** Shows a photo before and after, parted by a line that a finger, arrow keys or a screen reader move. */
class BeforeAfterView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val paint = Paint(Paint.FILTER_BITMAP_FLAG)
    private val line = Paint().apply {
        color = Color.WHITE
        strokeWidth = 3 * resources.displayMetrics.density
        setShadowLayer(strokeWidth, 0f, 0f, Color.BLACK)
    }
    private val place = RectF()
    private var before: Bitmap? = null
    private var after: Bitmap? = null

    /** Where the line is: share of the width that shows the photo as it was. */
    var share: Float = 0.5f
        set(value) {
            field = value.coerceIn(0f, 1f)
            contentDescription = context.getString(R.string.before_after) + " " + stateText()
            invalidate()
        }

    /** Shows two bitmaps of one size; `null` shows nothing. */
    fun show(before: Bitmap?, after: Bitmap?) {
        this.before = before
        this.after = after
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val old = before ?: return
        val new = after ?: return
        val scale = minOf(width.toFloat() / old.width, height.toFloat() / old.height)
        val left = (width - scale * old.width) / 2
        val top = (height - scale * old.height) / 2
        place.set(left, top, left + scale * old.width, top + scale * old.height)
        val middle = place.left + share * place.width()
        canvas.drawBitmap(new, null, place, paint)
        canvas.save()
        canvas.clipRect(place.left, place.top, middle, place.bottom)
        canvas.drawBitmap(old, null, place, paint)
        canvas.restore()
        canvas.drawLine(middle, place.top, middle, place.bottom, line)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        if (before == null || place.width() == 0f) return false
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN, MotionEvent.ACTION_MOVE -> share = (event.x - place.left) / place.width()
            MotionEvent.ACTION_UP -> performClick()
        }
        return true
    }

    override fun onKeyDown(keyCode: Int, event: KeyEvent): Boolean = when (keyCode) {
        KeyEvent.KEYCODE_DPAD_LEFT -> moved(-STEP)
        KeyEvent.KEYCODE_DPAD_RIGHT -> moved(STEP)
        else -> super.onKeyDown(keyCode, event)
    }

    override fun onInitializeAccessibilityNodeInfo(info: AccessibilityNodeInfo) {
        super.onInitializeAccessibilityNodeInfo(info)
        info.className = SeekBar::class.java.name
        info.addAction(AccessibilityNodeInfo.AccessibilityAction.ACTION_SCROLL_FORWARD)
        info.addAction(AccessibilityNodeInfo.AccessibilityAction.ACTION_SCROLL_BACKWARD)
    }

    override fun performAccessibilityAction(action: Int, arguments: Bundle?): Boolean = when (action) {
        AccessibilityNodeInfo.ACTION_SCROLL_FORWARD -> moved(STEP)
        AccessibilityNodeInfo.ACTION_SCROLL_BACKWARD -> moved(-STEP)
        else -> super.performAccessibilityAction(action, arguments)
    }

    private fun moved(step: Float): Boolean {
        share += step
        announceForAccessibility(stateText())
        return true
    }

    private fun stateText() = context.getString(R.string.before_after_state, Math.round(100 * share))

    private companion object {
        const val STEP = 0.1f
    }
}
