import Foundation

/// Critiques and enhances photos with the networks of one `latent` bundle: a vision-language critic, and a few-step artist
/// that reads its hidden states.
public final class LatentPair: Pair {
    private let runners: any RunnerSource
    private let bundle: PocketBundle
    private let settings: LatentSettings
    private var openedCritic: LatentCritic?
    private var openedArtist: LatentArtist?
    private var words: LatentWords?
    /// What the critic says of the last photo, as far as it has come.
    private var said: (picture: [Float], conversation: Conversation)?

    /// - Parameters:
    ///   - runners: where the networks come from.
    ///   - bundle: where word vectors and vocabulary come from.
    ///   - settings: of its manifest.
    public init(_ runners: any RunnerSource, _ bundle: PocketBundle, _ settings: LatentSettings) {
        self.runners = runners
        self.bundle = bundle
        self.settings = settings
    }

    public func release() { (openedCritic, openedArtist, said) = (nil, nil, nil) }

    public func warm() throws {
        let gray = try Self.gray()
        if let critic = settings.critic {
            _ = try self.critic().begin(LatentPicture.critics(gray, critic.picture))
        } else {
            let artist = try artist()
            _ = try artist.change(LatentPicture.artists(gray, side: artist.settings.side), hidden: nil)
        }
    }

    /// Refuses: the critic of this family answers in words.
    public func critique(_ pixels: Pixels) throws -> Critique {
        throw PocketCrafterError.config("The critic of this bundle answers in words, not in numbers: ask for its prose.")
    }

