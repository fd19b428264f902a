/// Photos as the networks of the latent family see them: small, square, sRGB.
enum LatentPicture {
    /// What Idefics3's processor scales down to at most, whatever it is told.
    private static let mostPx = 4096

    /// What the vision encoder reads, shape `(1, 3, side, side)`, normalized.
    ///
    /// The photo is resized twice, as transformers' processors of Idefics3 and SmolVLM do: to its longest edge with the
    /// aspect kept, then to the square; each time at 8 bits.
    static func critics(_ photo: Pixels, _ settings: PictureSettings) -> [Float] {
        var pixels = photo
        if let longest = settings.longestEdge {
            let (width, height) = scaled(photo.width, photo.height, longest)
            pixels = settings.resampling.resized(photo, width: width, height: height)
        }
        var planes = Planes(settings.resampling.resized(pixels, width: settings.side, height: settings.side)).values
        let size = settings.side * settings.side
        for n in planes.indices { planes[n] = (planes[n] - settings.mean[n / size]) / settings.deviation[n / size] }
        return planes
    }

    /// The photo as a square of some pixels: sRGB in [0, 1], aspect not kept.
    static func artists(_ photo: Pixels, side: Int) -> Planes {
        Planes(Resampling.lanczos.resized(photo, width: side, height: side))
    }

    /// The photo at its own size, reflected below and to the right to what tiles take.
    ///
    /// - Parameters:
    ///   - photo: at any size.
    ///   - side: of a tile, in pixels: neither side of what is returned is shorter.
    ///   - factor: of which both sides become multiples.
    static func native(_ photo: Pixels, side: Int, factor: Int) -> Planes {
        let rows = places(photo.height, side, factor)
        let columns = places(photo.width, side, factor)
        let planes = Planes(photo)
        var out: [Float] = []
        out.reserveCapacity(3 * rows.count * columns.count)
        for channel in 0..<3 {
            for y in rows {
                let start = (channel * photo.height + y) * photo.width
                for x in columns { out.append(planes.values[start + x]) }
            }
        }
        return Planes(unchecked: out, 3, rows.count, columns.count)
    }

    /// The samples of a side, reflected with the border repeated.
    private static func places(_ length: Int, _ side: Int, _ factor: Int) -> [Int] {
        (0..<max(side, (length + factor - 1) / factor * factor)).map { place in
            let within = place % (2 * length)
            return min(within, 2 * length - 1 - within)
        }
    }

    /// The size that Idefics3's processor scales to: the shorter side even.
    private static func scaled(_ width: Int, _ height: Int, _ longest: Int) -> (width: Int, height: Int) {
        let aspect = Double(width) / Double(height)
        var (across, down) = (longest, longest)
        if width >= height {
            down = Int(Double(longest) / aspect)
            down += down % 2
        } else {
            across = Int(Double(longest) * aspect)
            across += across % 2
        }
        (across, down) = (max(across, 1), max(down, 1))
        if max(across, down) > mostPx {
            (across, down) = across >= down
                ? (mostPx, Int(Double(mostPx) / aspect)) : (Int(Double(mostPx) * aspect), mostPx)
        }
        return (max(across, 1), max(down, 1))
    }
}
