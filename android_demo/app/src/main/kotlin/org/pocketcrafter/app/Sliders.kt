package org.pocketcrafter.app

import android.view.LayoutInflater
import android.view.ViewGroup
import android.widget.SeekBar
import android.widget.TextView
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.generated.Attribute

/** Strength and one slider for each attribute; they follow the editor, and tell it of what the user moves. */
class Sliders(parent: ViewGroup, private val editor: Editor) {
    private val rows: Map<Attribute?, Row>

    init {
        parent.removeAllViews()
        val names = mapOf<Attribute?, Int>(null to R.string.strength) + NAMES
        rows = names.mapValues { (attribute, name) -> Row(parent, attribute, parent.context.getString(name)) }
    }

    /** Shows a plan, a strength, and whether they can be moved. */
    fun show(plan: EditPlan, strength: Double, enabled: Boolean) {
        for ((attribute, row) in rows) row.show(if (attribute == null) strength else plan[attribute], enabled)
    }

    private inner class Row(parent: ViewGroup, private val attribute: Attribute?, private val name: String) :
        SeekBar.OnSeekBarChangeListener {
        private val lowest = attribute?.lowest ?: 0.0
        private val highest = attribute?.highest ?: MOST_STRENGTH
        private val label: TextView
        private val bar: SeekBar

        init {
            val view = LayoutInflater.from(parent.context).inflate(R.layout.slider, parent, false)
            label = view.findViewById(R.id.label)
            bar = view.findViewById(R.id.seek)
            bar.max = STEPS
            bar.isSaveEnabled = false
            bar.setOnSeekBarChangeListener(this)
            parent.addView(view)
        }

        fun show(amount: Double, enabled: Boolean) {
            bar.isEnabled = enabled
            if (!bar.isPressed) bar.progress = Math.round((amount - lowest) / (highest - lowest) * STEPS).toInt()
            tell(amount)
        }

        override fun onProgressChanged(seekBar: SeekBar, progress: Int, fromUser: Boolean) {
            if (!fromUser) return
            val amount = (lowest + progress * (highest - lowest) / STEPS).coerceIn(lowest, highest)
            tell(amount)
            if (attribute == null) editor.strengthen(amount) else editor.slide(attribute, amount)
        }

        override fun onStartTrackingTouch(seekBar: SeekBar) = Unit

        override fun onStopTrackingTouch(seekBar: SeekBar) = editor.rest()

        private fun tell(amount: Double) {
            val text = label.context.getString(R.string.slider_state, name, "%.2f".format(amount))
            label.text = text
            bar.contentDescription = text
        }
    }

    private companion object {
        const val STEPS = 200
        const val MOST_STRENGTH = 2.0
        val NAMES = mapOf(
            Attribute.EXPOSURE to R.string.exposure,
            Attribute.TEMPERATURE to R.string.temperature,
            Attribute.TINT to R.string.tint,
            Attribute.CONTRAST to R.string.contrast,
            Attribute.HIGHLIGHTS to R.string.highlights,
            Attribute.SHADOWS to R.string.shadows,
            Attribute.SATURATION to R.string.saturation,
            Attribute.DEHAZE to R.string.dehaze,
            Attribute.DENOISE to R.string.denoise,
            Attribute.DEBLUR to R.string.deblur,
            Attribute.DEJPEG to R.string.dejpeg,
        )
    }
}
