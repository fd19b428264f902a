import Foundation

/// A bundle's folder, opened: its manifest agrees with its digest, and every file is there in its size.
///
/// Contents are hashed when they are asked for: ``file(_:)`` and ``artifact(_:kind:)`` return nothing whose SHA-256 is
/// not the manifest's, so that no network is opened that is not the one that was proved.
public struct PocketBundle: Sendable {
    private static let digestBytes = 4096

    private let root: URL
    public let manifest: Manifest

    /// Opens a bundle's folder.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is none, is damaged, or of another schema version.
    public init(_ root: URL) throws {
        self.root = root
        let content = try Self.read(root, "manifest.json", atMost: Manifest.maxBytes)
        let digest = try Self.read(root, "manifest.sha256", atMost: Self.digestBytes)
        guard digest == Data("\(try Sha256.hex(content))  manifest.json\n".utf8) else {
            throw PocketCrafterError.bundle(
                "`manifest.json` and `manifest.sha256` do not agree: one of them was changed.")
        }
        let manifest = try Manifest(content)
        let faults: [String] = manifest.files.compactMap { entry in
            guard let size = Self.plainSize(root, entry.path) else { return "`\(entry.path)` is missing or no plain file" }
            return size == entry.size ? nil : "`\(entry.path)` has \(size) bytes; the manifest says \(entry.size)"
        }
        guard faults.isEmpty else {
            throw PocketCrafterError.bundle("The bundle is damaged: \(faults.prefix(20).joined(separator: "; ")).")
        }
        self.manifest = manifest
    }

    /// Whether the bundle has a component.
    public func has(_ component: String) -> Bool { manifest.components.contains { $0.name == component } }

    /// Returns where a file of the manifest lies, once its content is known to be the manifest's.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the manifest has no such file, or its content is another.
    public func file(_ path: String) throws -> URL {
        guard let entry = manifest.files.first(where: { $0.path == path }) else {
            throw PocketCrafterError.bundle("The bundle has no file `\(path)`.")
        }
        let file = root.appendingPathComponent(path)
        guard try Sha256.hex(of: file) == entry.sha256 else {
            throw PocketCrafterError.bundle("`\(path)` was changed: its SHA-256 is not the manifest's.")
        }
        return file
    }

    /// Returns a component's artifact for the first target of a kind, once it is known to be the manifest's.
    ///
    /// A Core ML package is a folder: each of its files is hashed.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there is none, or it was changed.
    public func artifact(_ component: String, kind: String) throws -> URL {
        let entry = try manifest.component(component)
        guard let target = manifest.targets.first(where: { $0.kind == kind }), let path = entry.artifacts[target.name] else {
            let kinds = manifest.targets.map(\.kind).joined(separator: ", ")
            throw PocketCrafterError.bundle("The bundle has no target `\(kind)`; it has \(kinds).")
        }
        let inside = manifest.files.map(\.path).filter { $0.hasPrefix("\(path)/") }
        if inside.isEmpty { return try file(path) }
        for part in inside { _ = try file(part) }
        return root.appendingPathComponent(path)
    }

    /// Whether the bundle has a target of a kind.
    public func has(kind: String) -> Bool { manifest.targets.contains { $0.kind == kind } }

    /// The name of what was made of this very bundle, for caches: a digest of its files.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it cannot be computed here.
    public func identity() throws -> String {
        try Sha256.hex(Data(manifest.files.map { "\($0.path) \($0.sha256)" }.joined(separator: "\n").utf8))
    }

    /// Returns the decoder's vocabulary.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there is none, or it is damaged.
    public func vocabulary() throws -> Vocabulary {
        _ = try file(Targets.tokenizer)
        return try Vocabulary(Self.read(root, Targets.tokenizer, atMost: Vocabulary.maxBytes))
    }

    /// Returns the vocabulary of a latent critic.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there is none, or it is damaged.
    func latentWords() throws -> LatentWords {
        _ = try file(Targets.latentTokenizer)
        return try LatentWords(Self.read(root, Targets.latentTokenizer, atMost: LatentWords.maxBytes))
    }

    /// Returns the word vectors of a latent critic, mapped into memory.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there are none, or they are damaged.
    func wordTable() throws -> WordTable {
        let table = try file(Targets.wordTable)
        do {
            return try WordTable(Data(contentsOf: table, options: .alwaysMapped))
        } catch let error as PocketCrafterError {
            throw error
        } catch {
            throw PocketCrafterError.bundle("`\(Targets.wordTable)` cannot be read: \(error.localizedDescription)")
        }
    }

    /// Hashes every file.
    ///
    /// - Parameter progress: told the bytes that were hashed, and those of all files; what it throws ends the hashing.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` with the first file that was changed.
    public func verify(progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }) throws {
        let all = manifest.files.reduce(0) { $0 + $1.size }
        var done = 0
        for entry in manifest.files {
            _ = try file(entry.path)
            done += entry.size
            try progress(done, all)
        }
    }

    private static func read(_ root: URL, _ name: String, atMost most: Int) throws -> Data {
        guard let size = plainSize(root, name) else {
            throw PocketCrafterError.bundle("\(root.path): no bundle; `\(name)` is missing or no plain file.")
        }
        guard size <= most else { throw PocketCrafterError.bundle("`\(name)` has \(size) bytes; \(most) are the most.") }
        do {
            return try Data(contentsOf: root.appendingPathComponent(name))
        } catch {
            throw PocketCrafterError.bundle("`\(name)` cannot be read: \(error.localizedDescription)")
        }
    }

    /// The size of a plain file in bytes; `nil` where it is none, or a folder on the way to it is a link.
    private static func plainSize(_ root: URL, _ path: String) -> Int? {
        var place = root
        var attributes: [FileAttributeKey: Any] = [.type: FileAttributeType.typeDirectory]
        for part in path.split(separator: "/") {
            guard attributes[.type] as? FileAttributeType == .typeDirectory else { return nil }
            place.appendPathComponent(String(part))
            // These are a link's own, not those of what it points to.
            guard let found = try? FileManager.default.attributesOfItem(atPath: place.path) else { return nil }
            attributes = found
        }
        guard attributes[.type] as? FileAttributeType == .typeRegular else { return nil }
        return (attributes[.size] as? NSNumber)?.intValue
    }
}
