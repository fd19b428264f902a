import Foundation

/// A zip file whose members are stored or deflated, read within its bounds; no zip64, no encryption.
struct ZipFile {
    /// One file of it; folders are left out.
    struct Member {
        let name: String
        /// Of the unpacked content, in bytes.
        let size: Int
        fileprivate let method: Int
        fileprivate let packed: Int
        fileprivate let start: Int
    }

    private static let endRecordBytes = 22
    private static let stored = 0
    private static let deflated = 8
    private static let link = 0o12

    private let content: Data
    let members: [Member]

    /// - Parameter content: the file; best mapped into memory where it is large.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is none, or holds encrypted files or links.
    init(_ content: Data) throws {
        self.content = content
        let reader = LittleEndian(content)
        let last = content.count - Self.endRecordBytes
        guard last >= 0, try reader.integer(last, bytes: 4) == 0x0605_4B50 else { throw Self.damaged("it is no zip file") }
        var members: [Member] = []
        var at = try reader.integer(last + 16, bytes: 4)
        for _ in 0..<(try reader.integer(last + 10, bytes: 2)) {
            guard try reader.integer(at, bytes: 4) == 0x0201_4B50 else { throw Self.damaged("its list of files is broken") }
            let nameBytes = try reader.integer(at + 28, bytes: 2)
            let name = String(decoding: try reader.slice(at + 46, count: nameBytes), as: UTF8.self)
            guard try reader.integer(at + 8, bytes: 2) & 1 == 0 else { throw Self.damaged("`\(name)` is encrypted") }
            guard try reader.integer(at + 38, bytes: 4) >> 28 != Self.link else { throw Self.damaged("`\(name)` is a link") }
            let local = try reader.integer(at + 42, bytes: 4)
            let start = local + 30 + (try reader.integer(local + 26, bytes: 2)) + (try reader.integer(local + 28, bytes: 2))
            if !name.hasSuffix("/") {
                members.append(
                    Member(
                        name: name, size: try reader.integer(at + 24, bytes: 4),
                        method: try reader.integer(at + 10, bytes: 2), packed: try reader.integer(at + 20, bytes: 4),
                        start: start))
            }
            at += 46 + nameBytes + (try reader.integer(at + 30, bytes: 2)) + (try reader.integer(at + 32, bytes: 2))
        }
        self.members = members
    }

    /// Unpacks one of its members.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is damaged, or compressed in another way.
    func content(of member: Member) throws -> Data {
        let packed = try LittleEndian(content).slice(member.start, count: member.packed)
        switch member.method {
        case Self.stored where member.size == member.packed: return packed
        case Self.deflated: return try inflated(packed, count: member.size)
        default: throw Self.damaged("`\(member.name)` is compressed in a way that is not read here")
        }
    }

    private static func damaged(_ why: String) -> PocketCrafterError { .bundle("A zip file cannot be read: \(why).") }
}

/// Little-endian numbers of some data, within its bounds.
struct LittleEndian {
    private let content: Data

    init(_ content: Data) { self.content = content }

    func slice(_ start: Int, count: Int) throws -> Data {
        guard start >= 0, count >= 0, start <= content.count, count <= content.count - start else { throw Self.short }
        let first = content.startIndex + start
        return content[first..<first + count]
    }

    func integer(_ start: Int, bytes count: Int) throws -> Int {
        guard start >= 0, start <= content.count - count else { throw Self.short }
        return (0..<count).reduce(0) { $0 | Int(content[content.startIndex + start + $1]) << (8 * $1) }
    }

    private static var short: PocketCrafterError { .bundle("A file ends early.") }
}
