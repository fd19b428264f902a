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
        try hash.add(content)
        return try hash.digits()
    }

    /// The digest of a file, read in blocks.
    ///
    /// - Throws: whatever `FileHandle` throws.
    static func hex(of file: URL) throws -> String {
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        let hash = try Hash()
        while let block = try handle.read(upToCount: blockBytes), !block.isEmpty { try hash.add(block) }
        return try hash.digits()
    }
}

private extension Hash {
    func digits() throws -> String { try digest().map { String(format: "%02x", $0) }.joined() }
}

#if canImport(CryptoKit)
private final class Hash {
    private var hash = SHA256()

    init() throws {}

    func add(_ content: Data) throws { hash.update(data: content) }

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

    func add(_ content: Data) throws {
        let taken = content.withUnsafeBytes { EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
        guard taken == 1 else { throw Self.failure() }
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
