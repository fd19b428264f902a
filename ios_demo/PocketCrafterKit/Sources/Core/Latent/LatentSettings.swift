/// What the manifest of a latent bundle holds beside its components: prompt, steps, noise and sizes, all as data.
public struct LatentSettings: Equatable, Sendable {
    /// `nil` where there is an artist alone.
    public let critic: CriticSettings?
    /// `nil` where there is a critic alone.
    public let artist: ArtistSettings?

    /// Reads the settings of a manifest, which its schema has validated.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if something is missing.
    init(_ raw: Json) throws {
        critic = try raw.part("critic").map(CriticSettings.init)
        artist = try raw.part("artist").map(ArtistSettings.init)
        guard critic != nil || artist != nil else {
            throw PocketCrafterError.bundle("A latent bundle has neither a critic nor an artist.")
        }
    }
}

/// What the critic is asked, and when its answer ends.
public struct CriticSettings: Equatable, Sendable {
    /// Ids of the whole rendered prompt; the picture's tokens go in order where ``pictureToken`` stands.
    public let prompt: [Int]
    public let pictureToken: Int
    /// Ids that end an answer.
    public let stops: [Int]
    /// Most ids of an answer.
    public let longestAnswer: Int
    public let picture: PictureSettings
    public let rotary: RotarySettings
    /// Tokens along the picture's side, where positions have several axes; `nil` where they have one.
    public let rows: Int?

    init(_ raw: Json) throws {
        prompt = try raw.wholes("prompt")
        pictureToken = try raw.whole("picture_token")
        stops = try raw.wholes("stops")
        longestAnswer = try raw.whole("longest_answer")
        picture = try PictureSettings(raw.needed("picture"))
        rotary = try RotarySettings(raw.needed("rotary"))
        rows = raw["rows"]?.integer
        guard prompt.contains(pictureToken) else {
            throw PocketCrafterError.bundle("The critic's prompt has no place for a picture.")
        }
    }
}

/// How a photo becomes the critic's picture, as its image processor does it.
public struct PictureSettings: Equatable, Sendable {
    /// The photo is scaled to this first, aspect kept; `nil` where it is not.
    public let longestEdge: Int?
    /// Then it becomes a square of so many pixels.
    public let side: Int
    public let resampling: Resampling
    /// Subtracted from R, G and B in [0, 1].
    public let mean: [Float]
    /// What is left is divided by it.
    public let deviation: [Float]

    init(_ raw: Json) throws {
        longestEdge = raw["longest_edge"]?.integer
        side = try raw.whole("side")
        guard let resampling = raw["resampling"]?.string.flatMap(Resampling.init(rawValue:)) else {
            throw PocketCrafterError.bundle("The critic's picture lacks its `resampling`.")
        }
        self.resampling = resampling
        mean = try raw.numbers("mean").map { Float($0) }
        deviation = try raw.numbers("deviation").map { Float($0) }
    }
}

/// Rotary embeddings of the language model.
public struct RotarySettings: Equatable, Sendable {
    /// Radians for each step of a position; half a head's width of them.
    public let frequencies: [Float]
    /// What cosines and sines are multiplied by.
    public let scale: Float
    /// How many frequencies each axis of a position turns; empty where there is one axis.
    public let sections: [Int]
    /// Whether the axes take turns, frequency by frequency, as long as they have some left.
    public let interleaved: Bool

    init(_ raw: Json) throws {
        frequencies = try raw.numbers("frequencies").map { Float($0) }
        scale = Float(try raw.number("scale"))
        sections = raw["sections"]?.array?.compactMap(\.integer) ?? []
        interleaved = raw["interleaved"] == .bool(true)
    }
}

/// One step: `latents ← keep·latents + move·prediction + noise·fresh noise`.
public struct StepSettings: Equatable, Sendable {
    /// What the network is told, as ``TimeSettings`` has it.
    public let timestep: Double
    /// Factor on the latents that the network is given.
    public let scale: Float
    public let keep: Float
    public let move: Float
    public let noise: Float

    init(_ raw: Json) throws {
        timestep = try raw.number("timestep")
        scale = Float(raw["scale"]?.double ?? 1)
        keep = Float(try raw.number("keep"))
        move = Float(try raw.number("move"))
        noise = Float(raw["noise"]?.double ?? 0)
    }
}

