import Foundation

#if canImport(CryptoKit)
import CryptoKit
#else
import COpenSSL
#endif

/// SHA-256 in lowercase hexadecimal digits.
enum Sha256 {
    private static let blockBytes = 1 << 20

    /// The digest of bytes in memory.
    static func hex(_ content: Data) throws -> String {
        let hash = try Hash()
        try content.withUnsafeBytes { try hash.add($0) }
        return try hash.digits()
    }

    /// The digest of a file, read block by block into one buffer: what `FileHandle` reads, Apple's systems keep until the
    /// whole work is done.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it cannot be read.
    static func hex(of file: URL) throws -> String {
        guard let stream = InputStream(url: file) else { throw unreadable(file, nil) }
        stream.open()
        defer { stream.close() }
        let hash = try Hash()
        var block = [UInt8](repeating: 0, count: blockBytes)
        while true {
            let count = stream.read(&block, maxLength: blockBytes)
            guard count >= 0 else { throw unreadable(file, stream.streamError) }
            if count == 0 { return try hash.digits() }
            try block.withUnsafeBytes { try hash.add(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
        }
    }

    private static func unreadable(_ file: URL, _ error: (any Error)?) -> PocketCrafterError {
        .bundle("`\(file.lastPathComponent)` cannot be read: \(error?.localizedDescription ?? "it is not there").")
    }
}

private extension Hash {
    func digits() throws -> String { try digest().map { String(format: "%02x", $0) }.joined() }
}

#if canImport(CryptoKit)
private final class Hash {
    private var hash = SHA256()

    init() throws {}

    func add(_ content: UnsafeRawBufferPointer) throws { hash.update(bufferPointer: content) }

    func digest() throws -> [UInt8] { Array(hash.finalize()) }
}
#else
private final class Hash {
    private let context: OpaquePointer

    init() throws {
        guard let context = EVP_MD_CTX_new() else { throw Self.failure() }
        self.context = context
        guard EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else { throw Self.failure() }
    }

    deinit { EVP_MD_CTX_free(context) }

    func add(_ content: UnsafeRawBufferPointer) throws {
        guard EVP_DigestUpdate(context, content.baseAddress, content.count) == 1 else { throw Self.failure() }
    }

    func digest() throws -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard EVP_DigestFinal_ex(context, &digest, &count) == 1 else { throw Self.failure() }
        return Array(digest.prefix(Int(count)))
    }

    private static func failure() -> PocketCrafterError { .bundle("OpenSSL cannot compute SHA-256 here.") }
}
#endif