    /// Lets the critic answer; for the photo that was enhanced last, it goes on with the answer that it had begun.
    public func prose(
        _ pixels: Pixels, mode: Mode = .full, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Told {
        let critic = try criticSettings()
        let words = try words ?? bundle.latentWords()
        self.words = words
        let answer = try conversation(pixels, progress).finish(progress: progress)
        return Told(answer: answer.ids, stops: critic.stops, words)
    }

    /// Lets the artist edit the photo as it understands the critic, and carries what that changed to the photo's own
    /// resolution; as ``Pair``.
    ///
    /// What the edit changed of the decoded photo is added to a photo of the artist's own size pixel by pixel. Any other
    /// gets what a grid of color transforms can carry over. Where that misses much, the artist edits the photo's own pixels
    /// in tiles, if the bundle allows as many; otherwise a note says what is missing.
    public func enhance(
        _ pixels: Pixels, strength: Double = 1, geometry: Geometry = .kept,
        progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Enhanced {
        try Self.check(strength)
        guard geometry == .kept else {
            throw PocketCrafterError.config("The artist of this bundle does not level or crop.")
        }
        let artist = try artist()
        var (words, hidden) = (0, [Float]?.none)
        if artist.readsCritic {
            let longest = try criticSettings().longestAnswer
            words = artist.settings.bridgeTokens.map { min(longest, $0) } ?? longest
            let all = words + artist.settings.steps.count
            let conversation = try conversation(pixels) { done, _ in try progress(done, all) }
            hidden = try conversation.states(artist.settings.bridgeTokens) { done, _ in try progress(done, all) }
        }
        let (made, notes) = try edited(pixels, artist, hidden, strength) { try progress(words + $0, words + $1) }
        return Enhanced(pixels: made, plan: nil, critique: nil, restored: made, grid: nil, composed: nil, notes: notes)
    }

    private func edited(
        _ photo: Pixels, _ artist: LatentArtist, _ hidden: [Float]?, _ strength: Double,
        _ progress: (Int, Int) throws -> Void
    ) throws -> (Pixels, [String]) {
        let settings = artist.settings
        let small = LatentPicture.artists(photo, side: settings.side)
        let change = try artist.change(small, hidden: hidden, progress: progress)
        let carried = try Carried(photo, change, strength: strength)
        if carried.errorDb >= Constants.carriedDb { return (carried.pixels, carried.notes) }
        let count = try tiles(photo, artist)
        guard (1...max(1, settings.tiles)).contains(count), settings.tiles > 0 else {
            return (carried.pixels, carried.notes + [Self.missing(count, settings.tiles)])
        }
        let runs = settings.steps.count
        let native = LatentPicture.native(photo, side: settings.side, factor: try artist.factor())
        let tiled = try artist.change(native, hidden: hidden) { try progress(runs + $0, runs + $1) }
        let pixels = Carried.added(to: photo, tiled: tiled.added, whole: change.added, strength: strength)
        return (pixels, ["edited in \(count) tiles at the photo's own size: colors alone would not carry the edit."])
    }

    /// In how many tiles the artist edits a photo's own pixels; 0 where these are no more than it sees anyway.
    private func tiles(_ photo: Pixels, _ artist: LatentArtist) throws -> Int {
        let (side, factor) = (artist.settings.side, try artist.factor())
        if max(photo.height, photo.width) <= side { return 0 }
        func latents(_ length: Int) -> Int { (max(side, length) + factor - 1) / factor }
        return LatentTiles(tile: side / factor, height: latents(photo.height), width: latents(photo.width)).places.count
    }

    private static func missing(_ count: Int, _ allowed: Int) -> String {
        let lost = "new content and removed noise are not carried over"
        if count == 0 { return "\(lost): the photo has no more pixels than the artist's picture, but another shape." }
        return "\(lost): they would take \(count) tiles at the photo's own size, and the bundle allows \(allowed)."
    }

    /// What the critic says of a photo, as far as it has come: the last photo's is kept.
    private func conversation(_ photo: Pixels, _ progress: (Int, Int) throws -> Void) throws -> Conversation {
        let critic = try criticSettings()
        let picture = LatentPicture.critics(photo, critic.picture)
        if let said, said.picture == picture { return said.conversation }
        said = nil
        let begun = try self.critic().begin(picture) { try progress(0, critic.longestAnswer) }
        said = (picture, begun)
        return begun
    }

    private func critic() throws -> LatentCritic {
        if let openedCritic { return openedCritic }
        let language = LatentComponent.language.rawValue
        let critic = try LatentCritic(
            vision: runners.open(LatentComponent.vision.rawValue), step: runners.open(language),
            prefill: runners.open(language, function: TextReader.prefill), language: bundle.manifest.component(language),
            table: bundle.wordTable(), settings: criticSettings())
        openedCritic = critic
        return critic
    }

    private func artist() throws -> LatentArtist {
        if let openedArtist { return openedArtist }
        guard let settings = settings.artist else {
            throw PocketCrafterError.config("This bundle has a critic alone, which answers in words: ask for its prose.")
        }
        func network(_ name: LatentComponent) throws -> Network {
            Network(runner: try runners.open(name.rawValue), component: try bundle.manifest.component(name.rawValue))
        }
        let bridge = bundle.has(LatentComponent.bridge.rawValue) ? try network(.bridge) : nil
        let artist = LatentArtist(
            encode: try network(.encode), denoise: try network(.denoise), decode: try network(.decode), bridge: bridge,
            settings: settings)
        openedArtist = artist
        return artist
    }

    private func criticSettings() throws -> CriticSettings {
        guard let critic = settings.critic else {
            throw PocketCrafterError.config("This bundle has an artist alone, with one look: enhance runs it.")
        }
        return critic
    }
}

extension Told {
    /// What a latent critic's answer is.
    ///
    /// - Parameters:
    ///   - ids: words of the answer, the one that ended it too.
    ///   - stops: words that end answers.
    ///   - words: the critic's vocabulary.
    init(answer ids: [Int], stops: [Int], _ words: LatentWords) {
        let ended = ids.last.map(stops.contains) ?? false
        let whole = words.text(ended ? ids.dropLast() : ids)
        let text = String(String.UnicodeScalarView(whole.unicodeScalars.prefix(Prose.maxCharacters)))
        self.init(text: text, prose: try? Prose(text), critique: nil, ids: ids, ended: ended)
    }
}

/// A photo with what is carried over of an edit.
struct Carried {
    let pixels: Pixels
    /// How far it misses the edit at this strength, PSNR in decibels; infinite where it does not.
    let errorDb: Double
    /// What to say of it, one short sentence each.
    let notes: [String]

    /// Carries an edit over as colors: a grid of affine transforms, by place and luma. To a photo of the artist's own size,
    /// what the edit changed is added pixel by pixel.
    ///
    /// - Throws: as ``Transfer/init(_:_:)``.
    init(_ photo: Pixels, _ change: Change, strength: Double) throws {
        if photo.width == change.after.width, photo.height == change.after.height {
            pixels = Self.added(change.added, to: photo, strength: strength)
            (errorDb, notes) = (.infinity, [])
            return
        }
        let transfer = try Transfer(change.before, change.after)
        pixels = Developer.develop(photo, plan: EditPlan(), grid: try transfer.grid.blended(strength))
        errorDb = strength == 0 ? .infinity : transfer.errorDb - 20 * log10(strength)
        let error = transfer.errorDb.isInfinite ? "inf" : String(format: "%.1f", transfer.errorDb)
        notes = ["of the edit at \(change.before.width)×\(change.before.height) px, \(error) dB are carried over."]
    }

    /// A photo with an edit of its own pixels in tiles. Scaled down to the artist's size, what is changed is the edit of the
    /// whole photo: tiles, which do not see the whole, add details alone.
    static func added(to photo: Pixels, tiled: Planes, whole: Planes, strength: Double) -> Pixels {
        var added = tiled.cut(top: 0, left: 0, height: photo.height, width: photo.width)
        let small = Resampling.bicubic.resized(added, width: whole.width, height: whole.height)
        let missing = Planes(
            unchecked: zip(whole.values, small.values).map { $0 - $1 }, whole.channels, whole.height, whole.width)
        let wide = Resampling.bicubic.resized(missing, width: photo.width, height: photo.height)
        for n in added.values.indices { added.values[n] += wide.values[n] }
        return Self.added(added, to: photo, strength: strength)
    }

    /// A photo with what is added to it.
    private static func added(_ added: Planes, to photo: Pixels, strength: Double) -> Pixels {
        let samples: Pixels.Samples = switch photo.samples {
        case .eight(let levels): .eight(self.levels(levels, added, Float(strength)))
        case .sixteen(let levels): .sixteen(self.levels(levels, added, Float(strength)))
        }
        return Pixels(unchecked: samples, like: photo)
    }

    private static func levels<L: Level>(_ photo: [L], _ added: Planes, _ factor: Float) -> [L] {
        let (area, top) = (photo.count / 3, L.max.float)
        return photo.indices.map { n in
            let own = photo[n].float / top
            let made = (own + added.values[n % 3 * area + n / 3]).clamped(to: 0...1)
            let level = (own + factor * (made - own)).clamped(to: 0...1) * top
            return L(truncatingIfNeeded: Int(level.rounded(.toNearestOrEven)))
        }
    }
}
