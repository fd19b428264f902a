// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated

/**
 * An amount that prose can state.
 *
 * @property amount in the attribute's own unit.
 * @property word the word that tells the decoder of it.
 * @property text its magnitude as instructions write it.
 */
data class Step(val amount: Double, val word: String, val text: String)

/**
 * A fault and what is said of it.
 *
 * @property attribute what mends it.
 * @property direction the sign of the change that mends it.
 * @property phrases templates with gaps such as `{adv}` or `{amount}`.
 */
data class Phrases(val attribute: Attribute, val direction: Int, val phrases: List<String>)

/** The words that critiques are written and read with. */
object Wording {
    /** The words that give a critique its structure, in order. */
    val MARKS: List<String> = listOf("<think>", "\n1. ", "\n2. ", "\n3. ", "\n4. ", "\n5. ", "\n</think>\n", "<edit_start>", "\n- ", "\n</edit_end>\n", "<answer>", "</answer>")

    /** The amounts that prose can state, ascending. */
    val LADDERS: Map<Attribute, List<Step>> = mapOf(
        Attribute.EXPOSURE to listOf(Step(-4.0, "<exposure_ev:-4>", "4"), Step(-3.5, "<exposure_ev:-3.5>", "3.5"), Step(-3.0, "<exposure_ev:-3>", "3"), Step(-2.5, "<exposure_ev:-2.5>", "2.5"), Step(-2.0, "<exposure_ev:-2>", "2"), Step(-1.8, "<exposure_ev:-1.8>", "1.8"), Step(-1.6, "<exposure_ev:-1.6>", "1.6"), Step(-1.4, "<exposure_ev:-1.4>", "1.4"), Step(-1.2, "<exposure_ev:-1.2>", "1.2"), Step(-1.0, "<exposure_ev:-1>", "1"), Step(-0.9, "<exposure_ev:-0.9>", "0.9"), Step(-0.8, "<exposure_ev:-0.8>", "0.8"), Step(-0.7, "<exposure_ev:-0.7>", "0.7"), Step(-0.6, "<exposure_ev:-0.6>", "0.6"), Step(-0.5, "<exposure_ev:-0.5>", "0.5"), Step(-0.4, "<exposure_ev:-0.4>", "0.4"), Step(-0.3, "<exposure_ev:-0.3>", "0.3"), Step(-0.2, "<exposure_ev:-0.2>", "0.2"), Step(-0.1, "<exposure_ev:-0.1>", "0.1"), Step(0.0, "<exposure_ev:0>", "0"), Step(0.1, "<exposure_ev:+0.1>", "0.1"), Step(0.2, "<exposure_ev:+0.2>", "0.2"), Step(0.3, "<exposure_ev:+0.3>", "0.3"), Step(0.4, "<exposure_ev:+0.4>", "0.4"), Step(0.5, "<exposure_ev:+0.5>", "0.5"), Step(0.6, "<exposure_ev:+0.6>", "0.6"), Step(0.7, "<exposure_ev:+0.7>", "0.7"), Step(0.8, "<exposure_ev:+0.8>", "0.8"), Step(0.9, "<exposure_ev:+0.9>", "0.9"), Step(1.0, "<exposure_ev:+1>", "1"), Step(1.2, "<exposure_ev:+1.2>", "1.2"), Step(1.4, "<exposure_ev:+1.4>", "1.4"), Step(1.6, "<exposure_ev:+1.6>", "1.6"), Step(1.8, "<exposure_ev:+1.8>", "1.8"), Step(2.0, "<exposure_ev:+2>", "2"), Step(2.5, "<exposure_ev:+2.5>", "2.5"), Step(3.0, "<exposure_ev:+3>", "3"), Step(3.5, "<exposure_ev:+3.5>", "3.5"), Step(4.0, "<exposure_ev:+4>", "4")),
        Attribute.TEMPERATURE to listOf(Step(-200.0, "<temperature_mired:-200>", "200"), Step(-150.0, "<temperature_mired:-150>", "150"), Step(-120.0, "<temperature_mired:-120>", "120"), Step(-100.0, "<temperature_mired:-100>", "100"), Step(-90.0, "<temperature_mired:-90>", "90"), Step(-80.0, "<temperature_mired:-80>", "80"), Step(-70.0, "<temperature_mired:-70>", "70"), Step(-60.0, "<temperature_mired:-60>", "60"), Step(-50.0, "<temperature_mired:-50>", "50"), Step(-45.0, "<temperature_mired:-45>", "45"), Step(-40.0, "<temperature_mired:-40>", "40"), Step(-35.0, "<temperature_mired:-35>", "35"), Step(-30.0, "<temperature_mired:-30>", "30"), Step(-25.0, "<temperature_mired:-25>", "25"), Step(-20.0, "<temperature_mired:-20>", "20"), Step(-15.0, "<temperature_mired:-15>", "15"), Step(-10.0, "<temperature_mired:-10>", "10"), Step(-5.0, "<temperature_mired:-5>", "5"), Step(0.0, "<temperature_mired:0>", "0"), Step(5.0, "<temperature_mired:+5>", "5"), Step(10.0, "<temperature_mired:+10>", "10"), Step(15.0, "<temperature_mired:+15>", "15"), Step(20.0, "<temperature_mired:+20>", "20"), Step(25.0, "<temperature_mired:+25>", "25"), Step(30.0, "<temperature_mired:+30>", "30"), Step(35.0, "<temperature_mired:+35>", "35"), Step(40.0, "<temperature_mired:+40>", "40"), Step(45.0, "<temperature_mired:+45>", "45"), Step(50.0, "<temperature_mired:+50>", "50"), Step(60.0, "<temperature_mired:+60>", "60"), Step(70.0, "<temperature_mired:+70>", "70"), Step(80.0, "<temperature_mired:+80>", "80"), Step(90.0, "<temperature_mired:+90>", "90"), Step(100.0, "<temperature_mired:+100>", "100"), Step(120.0, "<temperature_mired:+120>", "120"), Step(150.0, "<temperature_mired:+150>", "150"), Step(200.0, "<temperature_mired:+200>", "200")),
        Attribute.TINT to listOf(Step(-100.0, "<tint_mired:-100>", "100"), Step(-80.0, "<tint_mired:-80>", "80"), Step(-60.0, "<tint_mired:-60>", "60"), Step(-50.0, "<tint_mired:-50>", "50"), Step(-45.0, "<tint_mired:-45>", "45"), Step(-40.0, "<tint_mired:-40>", "40"), Step(-35.0, "<tint_mired:-35>", "35"), Step(-30.0, "<tint_mired:-30>", "30"), Step(-25.0, "<tint_mired:-25>", "25"), Step(-20.0, "<tint_mired:-20>", "20"), Step(-15.0, "<tint_mired:-15>", "15"), Step(-10.0, "<tint_mired:-10>", "10"), Step(-5.0, "<tint_mired:-5>", "5"), Step(0.0, "<tint_mired:0>", "0"), Step(5.0, "<tint_mired:+5>", "5"), Step(10.0, "<tint_mired:+10>", "10"), Step(15.0, "<tint_mired:+15>", "15"), Step(20.0, "<tint_mired:+20>", "20"), Step(25.0, "<tint_mired:+25>", "25"), Step(30.0, "<tint_mired:+30>", "30"), Step(35.0, "<tint_mired:+35>", "35"), Step(40.0, "<tint_mired:+40>", "40"), Step(45.0, "<tint_mired:+45>", "45"), Step(50.0, "<tint_mired:+50>", "50"), Step(60.0, "<tint_mired:+60>", "60"), Step(80.0, "<tint_mired:+80>", "80"), Step(100.0, "<tint_mired:+100>", "100")),
        Attribute.CONTRAST to listOf(Step(-1.0, "<contrast:-1>", "1"), Step(-0.9, "<contrast:-0.9>", "0.9"), Step(-0.8, "<contrast:-0.8>", "0.8"), Step(-0.7, "<contrast:-0.7>", "0.7"), Step(-0.6, "<contrast:-0.6>", "0.6"), Step(-0.5, "<contrast:-0.5>", "0.5"), Step(-0.45, "<contrast:-0.45>", "0.45"), Step(-0.4, "<contrast:-0.4>", "0.4"), Step(-0.35, "<contrast:-0.35>", "0.35"), Step(-0.3, "<contrast:-0.3>", "0.3"), Step(-0.25, "<contrast:-0.25>", "0.25"), Step(-0.2, "<contrast:-0.2>", "0.2"), Step(-0.15, "<contrast:-0.15>", "0.15"), Step(-0.1, "<contrast:-0.1>", "0.1"), Step(-0.05, "<contrast:-0.05>", "0.05"), Step(0.0, "<contrast:0>", "0"), Step(0.05, "<contrast:+0.05>", "0.05"), Step(0.1, "<contrast:+0.1>", "0.1"), Step(0.15, "<contrast:+0.15>", "0.15"), Step(0.2, "<contrast:+0.2>", "0.2"), Step(0.25, "<contrast:+0.25>", "0.25"), Step(0.3, "<contrast:+0.3>", "0.3"), Step(0.35, "<contrast:+0.35>", "0.35"), Step(0.4, "<contrast:+0.4>", "0.4"), Step(0.45, "<contrast:+0.45>", "0.45"), Step(0.5, "<contrast:+0.5>", "0.5"), Step(0.6, "<contrast:+0.6>", "0.6"), Step(0.7, "<contrast:+0.7>", "0.7"), Step(0.8, "<contrast:+0.8>", "0.8"), Step(0.9, "<contrast:+0.9>", "0.9"), Step(1.0, "<contrast:+1>", "1")),
        Attribute.HIGHLIGHTS to listOf(Step(-1.0, "<highlights:-1>", "1"), Step(-0.9, "<highlights:-0.9>", "0.9"), Step(-0.8, "<highlights:-0.8>", "0.8"), Step(-0.7, "<highlights:-0.7>", "0.7"), Step(-0.6, "<highlights:-0.6>", "0.6"), Step(-0.5, "<highlights:-0.5>", "0.5"), Step(-0.45, "<highlights:-0.45>", "0.45"), Step(-0.4, "<highlights:-0.4>", "0.4"), Step(-0.35, "<highlights:-0.35>", "0.35"), Step(-0.3, "<highlights:-0.3>", "0.3"), Step(-0.25, "<highlights:-0.25>", "0.25"), Step(-0.2, "<highlights:-0.2>", "0.2"), Step(-0.15, "<highlights:-0.15>", "0.15"), Step(-0.1, "<highlights:-0.1>", "0.1"), Step(-0.05, "<highlights:-0.05>", "0.05"), Step(0.0, "<highlights:0>", "0"), Step(0.05, "<highlights:+0.05>", "0.05"), Step(0.1, "<highlights:+0.1>", "0.1"), Step(0.15, "<highlights:+0.15>", "0.15"), Step(0.2, "<highlights:+0.2>", "0.2"), Step(0.25, "<highlights:+0.25>", "0.25"), Step(0.3, "<highlights:+0.3>", "0.3"), Step(0.35, "<highlights:+0.35>", "0.35"), Step(0.4, "<highlights:+0.4>", "0.4"), Step(0.45, "<highlights:+0.45>", "0.45"), Step(0.5, "<highlights:+0.5>", "0.5"), Step(0.6, "<highlights:+0.6>", "0.6"), Step(0.7, "<highlights:+0.7>", "0.7"), Step(0.8, "<highlights:+0.8>", "0.8"), Step(0.9, "<highlights:+0.9>", "0.9"), Step(1.0, "<highlights:+1>", "1")),
        Attribute.SHADOWS to listOf(Step(-1.0, "<shadows:-1>", "1"), Step(-0.9, "<shadows:-0.9>", "0.9"), Step(-0.8, "<shadows:-0.8>", "0.8"), Step(-0.7, "<shadows:-0.7>", "0.7"), Step(-0.6, "<shadows:-0.6>", "0.6"), Step(-0.5, "<shadows:-0.5>", "0.5"), Step(-0.45, "<shadows:-0.45>", "0.45"), Step(-0.4, "<shadows:-0.4>", "0.4"), Step(-0.35, "<shadows:-0.35>", "0.35"), Step(-0.3, "<shadows:-0.3>", "0.3"), Step(-0.25, "<shadows:-0.25>", "0.25"), Step(-0.2, "<shadows:-0.2>", "0.2"), Step(-0.15, "<shadows:-0.15>", "0.15"), Step(-0.1, "<shadows:-0.1>", "0.1"), Step(-0.05, "<shadows:-0.05>", "0.05"), Step(0.0, "<shadows:0>", "0"), Step(0.05, "<shadows:+0.05>", "0.05"), Step(0.1, "<shadows:+0.1>", "0.1"), Step(0.15, "<shadows:+0.15>", "0.15"), Step(0.2, "<shadows:+0.2>", "0.2"), Step(0.25, "<shadows:+0.25>", "0.25"), Step(0.3, "<shadows:+0.3>", "0.3"), Step(0.35, "<shadows:+0.35>", "0.35"), Step(0.4, "<shadows:+0.4>", "0.4"), Step(0.45, "<shadows:+0.45>", "0.45"), Step(0.5, "<shadows:+0.5>", "0.5"), Step(0.6, "<shadows:+0.6>", "0.6"), Step(0.7, "<shadows:+0.7>", "0.7"), Step(0.8, "<shadows:+0.8>", "0.8"), Step(0.9, "<shadows:+0.9>", "0.9"), Step(1.0, "<shadows:+1>", "1")),
        Attribute.SATURATION to listOf(Step(-1.0, "<saturation:-1>", "1"), Step(-0.9, "<saturation:-0.9>", "0.9"), Step(-0.8, "<saturation:-0.8>", "0.8"), Step(-0.7, "<saturation:-0.7>", "0.7"), Step(-0.6, "<saturation:-0.6>", "0.6"), Step(-0.5, "<saturation:-0.5>", "0.5"), Step(-0.45, "<saturation:-0.45>", "0.45"), Step(-0.4, "<saturation:-0.4>", "0.4"), Step(-0.35, "<saturation:-0.35>", "0.35"), Step(-0.3, "<saturation:-0.3>", "0.3"), Step(-0.25, "<saturation:-0.25>", "0.25"), Step(-0.2, "<saturation:-0.2>", "0.2"), Step(-0.15, "<saturation:-0.15>", "0.15"), Step(-0.1, "<saturation:-0.1>", "0.1"), Step(-0.05, "<saturation:-0.05>", "0.05"), Step(0.0, "<saturation:0>", "0"), Step(0.05, "<saturation:+0.05>", "0.05"), Step(0.1, "<saturation:+0.1>", "0.1"), Step(0.15, "<saturation:+0.15>", "0.15"), Step(0.2, "<saturation:+0.2>", "0.2"), Step(0.25, "<saturation:+0.25>", "0.25"), Step(0.3, "<saturation:+0.3>", "0.3"), Step(0.35, "<saturation:+0.35>", "0.35"), Step(0.4, "<saturation:+0.4>", "0.4"), Step(0.45, "<saturation:+0.45>", "0.45"), Step(0.5, "<saturation:+0.5>", "0.5"), Step(0.6, "<saturation:+0.6>", "0.6"), Step(0.7, "<saturation:+0.7>", "0.7"), Step(0.8, "<saturation:+0.8>", "0.8"), Step(0.9, "<saturation:+0.9>", "0.9"), Step(1.0, "<saturation:+1>", "1")),
        Attribute.DEHAZE to listOf(Step(0.0, "<dehaze:0>", "0"), Step(0.05, "<dehaze:+0.05>", "0.05"), Step(0.1, "<dehaze:+0.1>", "0.1"), Step(0.2, "<dehaze:+0.2>", "0.2"), Step(0.3, "<dehaze:+0.3>", "0.3"), Step(0.4, "<dehaze:+0.4>", "0.4"), Step(0.5, "<dehaze:+0.5>", "0.5"), Step(0.6, "<dehaze:+0.6>", "0.6"), Step(0.7, "<dehaze:+0.7>", "0.7"), Step(0.8, "<dehaze:+0.8>", "0.8"), Step(0.9, "<dehaze:+0.9>", "0.9"), Step(1.0, "<dehaze:+1>", "1")),
        Attribute.DENOISE to listOf(Step(0.0, "<denoise:0>", "0"), Step(0.05, "<denoise:+0.05>", "0.05"), Step(0.1, "<denoise:+0.1>", "0.1"), Step(0.2, "<denoise:+0.2>", "0.2"), Step(0.3, "<denoise:+0.3>", "0.3"), Step(0.4, "<denoise:+0.4>", "0.4"), Step(0.5, "<denoise:+0.5>", "0.5"), Step(0.6, "<denoise:+0.6>", "0.6"), Step(0.7, "<denoise:+0.7>", "0.7"), Step(0.8, "<denoise:+0.8>", "0.8"), Step(0.9, "<denoise:+0.9>", "0.9"), Step(1.0, "<denoise:+1>", "1")),
        Attribute.DEBLUR to listOf(Step(0.0, "<deblur:0>", "0"), Step(0.05, "<deblur:+0.05>", "0.05"), Step(0.1, "<deblur:+0.1>", "0.1"), Step(0.2, "<deblur:+0.2>", "0.2"), Step(0.3, "<deblur:+0.3>", "0.3"), Step(0.4, "<deblur:+0.4>", "0.4"), Step(0.5, "<deblur:+0.5>", "0.5"), Step(0.6, "<deblur:+0.6>", "0.6"), Step(0.7, "<deblur:+0.7>", "0.7"), Step(0.8, "<deblur:+0.8>", "0.8"), Step(0.9, "<deblur:+0.9>", "0.9"), Step(1.0, "<deblur:+1>", "1")),
        Attribute.DEJPEG to listOf(Step(0.0, "<dejpeg:0>", "0"), Step(0.05, "<dejpeg:+0.05>", "0.05"), Step(0.1, "<dejpeg:+0.1>", "0.1"), Step(0.2, "<dejpeg:+0.2>", "0.2"), Step(0.3, "<dejpeg:+0.3>", "0.3"), Step(0.4, "<dejpeg:+0.4>", "0.4"), Step(0.5, "<dejpeg:+0.5>", "0.5"), Step(0.6, "<dejpeg:+0.6>", "0.6"), Step(0.7, "<dejpeg:+0.7>", "0.7"), Step(0.8, "<dejpeg:+0.8>", "0.8"), Step(0.9, "<dejpeg:+0.9>", "0.9"), Step(1.0, "<dejpeg:+1>", "1")),
    )

