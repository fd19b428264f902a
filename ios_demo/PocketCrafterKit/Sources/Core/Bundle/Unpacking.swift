import Foundation

extension PocketBundle {
    private static let maxFiles = 4096
    /// Small archives may compress as well as they like.
    private static let freeBytes = 1 << 20
    private static let maxRatio = 100
    /// No unpacking that is still running has left its folder alone for so long.
    private static let abandonedSeconds = 3600.0

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
    ///   the bundle, unpacks to far more than a bundle's size, cannot be read or written, or something is at the place
    ///   already; what `progress` throws.
    @discardableResult
    public static func unpack(
        _ archive: URL, to folder: URL, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> PocketBundle {
        let files = FileManager.default
        guard !files.fileExists(atPath: folder.path) else {
            throw PocketCrafterError.bundle("There is something at `\(folder.path)` already.")
        }
        let (beside, prefix) = (folder.deletingLastPathComponent(), ".\(folder.lastPathComponent).")
        removeAbandoned(in: beside, prefix)
        let parts = beside.appendingPathComponent("\(prefix)\(UUID().uuidString)")
        defer { try? files.removeItem(at: parts) }
        let (zip, members) = try unpacking(archive) {
            let content = try Data(contentsOf: archive, options: .alwaysMapped)
            let zip = try ZipFile(content)
            return (zip, try checked(zip, archiveBytes: content.count))
        }
        let all = members.reduce(0) { $0 + $1.member.size }
        var done = 0
        for (path, member) in members {
            try unpacking(archive) {
                let file = parts.appendingPathComponent(path)
                try files.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try zip.content(of: member).write(to: file)
            }
            done += member.size
            try progress(done, all)
        }
        try unpacking(archive) {
            _ = try PocketBundle(parts)
            try files.moveItem(at: parts, to: folder)
        }
        return try PocketBundle(folder)
    }

    /// Does a part of the work; what the file system throws becomes an error of this package.
    private static func unpacking<T>(_ archive: URL, _ work: () throws -> T) throws -> T {
        do {
            return try work()
        } catch let error as PocketCrafterError {
            throw error
        } catch {
            throw PocketCrafterError.bundle("`\(archive.path)` cannot be unpacked: \(error.localizedDescription)")
        }
    }

    /// Removes what is left where the process was killed while it unpacked.
    private static func removeAbandoned(in folder: URL, _ prefix: String) {
        let files = FileManager.default
        for name in (try? files.contentsOfDirectory(atPath: folder.path)) ?? [] {
            guard name.hasPrefix(prefix), UUID(uuidString: String(name.dropFirst(prefix.count))) != nil else { continue }
            let parts = folder.appendingPathComponent(name)
            let changed = (try? files.attributesOfItem(atPath: parts.path))?[.modificationDate] as? Date
            if let changed, Date().timeIntervalSince(changed) > abandonedSeconds { try? files.removeItem(at: parts) }
        }
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
