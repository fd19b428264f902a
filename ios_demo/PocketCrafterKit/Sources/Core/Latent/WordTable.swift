import Foundation

/// Word vectors in 8- or 4-bit integers, gathered from a mapped safetensors file that is never read whole.
struct WordTable: Sendable {
    private static let lengthBytes = 8
    private static let maxHeaderBytes = 1 << 16
    /// Values of a vector that share a scale where levels have 4 bits.
    private static let group = 32
    private static let lowest: Float = -8

    private let content: Data
    private let isGrouped: Bool
    private let levels: Int
    private let scales: Int

    let words: Int
    let width: Int

    /// Opens a file with `levels`, int8 `(words, width)`, and `scales`, float32 `(words)`: a vector is its levels times its
    /// scale. Or with `levels`, uint8 `(words, width / 2)`, and `scales`, bfloat16 `(words, width / 32)`: two levels a byte,
    /// from -8 on, the first in its lowest bits, and a scale for each 32 of them.
    ///
    /// - Parameter content: the file, best mapped into memory.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is no such file.
    init(_ content: Data) throws {
        guard content.count >= Self.lengthBytes else { throw Self.refusal("it ends early") }
        let length = (0..<Self.lengthBytes).reduce(UInt64(0)) { $0 | UInt64(content[content.startIndex + $1]) << (8 * UInt64($1)) }
        guard length <= UInt64(Self.maxHeaderBytes), content.count - Self.lengthBytes >= Int(length) else {
            throw Self.refusal("its header has \(length) bytes")
        }
        let first = content.startIndex + Self.lengthBytes
        let header: Json
        do {
            header = try Json.parse(content[first..<first + Int(length)])
        } catch let error as JsonError {
            throw Self.refusal("\(error.message) at byte \(error.offset) of its header")
        }
        let start = Self.lengthBytes + Int(length)
        func tensor(_ name: String, _ type: String, axes: Int, bytes: Int) throws -> (shape: [Int], at: Int) {
            guard let about = header[name], about["dtype"]?.string == type,
                let shape = about["shape"]?.array?.compactMap(\.integer), shape.count == axes, !shape.contains(where: { $0 < 1 }),
                let offsets = about["data_offsets"]?.array?.compactMap(\.integer), offsets.count == 2, offsets[0] >= 0,
                let size = shape.reduce(Optional(bytes), { total, side in
                    total.flatMap { let (all, overflows) = $0.multipliedReportingOverflow(by: side); return overflows ? nil : all }
                }), offsets[1] - offsets[0] == size, content.count - start >= offsets[1]
            else { throw Self.refusal("`\(name)` is not \(type) of \(axes) axes inside the file") }
            return (shape, start + offsets[0])
        }
        isGrouped = header["levels"]?["dtype"]?.string == "U8"
        let (shape, at) = try tensor("levels", isGrouped ? "U8" : "I8", axes: 2, bytes: 1)
        let (counts, scalesAt) = isGrouped
            ? try tensor("scales", "BF16", axes: 2, bytes: 2) : try tensor("scales", "F32", axes: 1, bytes: 4)
        guard shape[0] == counts[0], !isGrouped || counts[1].multipliedReportingOverflow(by: Self.group) == (2 * shape[1], false)
        else { throw Self.refusal("levels \(shape) and scales \(counts) do not fit") }
        (words, width, levels, scales) = (shape[0], isGrouped ? 2 * shape[1] : shape[1], at, scalesAt)
        self.content = content
    }

    /// Returns the vectors of words, shape `(N, width)`.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if there is no such word.
    func rows(_ ids: [Int]) throws -> [Float] {
        var out: [Float] = []
        out.reserveCapacity(ids.count * width)
        try content.withUnsafeBytes { bytes in
            for id in ids {
                guard (0..<words).contains(id) else {
                    throw PocketCrafterError.config("Words are numbered from 0 to \(words - 1); got \(id).")
                }
                if isGrouped {
                    gather(id, bytes, into: &out)
                    continue
                }
                let scale = Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: scales + 4 * id, as: UInt32.self)))
                for n in 0..<width { out.append(Float(Int8(bitPattern: bytes[levels + id * width + n])) * scale) }
            }
        }
        return out
    }

    /// Adds a vector of 4-bit levels; scales are the upper halves of floats.
    private func gather(_ id: Int, _ bytes: UnsafeRawBufferPointer, into out: inout [Float]) {
        for n in 0..<width {
            let pair = bytes[levels + (id * width + n) / 2]
            let place = scales + 2 * ((id * width + n) / Self.group)
            let scale = UInt32(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt16.self))) << 16
            out.append((Float(n % 2 == 0 ? pair & 0xF : pair >> 4) + Self.lowest) * Float(bitPattern: scale))
        }
    }

    private static func refusal(_ why: String) -> PocketCrafterError { .bundle("Not a table of word vectors: \(why).") }
}
