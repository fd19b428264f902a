// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

/// A target that a bundle can hold.
public struct TargetKind: Sendable {
    /// What runs its artifacts on a computer.
    public let backend: String
    /// What names of its artifacts may end in.
    public let suffixes: [String]
}

/// The targets and components that manifests may name.
public enum Targets {
    /// Each target by its kind.
    public static let kinds: [String: TargetKind] = [
        "executorch-xnnpack": TargetKind(backend: "executorch", suffixes: [".pte"]),
        "litert": TargetKind(backend: "litert", suffixes: [".tflite"]),
        "onnx": TargetKind(backend: "onnxruntime", suffixes: [".onnx", ".ort"]),
        "qnn-context:sm8650": TargetKind(backend: "qnn-emulator", suffixes: [".onnx"]),
        "qnn-context:sm8750": TargetKind(backend: "qnn-emulator", suffixes: [".onnx"]),
        "qnn-context:sm8850": TargetKind(backend: "qnn-emulator", suffixes: [".onnx"]),
        "qnn-context:multi": TargetKind(backend: "device", suffixes: [".onnx"]),
        "coreml:ios17": TargetKind(backend: "mil-interpreter", suffixes: [".mlpackage"]),
        "coreml:ios18": TargetKind(backend: "mil-interpreter", suffixes: [".mlpackage"]),
        "coreml:ios26": TargetKind(backend: "mil-interpreter", suffixes: [".mlpackage"]),
        "executorch-qnn:sm8650": TargetKind(backend: "executorch-qnn-emulator", suffixes: [".pte"]),
        "executorch-qnn:sm8750": TargetKind(backend: "executorch-qnn-emulator", suffixes: [".pte"]),
        "executorch-qnn:sm8850": TargetKind(backend: "executorch-qnn-emulator", suffixes: [".pte"]),
        "executorch-coreml": TargetKind(backend: "mil-interpreter", suffixes: [".pte"]),
        "coreai:ios27": TargetKind(backend: "coreai", suffixes: [".aimodel"]),
        "executorch-coreai": TargetKind(backend: "device", suffixes: [".pte"]),
        "executorch-vulkan": TargetKind(backend: "device", suffixes: [".pte"]),
        "executorch-mediatek": TargetKind(backend: "device", suffixes: [".pte"]),
        "executorch-samsung": TargetKind(backend: "device", suffixes: [".pte"]),
    ]

    /// What names of artifacts end in that are folders.
    static let packages: [String] = [".aimodel", ".mlpackage"]

    /// The components that a pocket bundle may have.
    public static let pocketComponents: [String] = ["critic", "judge", "tone", "restore", "composition", "decoder"]

    /// Where a bundle with a decoder has its vocabulary.
    public static let tokenizer = "tokenizer/tokenizer.json"

    /// The family of the default pair.
    static let pocket = "pocket"

    /// The family of a vision-language critic and a few-step artist.
    static let latent = "latent"

    /// Where a latent bundle with a critic has its vocabulary.
    static let latentTokenizer = "tokenizer/tokenizer.json"

    /// Where a latent bundle with a critic has its word vectors.
    static let wordTable = "embedding/table.safetensors"
}

/// A component of a latent bundle.
enum LatentComponent: String, CaseIterable {
    case vision
    case language
    case bridge
    case encode
    case denoise
    case decode

    /// What a critic has.
    static let critic: [Self] = [.vision, .language]

    /// What an artist has; a bridge goes before it where its conditions have another width.
    static let artist: [Self] = [.encode, .denoise, .decode]
}