    /** What stands in the edit block of an empty plan. */
    val NO_CHANGE: List<String> = listOf("No change.", "Leave the photo as it is.", "Nothing to edit.")

    /** What the gaps of clauses can hold. */
    val FILLERS: Map<String, List<String>> = mapOf(
        "adv" to listOf("slightly", "a little", "a touch", "clearly", "noticeably", "plainly", "badly", "heavily", "severely"),
        "very" to listOf("slightly", "a little", "a touch", "rather", "noticeably", "clearly", "very", "extremely"),
        "far" to listOf("slightly", "a little", "a touch", "clearly", "noticeably", "far", "much"),
        "cast" to listOf("a faint", "a slight", "a clear", "a visible", "a heavy", "a strong"),
        "veil" to listOf("a thin", "a light", "a visible", "a clear", "a thick", "a dense"),
        "much" to listOf("faint", "a little", "visible", "noticeable", "heavy", "coarse"),
        "blocks" to listOf("faint", "small", "visible", "clear", "heavy", "coarse"),
    )

    /** Exposure amounts in words. */
    val STOPS: Map<Double, String> = mapOf(
        0.1 to "a tenth of a stop",
        0.2 to "a fifth of a stop",
        0.3 to "a third of a stop",
        0.4 to "nearly half a stop",
        0.5 to "half a stop",
        0.6 to "a good half stop",
        0.7 to "two thirds of a stop",
        0.8 to "almost a stop",
        0.9 to "nearly a full stop",
        1.0 to "a full stop",
        1.2 to "a good stop",
        1.4 to "nearly a stop and a half",
        1.6 to "a stop and a half",
        1.8 to "nearly two stops",
        2.0 to "two stops",
        2.5 to "two and a half stops",
        3.0 to "three stops",
        3.5 to "three and a half stops",
        4.0 to "four stops",
    )

