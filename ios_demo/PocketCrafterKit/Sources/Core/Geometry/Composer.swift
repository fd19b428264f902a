import Foundation

/// What may be done to a photo's frame.
public enum Geometry: Sendable {
    /// Nothing.
    case kept
    /// It may be levelled, where the composition network is sure of its tilt.
    case levelled
    /// It may be levelled, and cropped where a crop is worth it.
    case levelledAndCropped
}

/// What was found out about a photo's composition, and what follows from it.
public struct Composed: Equatable, Sendable {
    /// What the network makes of the horizon.
    public let tilt: TiltOpinion
    /// How the photo is levelled and cropped; `nil` where it stays as it is.
    public let framing: Framing?
    /// Whether it is cropped by choice, not only by what a turn leaves.
    public let isCropped: Bool
    /// Why it is cropped; empty where it is not, or nothing that was measured speaks for it.
    public let reasons: [Reason]
}

/// Looks at a photo's composition: tilt, crops worth judging, one decision.
package struct Composer {
    /// The component that it asks.
    package static let component = "composition"
    private static let viewPx = Constants.viewPx

    /// The composition network.
    let network: any Runner

    /// Asks the network for a photo's tilt; `nil` where the photo is too small to tell.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` if the network fails.
    func tilt(_ photo: Pixels) throws -> TiltOpinion? {
        Self.isLargeEnough(photo) ? try tilt(ofWorking: Self.workingCopy(photo)) : nil
    }

    /// Decides how a photo is levelled and cropped; `nil` where it is too small to tell.
    ///
    /// - Parameters:
    ///   - photo: the photo.
    ///   - crops: whether crops are judged too, a run of the network each; else the photo is only levelled.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if the network fails.
    func compose(_ photo: Pixels, crops: Bool) throws -> Composed? {
        guard Self.isLargeEnough(photo) else { return nil }
        let working = Self.workingCopy(photo)
        let tilt = try tilt(ofWorking: working)
        let degrees = tilt.turn
        let canvas = Framing.inscribed(width: photo.width, height: photo.height, degrees: degrees)
        let turned = degrees == 0 ? nil : Framing(degrees: degrees, box: canvas)
        let levelled = Composed(tilt: tilt, framing: turned, isCropped: false, reasons: [])
        if !crops { return levelled }
        let level = try Framing(
            degrees: degrees, box: Framing.inscribed(width: working.width, height: working.height, degrees: degrees)
        ).cut(working)
        let proposals = Crop.proposals(width: level.width, height: level.height)
        let scores = try proposals.map { try score(level, $0.box) }
        guard let best = Crop.chosen(proposals, scores, area: level.width * level.height) else { return levelled }
        let salience = Salience(level)
        let facts = [CropBox(left: 0, top: 0, right: level.width, bottom: level.height), best].map {
            salience.facts($0, across: level.width, down: level.height)
        }
        return Composed(
            tilt: tilt, framing: Framing(degrees: degrees, box: best.placed(level.width, level.height, canvas)),
            isCropped: true, reasons: Reason.of(facts[0], facts[1]))
    }

    /// Reduces a photo on its longer side, never enlarging it.
    static func workingCopy(_ photo: Pixels) -> Pixels {
        let share = min(1, Double(Constants.workingPx) / Double(max(photo.width, photo.height)))
        return Resampling.bilinear.reduced(
            photo, width: side(photo.width, share), height: side(photo.height, share), gap: 3)
    }

    /// Fits a part of a picture into the network's square view; antialiased.
    ///
    /// - Returns: the view, shape `(1, 3, viewPx, viewPx)` in [0, 1], `letterbox` where the picture is not; and where it is:
    ///   ones and zeros, shape `(1, 1, viewPx, viewPx)`.
    static func letterboxed(_ pixels: Pixels, _ box: CropBox) -> (view: [Float], inside: [Float]) {
        let share = Double(viewPx) / Double(max(box.width, box.height))
        let (width, height) = (side(box.width, share), side(box.height, share))
        let small = Planes(Resampling.bilinear.resized(pixels, width: width, height: height, box: box))
        let (left, top, area) = ((viewPx - width) / 2, (viewPx - height) / 2, viewPx * viewPx)
        var view = [Float](repeating: Float(Constants.letterbox), count: 3 * area)
        var inside = zeros(area)
        for y in 0..<height {
            for x in 0..<width {
                let at = (top + y) * viewPx + left + x
                inside[at] = 1
                for channel in 0..<3 { view[channel * area + at] = small.values[(channel * height + y) * width + x] }
            }
        }
        return (view, inside)
    }

    private static func side(_ length: Int, _ share: Double) -> Int {
        max(1, Int((Double(length) * share).rounded(.toNearestOrEven)))
    }

    private static func isLargeEnough(_ photo: Pixels) -> Bool { min(photo.width, photo.height) >= Constants.leastPhotoPx }

    private func tilt(ofWorking working: Pixels) throws -> TiltOpinion {
        let said = try run(working, CropBox(left: 0, top: 0, right: working.width, bottom: working.height))
        let (degrees, confidence) = (Double(try said.output("tilt", count: 1, of: Self.component)[0]),
            Double(try said.output("confidence", count: 1, of: Self.component)[0]))
        guard degrees.isFinite, confidence.isFinite else { return TiltOpinion(degrees: 0, confidence: 0) }
        return TiltOpinion(degrees: degrees, confidence: confidence.clamped(to: 0...1))
    }

    private func score(_ pixels: Pixels, _ box: CropBox) throws -> Double {
        Double(try run(pixels, box).output("score", count: 1, of: Self.component)[0])
    }

    private func run(_ pixels: Pixels, _ box: CropBox) throws -> [String: [Float]] {
        let (view, inside) = Self.letterboxed(pixels, box)
        return try network.run(["view": view, "inside": inside])
    }
}

