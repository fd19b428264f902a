import Foundation

/// How a photo is levelled and cropped, in one resampling at full resolution.
///
/// The *levelled canvas* has the size of the photo and shares its center; the photo lies on it turned clockwise.
public struct Framing: Equatable, Sendable {
    /// The clockwise turn, in degrees.
    public let degrees: Double
    /// What is kept of the levelled canvas, in its pixels.
    public let box: CropBox

    /// The largest box of a photo's aspect, around its center, that a turn leaves without empty corners.
    ///
    /// - Parameters:
    ///   - width: of the photo, in pixels.
    ///   - height: of the photo, in pixels.
    ///   - degrees: the turn, under 90° in size.
    static func inscribed(width: Int, height: Int, degrees: Double) -> CropBox {
        if degrees == 0 { return CropBox(left: 0, top: 0, right: width, bottom: height) }
        let (sine, cosine) = (abs(sin(degrees * .pi / 180)), cos(degrees * .pi / 180))
        let (w, h) = (Double(width), Double(height))
        let share = min(w / (w * cosine + h * sine), h / (w * sine + h * cosine))
        // Rounded inwards by whole pixels on both sides, so that the box stays centered.
        func border(_ side: Int) -> Int { min(Int(((1 - share) * Double(side) / 2).rounded(.up)), (side - 1) / 2) }
        let (across, down) = (border(width), border(height))
        return CropBox(left: across, top: down, right: width - across, bottom: height - down)
    }

    /// Turns a photo clockwise and keeps the box; bicubic as Pillow's, and exact where nothing is turned.
    ///
    /// - Returns: a picture of the box's size; places of it that lie outside the photo are 0.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if the box is empty or reaches over the canvas.
    public func cut(_ photo: Pixels) throws -> Pixels {
        let (width, height) = (photo.width, photo.height)
        guard 0 <= box.left, box.left < box.right, box.right <= width, 0 <= box.top, box.top < box.bottom,
            box.bottom <= height
        else {
            throw PocketCrafterError.shape(
                "The crop box (\(box.left), \(box.top))–(\(box.right), \(box.bottom)) does not lie in \(width)×\(height) px.")
        }
        let samples: Pixels.Samples = switch photo.samples {
        case .eight(let levels): .eight(cut(levels, photo))
        case .sixteen(let levels): .sixteen(cut(levels, photo))
        }
        return Pixels(unchecked: samples, box.width, box.height)
    }

    private func cut<L: Level>(_ levels: [L], _ photo: Pixels) -> [L] {
        let (width, height) = (photo.width, photo.height)
        var out = [L](repeating: 0, count: 3 * box.width * box.height)
        if degrees == 0 {
            for y in 0..<box.height {
                let start = 3 * ((box.top + y) * width + box.left)
                out.replaceSubrange(3 * y * box.width..<3 * (y + 1) * box.width, with: levels[start..<start + 3 * box.width])
            }
            return out
        }
        let origin = source(Double(box.left), Double(box.top), photo)
        let right = source(Double(box.left + 1), Double(box.top), photo)
        let down = source(Double(box.left), Double(box.top + 1), photo)
        let (rightX, rightY) = (right.x - origin.x, right.y - origin.y)
        let (downX, downY) = (down.x - origin.x, down.y - origin.y)
        levels.withUnsafeBufferPointer { rgb in
            for y in 0..<box.height {
                for x in 0..<box.width {
                    // Affine coefficients take centers of the result to those of the source.
                    let (u, v) = (Double(x) + 0.5, Double(y) + 0.5)
                    let place = (x: rightX * u + downX * v + origin.x, y: rightY * u + downY * v + origin.y)
                    guard place.x >= 0, place.x < Double(width), place.y >= 0, place.y < Double(height) else { continue }
                    let at = 3 * (y * box.width + x)
                    for channel in 0..<3 {
                        out[at + channel] = Self.level(Self.bicubic(rgb, width, height, place, channel))
                    }
                }
            }
        }
        return out
    }

    /// Where a point of the levelled canvas lies on the photo; pixel centers are at halves.
    private func source(_ x: Double, _ y: Double, _ photo: Pixels) -> (x: Double, y: Double) {
        let angle = degrees * .pi / 180
        let (middleX, middleY) = (Double(photo.width) / 2, Double(photo.height) / 2)
        let (x, y) = (x - middleX, y - middleY)
        return (cos(angle) * x + sin(angle) * y + middleX, -sin(angle) * x + cos(angle) * y + middleY)
    }

    private static func bicubic<L: Level>(
        _ rgb: UnsafeBufferPointer<L>, _ width: Int, _ height: Int, _ place: (x: Double, y: Double), _ channel: Int
    ) -> Double {
        let (left, top) = ((place.x - 0.5).rounded(.down), (place.y - 0.5).rounded(.down))
        let (dx, dy) = (place.x - 0.5 - left, place.y - 0.5 - top)
        let (x, y) = (Int(left) - 1, Int(top) - 1)
        func row(_ y: Int) -> Double {
            func level(_ n: Int) -> Double {
                Double(rgb[3 * (y * width + (x + n).clamped(to: 0...width - 1)) + channel].float)
            }
            return cubic(level(0), level(1), level(2), level(3), dx)
        }
        var rows = [row(y.clamped(to: 0...height - 1))]
        // Below the photo its last row goes on.
        for n in 1...3 { rows.append(y + n >= 0 && y + n < height ? row(y + n) : rows[n - 1]) }
        return cubic(rows[0], rows[1], rows[2], rows[3], dy)
    }

    /// Pillow cuts what is resampled at 8 bits off; 16 bits it holds as floats, which Python rounds.
    private static func level<L: Level>(_ value: Double) -> L {
        let whole = L.bitWidth == 8 ? value : Double(Float(value)).rounded(.toNearestOrEven)
        return L(truncatingIfNeeded: Int(whole.clamped(to: 0...Double(L.max.float))))
    }

    private static func cubic(_ a: Double, _ b: Double, _ c: Double, _ d: Double, _ place: Double) -> Double {
        b + place * (-a + c + place * (2 * (a - b) + c - d + place * (-a + b - c + d)))
    }
}
