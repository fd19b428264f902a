import Foundation

#if !canImport(Compression)
import CZlib
#endif

/// Decompresses deflated data (RFC 1951) of a size that is known.
///
/// - Throws: ``PocketCrafterError/bundle(_:)`` if the data is damaged, or of another size.
func inflated(_ content: Data, count: Int) throws -> Data {
    #if canImport(Compression)
    let out = (try? (content as NSData).decompressed(using: .zlib)) as Data?
    #else
    let out = inflatedByZlib(content, count: count)
    #endif
    guard let out, out.count == count else { throw PocketCrafterError.bundle("Compressed data is damaged.") }
    return out
}

#if !canImport(Compression)
private func inflatedByZlib(_ content: Data, count: Int) -> Data? {
    var stream = z_stream()
    // Negative: without zlib's own header.
    let bits = -MAX_WBITS
    guard inflateInit2_(&stream, bits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return nil }
    defer { inflateEnd(&stream) }
    var source = [UInt8](content)
    var out = [UInt8](repeating: 0, count: count)
    let result = source.withUnsafeMutableBufferPointer { source in
        out.withUnsafeMutableBufferPointer { out in
            stream.next_in = source.baseAddress
            stream.avail_in = UInt32(source.count)
            stream.next_out = out.baseAddress
            stream.avail_out = UInt32(out.count)
            return inflate(&stream, Z_FINISH)
        }
    }
    return result == Z_STREAM_END && stream.avail_out == 0 ? Data(out) : nil
}
#endif