/// A crop worth judging, and the centered box of its size that it has to beat.
struct Crop: Equatable {
    private static let shapes: [(ratio: Double?, scales: [Double])] = [
        (nil, [0.9, 0.8, 0.7]), (5.0 / 4, [1, 0.85]), (1, [1, 0.85]),
    ]
    private static let places = [0, 0.5, 1]
    private static let sameAspect = 0.03

    let box: CropBox
    let reference: CropBox

    /// The crops of a photo of some size, the whole of it first: a small grid over sizes, aspects and places.
    static func proposals(width: Int, height: Int) -> [Crop] {
        let whole = CropBox(left: 0, top: 0, right: width, bottom: height)
        var found = [Crop(box: whole, reference: whole)]
        var seen: Set<CropBox> = [whole]
        for (ratio, scales) in shapes {
            for scale in scales {
                guard let size = size(width, height, ratio, scale), min(size.width, size.height) >= Constants.leastCropPx
                else { continue }
                let reference = placed(width, height, size, 0.5, 0.5)
                for down in places {
                    for across in places {
                        let box = placed(width, height, size, across, down)
                        if seen.insert(box).inserted { found.append(Crop(box: box, reference: reference)) }
                    }
                }
            }
        }
        return found
    }

    /// The crop that is worth it, or none: the original stays.
    ///
    /// - Parameters:
    ///   - proposals: each one's reference is among them.
    ///   - scores: the network's, log-odds, in the same order.
    ///   - area: of the uncropped photo, in pixels of the boxes.
    static func chosen(_ proposals: [Crop], _ scores: [Double], area: Int) -> CropBox? {
        let scoreOf = Dictionary(zip(proposals.map(\.box), scores)) { first, _ in first }
        var best: (box: CropBox, worth: Double)?
        for crop in proposals {
            guard let own = scoreOf[crop.box], let rival = scoreOf[crop.reference] else { continue }
            let lost = 1 - Double(crop.box.width * crop.box.height) / Double(area)
            let worth = own - rival - Constants.costOfArea * lost
            if best.map({ worth > $0.worth }) ?? true { best = (crop.box, worth) }
        }
        return best.flatMap { $0.worth >= Constants.cropMargin ? $0.box : nil }
    }

    private static func size(_ width: Int, _ height: Int, _ ratio: Double?, _ scale: Double) -> (width: Int, height: Int)? {
        let own = Double(width) / Double(height)
        let wanted = ratio.map { own >= 1 ? $0 : 1 / $0 } ?? own
        if ratio != nil, abs(wanted / own - 1) < sameAspect { return nil }
        let across = min(Double(width), Double(height) * wanted)
        return (min(width, rounded(across * scale)), min(height, rounded(across / wanted * scale)))
    }

    private static func placed(
        _ width: Int, _ height: Int, _ size: (width: Int, height: Int), _ across: Double, _ down: Double
    ) -> CropBox {
        let (left, top) = (rounded(Double(width - size.width) * across), rounded(Double(height - size.height) * down))
        return CropBox(left: left, top: top, right: left + size.width, bottom: top + size.height)
    }
}

private extension CropBox {
    /// A box of a small levelled photo on the full-size canvas, inside what the turn leaves of it.
    func placed(_ width: Int, _ height: Int, _ canvas: CropBox) -> CropBox {
        let (across, down) = (Double(canvas.width) / Double(width), Double(canvas.height) / Double(height))
        let x = (canvas.left + rounded(Double(left) * across), canvas.left + rounded(Double(right) * across))
        let y = (canvas.top + rounded(Double(top) * down), canvas.top + rounded(Double(bottom) * down))
        return CropBox(left: x.0, top: y.0, right: max(x.1, x.0 + 1), bottom: max(y.1, y.0 + 1))
    }
}

/// The nearest whole number; of two as near, the even one, as Python has it.
func rounded(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }
