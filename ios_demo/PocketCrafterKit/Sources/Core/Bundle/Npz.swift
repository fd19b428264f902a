import Foundation

/// Archives of tensors, as numpy writes them: a zip file of `.npy` members, stored or deflated.
enum Npz {
    private static let endRecord: [UInt8] = [0x50, 0x4B, 0x05, 0x06]
    private static let endRecordBytes = 22
    private static let stored = 0
    private static let deflated = 8

    /// Reads an archive.
    ///
    /// - Returns: the values of each tensor by name, C order.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it does not hold exactly these tensors in their shapes.
    static func read(_ content: Data, _ specs: [TensorSpec]) throws -> [String: [Float]] {
        let members = try members(of: Reader(bytes: [UInt8](content)))
        guard Set(members.keys) == Set(specs.map { "\($0.name).npy" }) else {
            throw damaged("it holds \(members.keys.sorted().joined(separator: ", "))")
        }
        return Dictionary(uniqueKeysWithValues: try specs.map { ($0.name, try array(members["\($0.name).npy"] ?? [], $0)) })
    }

    private static func members(of reader: Reader) throws -> [String: [UInt8]] {
        let bytes = reader.bytes
        let last = bytes.count - endRecordBytes
        guard last >= 0, Array(bytes[last..<last + 4]) == endRecord else { throw damaged("it is no zip file") }
        var members: [String: [UInt8]] = [:]
        var at = try reader.integer(last + 16, bytes: 4)
        for _ in 0..<(try reader.integer(last + 10, bytes: 2)) {
            let method = try reader.integer(at + 10, bytes: 2)
            let packed = try reader.integer(at + 20, bytes: 4)
            let size = try reader.integer(at + 24, bytes: 4)
            let nameBytes = try reader.integer(at + 28, bytes: 2)
            let local = try reader.integer(at + 42, bytes: 4)
            let name = String(decoding: try reader.slice(at + 46, count: nameBytes), as: UTF8.self)
            let start = local + 30 + (try reader.integer(local + 26, bytes: 2)) + (try reader.integer(local + 28, bytes: 2))
            let content = try reader.slice(start, count: packed)
            switch method {
            case stored: members[name] = content
            case deflated: members[name] = [UInt8](try inflated(Data(content), count: size))
            default: throw damaged("`\(name)` is compressed in a way that is not read here")
            }
            at += 46 + nameBytes + (try reader.integer(at + 30, bytes: 2)) + (try reader.integer(at + 32, bytes: 2))
        }
        return members
    }

    /// Reads one array: float32, float16, or bytes that stand for [0, 1].
    private static func array(_ bytes: [UInt8], _ spec: TensorSpec) throws -> [Float] {
        let reader = Reader(bytes: bytes)
        guard try reader.slice(0, count: 6) == [0x93] + Array("NUMPY".utf8) else {
            throw damaged("`\(spec.name)` is no numpy array")
        }
        let headerBytes = try reader.integer(8, bytes: 2)
        let header = String(decoding: try reader.slice(10, count: headerBytes), as: UTF8.self)
        let pattern = try Pattern("\\{'descr': '([|<][a-z][0-9])', 'fortran_order': False, 'shape': \\(([0-9, ]*)\\), \\}")
        guard let groups = pattern.groups(in: header) else { throw damaged("`\(spec.name)` has the header `\(header)`") }
        let shape = groups[2].split(separator: ",").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
        guard shape == spec.shape else { throw damaged("`\(spec.name)` is of shape \(shape), not \(spec.shape)") }
        let start = 10 + headerBytes
        switch groups[1] {
        case "|u1":
            return try reader.slice(start, count: spec.count).map { Float($0) / 255 }
        case "<f2":
            return try (0..<spec.count).map { half(UInt16(try reader.integer(start + 2 * $0, bytes: 2))) }
        case "<f4":
            return try (0..<spec.count).map {
                Float(bitPattern: UInt32(try reader.integer(start + 4 * $0, bytes: 4)))
            }
        default:
            throw damaged("`\(spec.name)` has numbers of the kind `\(groups[1])`")
        }
    }

    /// A half-precision number (IEEE 754); Swift's own type for it is not on every platform.
    private static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits >> 15 == 0 ? 1 : -1
        let exponent = Int(bits >> 10 & 0x1F)
        let fraction = Float(bits & 0x3FF) / 1024
        switch exponent {
        case 0: return sign * fraction * Float(sign: .plus, exponent: -14, significand: 1)
        case 0x1F: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction)
        }
    }

    private static func damaged(_ why: String) -> PocketCrafterError { .bundle("A golden cannot be read: \(why).") }

    /// Little-endian numbers of a file, within its bounds.
    private struct Reader {
        let bytes: [UInt8]

        func slice(_ start: Int, count: Int) throws -> [UInt8] {
            guard start >= 0, count >= 0, start <= bytes.count, count <= bytes.count - start else {
                throw Npz.damaged("it ends early")
            }
            return Array(bytes[start..<start + count])
        }

        func integer(_ start: Int, bytes count: Int) throws -> Int {
            guard start >= 0, start + count <= bytes.count else { throw Npz.damaged("it ends early") }
            return (0..<count).reduce(0) { $0 | Int(bytes[start + $1]) << (8 * $1) }
        }
    }
}
