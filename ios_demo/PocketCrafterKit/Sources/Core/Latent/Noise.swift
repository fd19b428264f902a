import Foundation

/// Normal noise from Philox 4x64 (Salmon et al., 2011) and the Box–Muller transform: the same numbers as in Python.
struct Noise {
    private static let rounds = 10
    private static let multipliers: (UInt64, UInt64) = (0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157)
    private static let weyl: (UInt64, UInt64) = (0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B)
    /// Bits of a uniform number in float64.
    private static let bits: UInt64 = 53

    private let key: UInt64
    /// The lowest of the counter's four words; no picture takes 2⁶⁶ numbers.
    private var counter: UInt64 = 0
    private var block: [UInt64] = []
    private var taken = 0

    /// - Parameter seed: the generator's key; its counter is raised before each block of four words, as numpy does.
    init(seed: UInt64) { key = seed }

    /// Returns the next numbers; each call takes an even count of them off the stream.
    mutating func draw(_ count: Int) -> [Float] {
        let pairs = (count + 1) / 2
        let uniform = (0..<2 * pairs).map { _ in Double(word() >> (64 - Self.bits)) }
        var cosines: [Float] = [], sines: [Float] = []
        for n in 0..<pairs {
            // The first lies in (0, 1]: the logarithm of 0 would be infinite.
            let radius = (-2 * log((uniform[n] + 1) * 0x1p-53)).squareRoot()
            let angle = 2 * Double.pi * (uniform[pairs + n] * 0x1p-53)
            cosines.append(Float(radius * cos(angle)))
            sines.append(Float(radius * sin(angle)))
        }
        return Array((cosines + sines).prefix(count))
    }

    private mutating func word() -> UInt64 {
        if taken == block.count {
            counter += 1
            block = Self.block(counter, key)
            taken = 0
        }
        taken += 1
        return block[taken - 1]
    }

    private static func block(_ counter: UInt64, _ key: UInt64) -> [UInt64] {
        var words: [UInt64] = [counter, 0, 0, 0]
        var keys = (key, UInt64(0))
        for round in 0..<rounds {
            if round > 0 { keys = (keys.0 &+ weyl.0, keys.1 &+ weyl.1) }
            let first = multipliers.0.multipliedFullWidth(by: words[0])
            let second = multipliers.1.multipliedFullWidth(by: words[2])
            words = [second.high ^ words[1] ^ keys.0, second.low, first.high ^ words[3] ^ keys.1, first.low]
        }
        return words
    }
}

/// Carries out all steps.
///
/// - Parameters:
///   - latents: where they begin.
///   - steps: factors of each step.
///   - noise: where steps that add noise draw it.
///   - predict: the network: of the scaled latents and the timestep.
/// - Throws: what the network throws.
func denoised(
    _ latents: Planes, _ steps: [StepSettings], _ noise: inout Noise, predict: (Planes, Double) throws -> Planes
) throws -> Planes {
    var latents = latents
    for step in steps {
        let prediction = try predict(latents.map { $0 * step.scale }, step.timestep)
        guard prediction.values.count == latents.values.count else {
            throw PocketCrafterError.shape("A prediction has \(latents.values.count) values, not \(prediction.values.count).")
        }
        for n in latents.values.indices {
            latents.values[n] = latents.values[n] * step.keep + prediction.values[n] * step.move
        }
        if step.noise != 0 {
            for (n, value) in noise.draw(latents.values.count).enumerated() { latents.values[n] += value * step.noise }
        }
    }
    return latents
}

/// The cosine of an angle in radians, in float32.
func cosine(_ angle: Float) -> Float { cos(angle) }

/// The sine of an angle in radians, in float32.
func sine(_ angle: Float) -> Float { sin(angle) }