    /** Clauses that state a fault. */
    val CLAUSES: List<Phrases> = listOf(
        Phrases(Attribute.EXPOSURE, 1, listOf("the frame is {adv} underexposed", "the picture is {far} too dark", "the exposure is short by {stops}", "there is {stops} too little light")),
        Phrases(Attribute.EXPOSURE, -1, listOf("the frame is {adv} overexposed", "the picture is {far} too bright", "the exposure is over by {stops}", "there is {stops} too much light")),
        Phrases(Attribute.TEMPERATURE, 1, listOf("the white balance is {far} too cool", "the colors run {far} too blue", "{cast} cold cast lies over the colors")),
        Phrases(Attribute.TEMPERATURE, -1, listOf("the white balance is {far} too warm", "the colors run {far} too orange", "{cast} warm cast lies over the colors")),
        Phrases(Attribute.TINT, 1, listOf("the tint is {far} too green", "{cast} green cast is left in the neutrals", "the grays drift {adv} toward green")),
        Phrases(Attribute.TINT, -1, listOf("the tint is {far} too magenta", "{cast} magenta cast is left in the neutrals", "the grays drift {adv} toward magenta")),
        Phrases(Attribute.CONTRAST, 1, listOf("contrast is {far} too low", "the tones look {very} flat", "the tonal range is {adv} compressed")),
        Phrases(Attribute.CONTRAST, -1, listOf("contrast is {far} too high", "the tones look {very} harsh", "the tonal transitions are {very} hard")),
        Phrases(Attribute.HIGHLIGHTS, 1, listOf("the highlights are {far} too dull", "the brightest areas stay {very} gray", "the upper tones are {adv} subdued")),
        Phrases(Attribute.HIGHLIGHTS, -1, listOf("the highlights are {far} too bright", "the brightest areas run {very} hot", "the upper tones are {adv} washed out")),
        Phrases(Attribute.SHADOWS, 1, listOf("the shadows are {far} too deep", "the dark areas are {adv} blocked up", "the lower tones are {adv} crushed")),
        Phrases(Attribute.SHADOWS, -1, listOf("the shadows are {far} too pale", "the dark areas look {very} milky", "the lower tones are {very} thin")),
        Phrases(Attribute.SATURATION, 1, listOf("saturation is {far} too low", "the colors look {very} dull", "the colors are {adv} washed out")),
        Phrases(Attribute.SATURATION, -1, listOf("saturation is {far} too high", "the colors look {very} garish", "the colors are {adv} overdone")),
        Phrases(Attribute.DEHAZE, 1, listOf("{veil} veil of haze lies over the scene", "the view is {very} hazy", "the light is {adv} veiled by haze")),
        Phrases(Attribute.DENOISE, 1, listOf("{much} noise shows in the smooth areas", "the smooth areas are {very} grainy", "{much} sensor noise covers the frame")),
        Phrases(Attribute.DEBLUR, 1, listOf("the picture is {very} soft", "fine detail is {adv} blurred", "{cast} blur lies over the details")),
        Phrases(Attribute.DEJPEG, 1, listOf("{blocks} compression blocks show in the flat areas", "JPEG compression has left {blocks} blocks behind", "the file is {adv} overcompressed")),
    )

