// Declarations of Compression that PocketCrafterCore uses, for type-checking on Linux; they do nothing.
public struct compression_stream {
    public var dst_ptr: UnsafeMutablePointer<UInt8>
    public var dst_size: Int
    public var src_ptr: UnsafePointer<UInt8>
    public var src_size: Int
    public var state: UnsafeMutableRawPointer?
    public init(
        dst_ptr: UnsafeMutablePointer<UInt8>, dst_size: Int, src_ptr: UnsafePointer<UInt8>, src_size: Int,
        state: UnsafeMutableRawPointer?
    ) {
        (self.dst_ptr, self.dst_size, self.src_ptr, self.src_size) = (dst_ptr, dst_size, src_ptr, src_size)
        self.state = state
    }
}
public struct compression_stream_operation: Sendable {}
public struct compression_algorithm: Sendable {}
public struct compression_stream_flags: Sendable { public let rawValue: UInt32 }
public struct compression_status: Equatable, Sendable { let rawValue: Int32 }
public let COMPRESSION_STREAM_DECODE = compression_stream_operation()
public let COMPRESSION_ZLIB = compression_algorithm()
public let COMPRESSION_STREAM_FINALIZE = compression_stream_flags(rawValue: 1)
public let COMPRESSION_STATUS_OK = compression_status(rawValue: 0)
public let COMPRESSION_STATUS_END = compression_status(rawValue: 1)
public func compression_stream_init(
    _ stream: UnsafeMutablePointer<compression_stream>, _ operation: compression_stream_operation,
    _ algorithm: compression_algorithm
) -> compression_status { COMPRESSION_STATUS_OK }
public func compression_stream_process(_ stream: UnsafeMutablePointer<compression_stream>, _ flags: Int32) -> compression_status {
    COMPRESSION_STATUS_END
}
@discardableResult
public func compression_stream_destroy(_ stream: UnsafeMutablePointer<compression_stream>) -> compression_status {
    COMPRESSION_STATUS_OK
}
