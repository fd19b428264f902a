// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated

/**
 * A target that a bundle can hold.
 *
 * @property backend what runs its artifacts on a computer.
 * @property suffixes what names of its artifacts may end in.
 */
data class TargetKind(val backend: String, val suffixes: List<String>)

/** The targets and components that manifests may name. */
object Targets {
    /** Each target by its kind. */
    val KINDS: Map<String, TargetKind> = mapOf(
        "executorch-xnnpack" to TargetKind("executorch", listOf(".pte")),
        "litert" to TargetKind("litert", listOf(".tflite")),
        "onnx" to TargetKind("onnxruntime", listOf(".onnx", ".ort")),
        "qnn-context:sm8650" to TargetKind("qnn-emulator", listOf(".onnx")),
        "qnn-context:sm8750" to TargetKind("qnn-emulator", listOf(".onnx")),
        "qnn-context:sm8850" to TargetKind("qnn-emulator", listOf(".onnx")),
        "qnn-context:multi" to TargetKind("device", listOf(".onnx")),
        "coreml:ios17" to TargetKind("mil-interpreter", listOf(".mlpackage")),
        "coreml:ios18" to TargetKind("mil-interpreter", listOf(".mlpackage")),
        "coreml:ios26" to TargetKind("mil-interpreter", listOf(".mlpackage")),
        "executorch-qnn:sm8650" to TargetKind("executorch-qnn-emulator", listOf(".pte")),
        "executorch-qnn:sm8750" to TargetKind("executorch-qnn-emulator", listOf(".pte")),
        "executorch-qnn:sm8850" to TargetKind("executorch-qnn-emulator", listOf(".pte")),
        "executorch-coreml" to TargetKind("mil-interpreter", listOf(".pte")),
        "coreai:ios27" to TargetKind("coreai", listOf(".aimodel")),
        "executorch-coreai" to TargetKind("device", listOf(".pte")),
        "executorch-vulkan" to TargetKind("device", listOf(".pte")),
        "executorch-mediatek" to TargetKind("device", listOf(".pte")),
        "executorch-samsung" to TargetKind("device", listOf(".pte")),
    )

    /** What names of artifacts end in that are folders. */
    val PACKAGES: List<String> = listOf(".aimodel", ".mlpackage")

    /** The components that a pocket bundle may have. */
    val POCKET_COMPONENTS: List<String> = listOf("critic", "judge", "tone", "restore", "composition", "decoder")

    /** The components that a latent bundle may have. */
    val LATENT_COMPONENTS: List<String> = listOf("vision", "language", "bridge", "encode", "denoise", "decode")

    /** Those that its critic has. */
    val LATENT_CRITIC: List<String> = listOf("vision", "language")

    /** Those that its artist has. */
    val LATENT_ARTIST: List<String> = listOf("encode", "denoise", "decode")

    /** Where a bundle with a language model has the vectors of its words. */
    const val WORD_TABLE: String = "embedding/table.safetensors"

    /** Where a bundle whose critic writes words has its vocabulary. */
    const val TOKENIZER: String = "tokenizer/tokenizer.json"
}
