/// An opened network and its contract.
struct Network {
    let runner: any Runner
    let component: Component

    /// Whether it has an input of a name.
    func takes(_ name: String) -> Bool { component.inputs.contains { $0.name == name } }

    /// The shape of an input or output.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it has none of that name, or of other axes.
    func shape(_ name: String, axes: Int) throws -> [Int] {
        guard let shape = (component.inputs + component.outputs).first(where: { $0.name == name })?.shape,
            shape.count == axes
        else { throw PocketCrafterError.bundle("`\(component.name)` has no `\(name)` of \(axes) axes.") }
        return shape
    }

    /// Runs once on those of the arrays that it takes, and returns one of its outputs, which is of planes.
    func planes(_ given: [String: [Float]], _ output: String) throws -> Planes {
        let shape = try shape(output, axes: 4)
        let inputs = given.filter { takes($0.key) }
        let values = try runner.run(inputs).output(output, count: shape.reduce(1, *), of: component.name)
        return Planes(unchecked: values, shape[1], shape[2], shape[3])
    }
}

/// What an edit changes: the same picture twice, both by the decoder. What the autoencoder cannot represent is missing from
/// both, so that their difference is the edit alone.
struct Change {
    /// What the autoencoder makes of the picture itself, three planes of sRGB in [0, 1].
    let before: Planes
    /// The edited picture, likewise.
    let after: Planes

    /// What is added, value by value.
    var added: Planes {
        Planes(unchecked: zip(after.values, before.values).map { $0 - $1 }, after.channels, after.height, after.width)
    }
}

/// A small picture and the critic's hidden states go in, the edited small picture comes out.
struct LatentArtist {
    let encode: Network
    let denoise: Network
    let decode: Network
    /// What makes conditions of hidden states; `nil` where `denoise` reads these as they are, or none.
    let bridge: Network?
    let settings: ArtistSettings

    /// Whether its conditions come of hidden states; they are fixed otherwise.
    var readsCritic: Bool { denoise.takes("text") }

    /// Pixels along the side of a latent.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if `encode` has no such contract.
    func factor() throws -> Int { try encode.shape("image", axes: 4)[3] / encode.shape("latents", axes: 4)[3] }

    /// Edits a picture, and decodes its own latents too; the same picture and hidden states give the same edit.
    ///
    /// A picture larger than the artist's own goes through each network in tiles, which are blended after every step: all
    /// of them work on one picture.
    ///
    /// - Parameters:
    ///   - picture: sRGB in [0, 1], three planes; neither side below the artist's, both whole latents.
    ///   - hidden: the critic's, shape `(positions, width)`; an artist whose conditions are fixed reads none.
    ///   - progress: told how many runs of `denoise` of how many are done; what it throws ends the work between two.
    /// - Returns: both pictures, of the same size.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails or a picture is not finite,
    ///   ``PocketCrafterError/bundle(_:)`` if the artist reads hidden states, and there are none.
    func change(
        _ picture: Planes, hidden: [Float]?, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Change {
        guard hidden != nil || !readsCritic else {
            throw PocketCrafterError.bundle("The artist reads a critic's hidden states, and the bundle has no critic.")
        }
        let encoded = try encoded(picture)
        let after = try decoded(latents(picture, encoded, hidden, progress), picture)
        return Change(before: try decoded(encoded, picture), after: after)
    }

    private func encoded(_ picture: Planes) throws -> Planes {
        try tiles(encode, picture).map(["image": picture.map { $0 * 2 - 1 }]) {
            try encode.planes($0.mapValues(\.values), "latents")
        }
    }

    /// The autoencoder's latents of the edit.
    private func latents(
        _ picture: Planes, _ encoded: Planes, _ hidden: [Float]?, _ progress: (Int, Int) throws -> Void
    ) throws -> Planes {
        let shown = ["picture": settings.picture.scaled(encoded), "photo": picture].filter { denoise.takes($0.key) }
        let conditions = try conditions(hidden)
        let tiles = try tiles(denoise, picture)
        let runs = tiles.places.count * settings.steps.count
        var done = 0
        func count() throws {
            done += 1
            try progress(done, runs)
        }
        var noise = Noise(seed: settings.seed)
        var start = settings.latents.scaled(encoded)
        for (n, value) in noise.draw(start.values.count).enumerated() {
            start.values[n] = value * settings.startNoise + start.values[n] * settings.startPicture
        }
        let latents = try denoised(start, settings.steps, &noise) { latents, timestep in
            let fixed = conditions.merging(["time": settings.time.features(timestep)]) { own, _ in own }
            return try tiles.map(shown.merging(["latents": latents]) { own, _ in own }, done: count) { given in
                try denoise.planes(fixed.merging(given.mapValues(\.values)) { own, _ in own }, "prediction")
            }
        }
        return settings.latents.unscaled(latents)
    }

    /// Latents as a picture in [0, 1].
    private func decoded(_ latents: Planes, _ picture: Planes) throws -> Planes {
        let out = try tiles(decode, picture).map(["latents": latents]) {
            try decode.planes($0.mapValues(\.values), "image")
        }
        guard out.values.allSatisfy(\.isFinite) else {
            throw PocketCrafterError.runner("The artist gave a picture that is not finite.")
        }
        return out.map { ($0 / 2 + 0.5).clamped(to: 0...1) }
    }

    /// What `denoise` reads of hidden states: padded to its length, and which positions are none.
    private func conditions(_ hidden: [Float]?) throws -> [String: [Float]] {
        guard readsCritic, let hidden else { return [:] }
        let length = try denoise.shape("text", axes: 3)[1]
        let wide = try (bridge.map { try $0.shape("hidden", axes: 3) } ?? denoise.shape("text", axes: 3))[2]
        guard wide > 0, hidden.count.isMultiple(of: wide) else {
            throw PocketCrafterError.shape("Hidden states have rows of \(wide) values, not \(hidden.count) in all.")
        }
        let count = min(hidden.count / wide, length)
        let padded = Array(hidden.prefix(count * wide)) + zeros((length - count) * wide)
        let mask = (0..<length).map { Float($0 < count ? 1 : 0) }
        let given = ["text": padded, "mask": mask]
        guard let bridge else { return given }
        let inputs = ["hidden": padded, "mask": mask].filter { bridge.takes($0.key) }
        return given.merging(try bridge.runner.run(inputs)) { _, made in made }
    }

    /// Where a network's tiles lie on a picture.
    private func tiles(_ network: Network, _ picture: Planes) throws -> LatentTiles {
        let (side, factor) = (try network.shape("latents", axes: 4)[3], try factor())
        return LatentTiles(tile: side, height: picture.height / factor, width: picture.width / factor)
    }
}
