/// The printable symbols of byte-level BPE (Radford et al., 2019) and the bytes that they stand for.
enum ByteSymbols {
    static let bytes: [Unicode.Scalar: UInt8] = {
        var bytes: [Unicode.Scalar: UInt8] = [:]
        var others: UInt32 = 256
        for byte in UInt8.min...UInt8.max {
            if (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174 {
                bytes[Unicode.Scalar(byte)] = byte
            } else if let symbol = Unicode.Scalar(others) {
                bytes[symbol] = byte
                others += 1
            }
        }
        return bytes
    }()

    /// The bytes that a word stands for; `nil` where it is not spelled in them.
    static func bytes(of word: String) -> [UInt8]? {
        var found: [UInt8] = []
        for symbol in word.unicodeScalars {
            guard let byte = bytes[symbol] else { return nil }
            found.append(byte)
        }
        return found
    }
}