/// How a timestep is told to the network: the sines and cosines of it times each frequency, side by side.
public struct TimeSettings: Equatable, Sendable {
    /// Radians for each timestep.
    public let frequencies: [Float]
    public let cosinesFirst: Bool

    init(_ raw: Json) throws {
        frequencies = try raw.numbers("frequencies").map { Float($0) }
        cosinesFirst = raw["cosines_first"] == .bool(true)
    }

    /// Returns what `denoise` is told of a timestep, shape `(1, 2 · frequencies)`; in float32, as it was trained.
    func features(_ timestep: Double) -> [Float] {
        let angles = frequencies.map { Float(timestep) * $0 }
        let (cosines, sines) = (angles.map(cosine), angles.map(sine))
        return cosinesFirst ? cosines + sines : sines + cosines
    }
}

/// `(x − shift)·scale`.
public struct AffineSettings: Equatable, Sendable {
    public let scale: Float
    public let shift: Float

    init(_ raw: Json) {
        scale = Float(raw["scale"]?.double ?? 1)
        shift = Float(raw["shift"]?.double ?? 0)
    }

    func scaled(_ planes: Planes) -> Planes { planes.map { ($0 - shift) * scale } }

    func unscaled(_ planes: Planes) -> Planes { planes.map { $0 / scale + shift } }
}

/// How the artist makes a picture.
public struct ArtistSettings: Equatable, Sendable {
    /// Pixels of the square that a photo becomes; aspect not kept.
    public let side: Int
    /// From the autoencoder's latents to those that are denoised.
    public let latents: AffineSettings
    /// From the autoencoder's latents to those that show the photo.
    public let picture: AffineSettings
    /// Factor on noise where the steps begin.
    public let startNoise: Float
    /// Factor on the photo's own latents where the steps begin.
    public let startPicture: Float
    public let steps: [StepSettings]
    public let time: TimeSettings
    /// Of the noise: the key of Philox 4x64.
    public let seed: UInt64
    /// Most tiles of its size in which it edits a photo's own pixels.
    public let tiles: Int
    /// Words of the answer that it reads, after the prompt; all where `nil`.
    public let bridgeTokens: Int?

    init(_ raw: Json) throws {
        side = try raw.whole("side")
        latents = AffineSettings(try raw.needed("latents"))
        picture = AffineSettings(try raw.needed("picture"))
        startNoise = Float(try raw.number("start_noise"))
        startPicture = Float(try raw.number("start_picture"))
        guard let steps = raw["steps"]?.array, let time = raw["time"] else {
            throw PocketCrafterError.bundle("The artist lacks its steps, or how it is told of time.")
        }
        self.steps = try steps.map(StepSettings.init)
        self.time = try TimeSettings(time)
        guard let seed = raw["seed"]?.integer, let key = UInt64(exactly: seed) else {
            throw PocketCrafterError.bundle("The artist's seed is not from 0 to 2⁶³ − 1, which is what is read here.")
        }
        self.seed = key
        tiles = raw["tiles"]?.integer ?? 0
        bridgeTokens = raw["bridge_tokens"]?.integer
    }
}

private extension Json {
    func needed(_ key: String) throws -> Json {
        guard let found = self[key] else { throw PocketCrafterError.bundle("The settings lack `\(key)`.") }
        return found
    }

    /// A member that may be absent, or null.
    func part(_ key: String) -> Json? { self[key].flatMap { $0 == .null ? nil : $0 } }

    func number(_ key: String) throws -> Double {
        guard let found = self[key]?.double else { throw PocketCrafterError.bundle("The settings lack a number `\(key)`.") }
        return found
    }

    func whole(_ key: String) throws -> Int {
        guard let found = self[key]?.integer else { throw PocketCrafterError.bundle("The settings lack a count `\(key)`.") }
        return found
    }

    func numbers(_ key: String) throws -> [Double] { try needed(key).array?.compactMap(\.double) ?? [] }

    func wholes(_ key: String) throws -> [Int] { try needed(key).array?.compactMap(\.integer) ?? [] }
}
