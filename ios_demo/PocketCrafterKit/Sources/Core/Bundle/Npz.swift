import Foundation

/// Archives of tensors, as numpy writes them: a zip file of `.npy` members, stored or deflated.
enum Npz {
    /// Reads an archive.
    ///
    /// - Returns: the values of each tensor by name, C order.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it does not hold exactly these tensors in their shapes.
    static func read(_ content: Data, _ specs: [TensorSpec]) throws -> [String: [Float]] {
        let archive = try ZipFile(content)
        let names = archive.members.map(\.name)
        guard names.sorted() == specs.map({ "\($0.name).npy" }).sorted() else {
            throw damaged("it holds \(names.sorted().joined(separator: ", "))")
        }
        var arrays: [String: [Float]] = [:]
        for spec in specs {
            for member in archive.members where member.name == "\(spec.name).npy" {
                arrays[spec.name] = try array(archive.content(of: member), spec)
            }
        }
        return arrays
    }

    /// Reads one array: float32, float16, or bytes that stand for [0, 1].
    private static func array(_ content: Data, _ spec: TensorSpec) throws -> [Float] {
        let reader = LittleEndian(content)
        guard try reader.slice(0, count: 6) == Data([0x93]) + Data("NUMPY".utf8) else {
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
            let bytes = [UInt8](try reader.slice(start, count: 2 * spec.count))
            return (0..<spec.count).map { half(UInt16(bytes[2 * $0]) | UInt16(bytes[2 * $0 + 1]) << 8) }
        case "<f4":
            let bytes = [UInt8](try reader.slice(start, count: 4 * spec.count))
            return (0..<spec.count).map { place in
                Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[4 * place + $1]) << (8 * UInt32($1)) })
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
}
