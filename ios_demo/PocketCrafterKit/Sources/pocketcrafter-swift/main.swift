import Foundation
import OnnxRunner
import PocketCrafterKit

let usage = """
    Usage: pocketcrafter-swift enhance IN.ppm OUT.ppm --bundle FOLDER [--strength X] [--geometry [--crop]]
                                       [--threads N] [--unsigned-weights]
           pocketcrafter-swift critique IN.ppm --bundle FOLDER [--threads N] [--unsigned-weights]

    Photos are binary PPM of 8 or 16 bits a channel; what enhance writes has as many as it reads.
    enhance writes the enhanced photo, critique writes the critique to standard output: what was found of
    each item, where the critic gives numbers, then the words.

      --bundle FOLDER     a bundle with the target onnx
      --strength X        how much of the edit is done, in [0, 2] (default: 1)
      --geometry          level the photo too, where the network is sure of its tilt
      --crop              with --geometry: crop too
      --threads N         threads of one operator (default: 2)
      --unsigned-weights  for x86 processors whose 8-bit products saturate, as `pocketcrafter doctor` says

    """

/// What was asked for on the command line.
struct Request {
    var words: [String] = []
    var bundle: String?
    var threads = 2
    var strength = 1.0
    var storesWeightsUnsigned = false
    var levels = false
    var crops = false
    var geometry: Geometry { crops ? .levelledAndCropped : levels ? .levelled : .kept }

    /// - Throws: ``PocketCrafterError/config(_:)`` if something is unknown or missing.
    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "--bundle": bundle = rest.popFirst()
            case "--unsigned-weights": storesWeightsUnsigned = true
            case "--geometry": levels = true
            case "--crop": crops = true
            case "--strength":
                guard let factor = rest.popFirst().flatMap({ Double($0) }) else {
                    throw PocketCrafterError.config("--strength takes a number in [0, 2].")
                }
                strength = factor
            case "--threads":
                guard let count = rest.popFirst().flatMap({ Int($0) }), count >= 1 else {
                    throw PocketCrafterError.config("--threads takes a number ≥ 1.")
                }
                threads = count
            default:
                if word.hasPrefix("--") { throw PocketCrafterError.config("`\(word)` is not known.") }
                words.append(word)
            }
        }
        if crops, !levels { throw PocketCrafterError.config("--crop is for what --geometry does: give that too.") }
    }
}

func answer(_ request: Request) async throws {
    guard let bundle = request.bundle else { throw PocketCrafterError.config("--bundle is missing.") }
    let (threads, unsigned) = (request.threads, request.storesWeightsUnsigned)
    let crafter = PocketCrafter(URL(fileURLWithPath: bundle)) {
        try OnnxRunners($0, threads: threads, storesWeightsUnsigned: unsigned)
    }
    switch (request.words.first, request.words.count) {
    case ("enhance", 3):
        let photo = try Ppm.read(request.words[1])
        try await crafter.open()
        for try await progress in crafter.enhance(
            photo, strength: request.strength, geometry: request.geometry)
        {
            if case .done(let enhanced) = progress { try Ppm.write(enhanced.pixels, to: request.words[2]) }
        }
    case ("critique", 2):
        let photo = try Ppm.read(request.words[1])
        try await crafter.open()
        let told = try await crafter.prose(photo)
        for line in told.critique?.lines ?? [] { print(line) }
        print(told.text)
    default:
        throw PocketCrafterError.config(usage)
    }
}

do {
    try await answer(Request(Array(CommandLine.arguments.dropFirst())))
} catch {
    FileHandle.standardError.write(Data("pocketcrafter-swift: \(error.localizedDescription)\n".utf8))
    exit(error is PocketCrafterError ? 2 : 1)
}