    /** Instructions that mend a fault. */
    val INSTRUCTIONS: List<Phrases> = listOf(
        Phrases(Attribute.EXPOSURE, 1, listOf("Raise exposure by {amount} EV.", "Brighten the frame by {amount} EV.", "Exposure: +{amount} EV.")),
        Phrases(Attribute.EXPOSURE, -1, listOf("Lower exposure by {amount} EV.", "Darken the frame by {amount} EV.", "Exposure: -{amount} EV.")),
        Phrases(Attribute.TEMPERATURE, 1, listOf("Warm the white balance by {amount} mired.", "White balance: {amount} mired warmer.", "Shift the color temperature {amount} mired toward warm.")),
        Phrases(Attribute.TEMPERATURE, -1, listOf("Cool the white balance by {amount} mired.", "White balance: {amount} mired cooler.", "Shift the color temperature {amount} mired toward cool.")),
        Phrases(Attribute.TINT, 1, listOf("Shift the tint {amount} mired toward magenta.", "Tint: {amount} mired more magenta.", "Add {amount} mired of magenta.")),
        Phrases(Attribute.TINT, -1, listOf("Shift the tint {amount} mired toward green.", "Tint: {amount} mired greener.", "Add {amount} mired of green.")),
        Phrases(Attribute.CONTRAST, 1, listOf("Raise contrast by {amount}.", "Contrast: +{amount}.", "Increase the contrast by {amount}.")),
        Phrases(Attribute.CONTRAST, -1, listOf("Lower contrast by {amount}.", "Contrast: -{amount}.", "Soften the contrast by {amount}.")),
        Phrases(Attribute.HIGHLIGHTS, 1, listOf("Lift the highlights by {amount}.", "Highlights: +{amount}.", "Raise highlights by {amount}.")),
        Phrases(Attribute.HIGHLIGHTS, -1, listOf("Recover the highlights by {amount}.", "Highlights: -{amount}.", "Bring the highlights down by {amount}.")),
        Phrases(Attribute.SHADOWS, 1, listOf("Lift the shadows by {amount}.", "Shadows: +{amount}.", "Open the shadows by {amount}.")),
        Phrases(Attribute.SHADOWS, -1, listOf("Deepen the shadows by {amount}.", "Shadows: -{amount}.", "Bring the shadows down by {amount}.")),
        Phrases(Attribute.SATURATION, 1, listOf("Raise saturation by {amount}.", "Saturation: +{amount}.", "Strengthen the colors by {amount}.")),
        Phrases(Attribute.SATURATION, -1, listOf("Lower saturation by {amount}.", "Saturation: -{amount}.", "Calm the colors by {amount}.")),
        Phrases(Attribute.DEHAZE, 1, listOf("Remove haze, strength {amount}.", "Dehaze: {amount}.", "Clear the haze with strength {amount}.")),
        Phrases(Attribute.DENOISE, 1, listOf("Reduce noise, strength {amount}.", "Denoise: {amount}.", "Clean the noise with strength {amount}.")),
        Phrases(Attribute.DEBLUR, 1, listOf("Undo the blur, strength {amount}.", "Deblur: {amount}.", "Sharpen with strength {amount}.")),
        Phrases(Attribute.DEJPEG, 1, listOf("Remove compression blocks, strength {amount}.", "Deblock: {amount}.", "Smooth the compression blocks with strength {amount}.")),
    )
}
