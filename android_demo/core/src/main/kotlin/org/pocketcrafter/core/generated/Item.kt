// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated

/**
 * What a critique speaks about.
 *
 * @property label the name in JSON, for people too.
 * @property group the group that it belongs to.
 * @property measuredBy the attributes that are evidence for it.
 */
enum class Item(val label: String, val group: String, val measuredBy: List<Attribute>) {
    BLUR("blur/clarity", "quality", listOf(Attribute.DEBLUR)),
    NOISE("noise/compression", "quality", listOf(Attribute.DENOISE, Attribute.DEJPEG)),
    DISTORTION("distortion/artifacts", "quality", emptyList()),
    INTERFERENCE("visual interference", "quality", emptyList()),
    SATURATION("saturation", "color and light", listOf(Attribute.SATURATION)),
    WHITE_BALANCE("white balance", "color and light", listOf(Attribute.TEMPERATURE, Attribute.TINT)),
    CONTRAST("contrast", "color and light", listOf(Attribute.CONTRAST, Attribute.DEHAZE)),
    EXPOSURE("exposure", "color and light", listOf(Attribute.EXPOSURE)),
    DYNAMIC_RANGE("dynamic range", "color and light", listOf(Attribute.HIGHLIGHTS)),
    SHADOW_QUALITY("shadow quality", "color and light", listOf(Attribute.SHADOWS)),
    LAYOUT("layout", "composition", emptyList()),
    FOCUS("focus", "composition", emptyList()),
    VIEWPOINT("viewpoint/horizon", "composition", emptyList()),
    BACKGROUND_BLUR("background blur", "composition", emptyList()),
    STYLE("style", "composition", emptyList()),
    TONE_STYLE("tone style", "aesthetic", emptyList()),
    CREATIVITY("creativity", "aesthetic", emptyList()),
    EMOTION("emotion/story", "aesthetic", emptyList()),
    SEMANTIC_RICHNESS("semantic richness", "aesthetic", emptyList()),
    ENVIRONMENT("environment integration", "aesthetic", emptyList()),
    CONTEXT("context adaptability", "aesthetic", emptyList()),
}
