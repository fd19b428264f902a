import Foundation

#if canImport(Compression)
import Compression
#else
import CZlib
#endif

/// Decompresses deflated data (RFC 1951) of a size that is known, and never more than that.
///
/// - Throws: ``PocketCrafterError/bundle(_:)`` if the data is damaged, or of another size.
func inflated(_ content: Data, count: Int) throws -> Data {
    guard let out = decompressed(content, count: count) else {
        throw PocketCrafterError.bundle("Compressed data is damaged.")
    }
    return out
}

#if canImport(Compression)
private func decompressed(_ content: Data, count: Int) -> Data? {
    // One byte of room more tells data that ends here from data that goes on.
    var out = [UInt8](repeating: 0, count: count + 1)
    let isWhole = content.withUnsafeBytes { source in
        out.withUnsafeMutableBufferPointer { out in
            guard let from = source.bindMemory(to: UInt8.self).baseAddress, let to = out.baseAddress else { return false }
            var stream = compression_stream(dst_ptr: to, dst_size: 0, src_ptr: from, src_size: 0, state: nil)
            // What the framework calls zlib has no header of zlib.
            guard compression_stream_init(&stream, COMPRESSION_STREAM_DECODE, COMPRESSION_ZLIB) == COMPRESSION_STATUS_OK
            else { return false }
            defer { compression_stream_destroy(&stream) }
            (stream.dst_ptr, stream.dst_size, stream.src_ptr, stream.src_size) = (to, out.count, from, source.count)
            var status = COMPRESSION_STATUS_OK
            var left = (room: -1, packed: -1)
            // Ends too where a call changes nothing, as with data that is cut off.
            while status == COMPRESSION_STATUS_OK, left != (stream.dst_size, stream.src_size) {
                left = (stream.dst_size, stream.src_size)
                status = compression_stream_process(&stream, Int32(COMPRESSION_STREAM_FINALIZE.rawValue))
            }
            return status == COMPRESSION_STATUS_END && stream.dst_size == 1
        }
    }
    return isWhole ? Data(out.dropLast()) : nil
}
#else
private func decompressed(_ content: Data, count: Int) -> Data? {
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
