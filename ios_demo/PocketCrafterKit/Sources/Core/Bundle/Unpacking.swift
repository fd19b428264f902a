import Foundation

extension PocketBundle {
    private static let maxFiles = 4096
    /// Small archives may compress as well as they like.
    private static let freeBytes = 1 << 20
    private static let maxRatio = 100

    /// Unpacks a zipped bundle, as `pocketcrafter split` writes it, whole or not at all.
    ///
    /// The bundle's files lie at the archive's root, or all in one folder. One file at a time is held in memory.
    ///
    /// - Parameters:
    ///   - archive: the zip file.
    ///   - folder: where the bundle goes; nothing is there yet.
    ///   - progress: told the bytes that were unpacked, and those of all files; what it throws ends the work.
    /// - Returns: the bundle, whose manifest agrees with its digest; contents are hashed when they are used.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the archive is damaged, holds links, repeated names or paths that leave
    ///   the bundle, unpacks to far more than a bundle's size, or something is at the place already.
    @discardableResult
    public static func unpack(
        _ archive: URL, to folder: URL, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> PocketBundle {
        let files = FileManager.default
        guard !files.fileExists(atPath: folder.path) else {
            throw PocketCrafterError.bundle("There is something at `\(folder.path)` already.")
        }
        let parts = folder.deletingLastPathComponent().appendingPathComponent(".\(folder.lastPathComponent).\(UUID().uuidString)")
        defer { try? files.removeItem(at: parts) }
        do {
            let content = try Data(contentsOf: archive, options: .alwaysMapped)
            let zip = try ZipFile(content)
            let members = try checked(zip, archiveBytes: content.count)
            let all = members.reduce(0) { $0 + $1.member.size }
            var done = 0
            for (path, member) in members {
                let file = parts.appendingPathComponent(path)
                try files.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try zip.content(of: member).write(to: file)
                done += member.size
                try progress(done, all)
            }
            _ = try PocketBundle(parts)
            try files.moveItem(at: parts, to: folder)
        } catch let error as CocoaError {
            throw PocketCrafterError.bundle("`\(archive.path)` cannot be unpacked: \(error.localizedDescription)")
        }
        return try PocketBundle(folder)
    }

    /// The files of an archive by their paths in the bundle.
    private static func checked(_ zip: ZipFile, archiveBytes: Int) throws -> [(path: String, member: ZipFile.Member)] {
        let members = zip.members.filter { !isClutter($0.name) }
        let total = members.reduce(0) { $0 + $1.size }
        guard members.count <= maxFiles, total <= max(freeBytes, maxRatio * archiveBytes) else {
            throw PocketCrafterError.bundle(
                "\(archiveBytes) bytes would unpack to \(total) in \(members.count) files; no bundle compresses like that.")
        }
        let tops = Set(members.map { $0.name.split(separator: "/").first.map(String.init) ?? "" })
        let isInFolder = tops.count == 1 && !members.contains { $0.name == Manifest.file }
        let paths = members.map { isInFolder ? String($0.name.drop { $0 != "/" }.dropFirst()) : $0.name }
        if let unsafe = paths.first(where: { !Manifest.isSafe($0) }) {
            throw PocketCrafterError.bundle("The path `\(unsafe)` does not stay inside the bundle.")
        }
        guard Set(paths.map { $0.lowercased() }).count == paths.count else {
            throw PocketCrafterError.bundle("A name occurs twice in the archive.")
        }
        return paths.indices.map { (paths[$0], members[$0]) }
    }

    /// Whether a path is one that Finder or Explorer leaves behind.
    private static func isClutter(_ path: String) -> Bool {
        path.split(separator: "/").contains { part in
            part.hasPrefix("._") || ["__macosx", ".ds_store", "thumbs.db", "desktop.ini"].contains(part.lowercased())
        }
    }
}
