import Foundation

/// One file of a bundle.
public struct FileEntry: Equatable, Sendable {
    /// Its path within the bundle.
    public let path: String
    /// Its SHA-256 in lowercase hexadecimal digits.
    public let sha256: String
    /// Its size in bytes.
    public let size: Int
}

/// One input or output of a component; every tensor is float32 at the component's edge.
public struct TensorSpec: Equatable, Sendable {
    public let name: String
    public let shape: [Int]
    /// Of an output that is an input changed a little: that input, of the same shape. Its fidelity is that of the change.
    public let mends: String?

    init(name: String, shape: [Int], mends: String? = nil) {
        self.name = name
        self.shape = shape
        self.mends = mends
    }

    /// How many values it has.
    public var count: Int { shape.reduce(1, *) }
}

/// A network of the bundle.
public struct Component: Equatable, Sendable {
    public let name: String
    /// Its inputs in calling order.
    public let inputs: [TensorSpec]
    /// Its outputs in calling order.
    public let outputs: [TensorSpec]
    /// The path of its artifact by target name.
    public let artifacts: [String: String]
    /// The precision of its artifact by target name, such as `w8a8`.
    public let precisions: [String: String]
    /// Recorded calls.
    public let goldens: [Golden]
    /// By target name, the least signal-to-quantization-noise ratio of every output, in dB, where that is the gate.
    public let gatesDb: [String: Double]
    /// Its further functions by name, each as a component whose inputs, outputs and goldens are the function's.
    public let functions: [String: Component]

    /// Returns a further function as a component.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it has none of that name.
    public func function(_ name: String) throws -> Component {
        guard let found = functions[name] else {
            throw PocketCrafterError.bundle("`\(self.name)` has no function `\(name)`.")
        }
        return found
    }

    /// Returns the values of the inputs in calling order, each of its contract's size.
    ///
    /// - Throws: ``PocketCrafterError/shape(_:)`` if one is absent or of another size.
    public func inOrder(_ values: [String: [Float]]) throws -> [[Float]] {
        try inputs.map { spec in
            guard let value = values[spec.name], value.count == spec.count else {
                throw PocketCrafterError.shape(
                    "`\(name)` takes \(spec.count) values of `\(spec.name)`, not \(values[spec.name]?.count ?? 0).")
            }
            return value
        }
    }
}

/// The files of one recorded call.
public struct Golden: Equatable, Sendable {
    public let inputs: String
    public let outputs: String
}

/// A target: what kind of artifact it has, and what it asks for; `nil` where any chip or system will do.
public struct Target: Equatable, Sendable {
    public let name: String
    public let kind: String
    public let backend: String
    public let soc: String?
    public let minimumOS: String?
}

/// What a bundle holds, read from its `manifest.json`: validated by the JSON Schema that Python checks in, unknown keys
/// refused, and then for what no schema says: safe paths, no file twice, nothing used that is not listed.
public struct Manifest: Sendable {
    /// The most bytes that a manifest has.
    static let maxBytes = 4 << 20
    private static let judge = "judge"
    /// The manifest's own file.
    static let file = "manifest.json"
    private static let reserved = [file, "manifest.sha256"]
    private static let schema = Result { try Schema(Json.parse(Data(ManifestSchema.text.utf8))) }
    private static let forbidden: Set<Unicode.Scalar> = ["\\", ":", "*", "?", "\"", "<", ">", "|", "\u{7F}"]

    public let name: String
    /// The SHA-256 of the manifest itself, in lowercase hexadecimal digits.
    public let sha256: String
    /// Which pair of critic and artist it is: ``gate`` is there for `pocket`, ``latent`` for `latent`.
    public let family: String
    public let components: [Component]
    public let targets: [Target]
    public let files: [FileEntry]
    public let gate: GateSettings?
    public let latent: LatentSettings?

    /// Reads a manifest.
    ///
    /// - Parameter content: the bytes of `manifest.json`.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` with what is wrong with it, and where.
    public init(_ content: Data) throws {
        guard content.count <= Self.maxBytes else {
            throw PocketCrafterError.bundle("A manifest has \(Self.maxBytes) bytes at most, not \(content.count).")
        }
        let raw: Json
        do {
            raw = try Json.parse(content)
        } catch let error as JsonError {
            throw PocketCrafterError.bundle("Not JSON: \(error.message) at byte \(error.offset).")
        }
        if let version = raw["schema_version"]?.integer, version != ManifestSchema.version {
            throw PocketCrafterError.bundle("The manifest has version \(version); this app reads \(ManifestSchema.version).")
        }
        try Self.refuse(Self.schema.get().faults(raw))
        name = try Self.text(raw, "name")
        sha256 = try Sha256.hex(content)
        family = try Self.text(raw, "family")
        components = try Self.list(raw, "components").map(Self.component)
        targets = try (raw["targets"]?.object?.members ?? []).map(Self.target)
        files = try Self.list(raw, "files").map { file in
            guard let size = file["size"]?.integer else { throw PocketCrafterError.bundle("A file has no size.") }
            return FileEntry(path: try Self.text(file, "path"), sha256: try Self.text(file, "sha256"), size: size)
        }
        let isJudged = components.contains { $0.name == Self.judge }
        let settings = family == Targets.pocket ? raw["settings"]?["gate"] : nil
        gate = try settings.map { try GateSettings($0, isJudged: isJudged) }
        latent = family == Targets.latent ? try LatentSettings(raw["settings"] ?? .null) : nil
        try Self.refuse(faults(raw))
    }

    /// Returns a component by its name.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle has none of that name.
    public func component(_ name: String) throws -> Component {
        guard let found = components.first(where: { $0.name == name }) else {
            let names = components.map(\.name).joined(separator: ", ")
            throw PocketCrafterError.bundle("The bundle `\(self.name)` has no component `\(name)`; it has \(names).")
        }
        return found
    }

    private static func refuse(_ faults: [String]) throws {
        if !faults.isEmpty {
            throw PocketCrafterError.bundle("Not a valid manifest: \(faults.prefix(20).joined(separator: "; ")).")
        }
    }

    private static func text(_ raw: Json, _ key: String) throws -> String {
        guard let text = raw[key]?.string else { throw PocketCrafterError.bundle("The manifest lacks a `\(key)`.") }
        return text
    }

    private static func list(_ raw: Json, _ key: String) -> [Json] { raw[key]?.array ?? [] }

    private static func component(_ raw: Json) throws -> Component {
        guard let spec = raw["spec"] else { throw PocketCrafterError.bundle("A component has no spec.") }
        var artifacts: [String: String] = [:]
        var precisions: [String: String] = [:]
        var gates: [String: Double] = [:]
        for (target, artifact) in raw["artifacts"]?.object?.members ?? [] {
            artifacts[target] = try text(artifact, "path")
            precisions[target] = try text(artifact, "precision")
            let gate = artifact["golden_gate"]
            if gate?["metric"]?.string == "sqnr-db" { gates[target] = gate?["minimum"]?.double }
        }
        let goldens = list(raw, "goldens")
        func made(_ spec: Json, _ name: String, _ function: String?, _ functions: [String: Component]) throws -> Component {
            Component(
                name: name, inputs: try tensors(spec, "inputs"), outputs: try tensors(spec, "outputs"),
                artifacts: artifacts, precisions: precisions,
                goldens: try goldens.filter { $0["function"]?.string == function }
                    .map { Golden(inputs: try text($0, "inputs"), outputs: try text($0, "outputs")) },
                gatesDb: gates, functions: functions)
        }
        let name = try text(spec, "name")
        var functions: [String: Component] = [:]
        for function in list(spec, "functions") {
            let own = try text(function, "name")
            functions[own] = try made(function, name, own, [:])
        }
        return try made(spec, name, nil, functions)
    }

    private static func tensors(_ spec: Json, _ key: String) throws -> [TensorSpec] {
        try list(spec, key).map {
            TensorSpec(
                name: try text($0, "name"), shape: list($0, "shape").compactMap(\.integer), mends: $0["mends"]?.string)
        }
    }

    private static func target(_ name: String, _ raw: Json) throws -> Target {
        Target(
            name: name, kind: try text(raw, "kind"), backend: try text(raw, "backend"), soc: raw["soc"]?.string,
            minimumOS: raw["minimum_os"]?.string)
    }

    private func faults(_ raw: Json) -> [String] {
        var faults: [String] = []
        let used = Self.used(raw)
        let listed = Set(files.map(\.path))
        for path in files.map(\.path) + used where !Self.isSafe(path) {
            faults.append("the path `\(path)` does not stay inside the bundle")
        }
        // Two paths that differ only in case are one file on some phones.
        let folded = files.map { $0.path.lowercased() }
        faults += Self.repeats(folded).map { "the file `\($0)` is listed twice" }
        faults += Self.reserved.filter(folded.contains).map { "`files` lists `\($0)`, which holds the list itself" }
        faults += Self.repeats(components.map(\.name)).map { "the component `\($0)` is listed twice" }
        let known = listed.union(listed.flatMap(Self.packages))
        faults += Set(used).subtracting(known).sorted().map { "`\($0)` is used but not in `files`" }
        faults += artifactFaults()
        if family == Targets.pocket {
            faults += components.map(\.name).filter { !Targets.pocketComponents.contains($0) }
                .map { "a pocket bundle has no component `\($0)`" }
            if gate?.judge == nil, components.contains(where: { $0.name == Self.judge }) {
                faults.append("the judge needs what it chooses from, and the gate says nothing of that")
            }
            if components.contains(where: { $0.name == "decoder" }), !listed.contains(Targets.tokenizer) {
                faults.append("the decoder needs \(Targets.tokenizer)")
            }
        }
        if let latent { faults += latentFaults(latent) }
        return faults + Self.list(raw, "components").flatMap(Self.functionFaults)
    }

    private func latentFaults(_ settings: LatentSettings) -> [String] {
        let names = components.map(\.name)
        var faults = names.filter { LatentComponent(rawValue: $0) == nil }.map { "a latent bundle has no component `\($0)`" }
        let wanted = (settings.critic == nil ? [] : LatentComponent.critic)
            + (settings.artist == nil ? [] : LatentComponent.artist)
        faults += wanted.map(\.rawValue).filter { !names.contains($0) }.map { "it lacks the component `\($0)`" }
        if settings.critic != nil {
            faults += [Targets.wordTable, Targets.latentTokenizer].filter { path in !files.contains { $0.path == path } }
                .map { "the critic needs `\($0)`" }
        }
        return faults
    }

    private func artifactFaults() -> [String] {
        var faults: [String] = []
        for component in components {
            if Set(component.artifacts.keys) != Set(targets.map(\.name)) {
                faults.append("`\(component.name)` has not one artifact for each target")
            }
            for target in targets {
                guard let path = component.artifacts[target.name], let kind = Targets.kinds[target.kind] else { continue }
                if !kind.suffixes.contains(where: path.hasSuffix) {
                    faults.append("`\(component.name)` for \(target.name) is `\(path)`, which is no artifact of \(target.kind)")
                }
            }
        }
        for target in targets {
            let backend = Targets.kinds[target.kind]?.backend
            if target.backend != backend {
                faults.append("`\(target.kind)` is run by \(backend ?? "nothing here"), not by \(target.backend)")
            }
        }
        return faults
    }

    private static func functionFaults(_ component: Json) -> [String] {
        var faults: [String] = []
        let name = component["spec"]?["name"]?.string ?? ""
        let functions = list(component["spec"] ?? .null, "functions").compactMap { $0["name"]?.string }
        let goldens = list(component, "goldens").map { $0["function"]?.string }
        for function in goldens.compactMap(\.self) where !functions.contains(function) {
            faults.append("`\(name)` has a golden of `\(function)`, no function of it")
        }
        if !goldens.contains(nil) { faults.append("`\(name)` has no golden of its default function") }
        faults += repeats(functions).map { "`\(name)` lists the function `\($0)` twice" }
        for (target, artifact) in component["artifacts"]?.object?.members ?? [] {
            let made = list(artifact, "functions").compactMap { $0["name"]?.string }
            faults += functions.filter { !made.contains($0) }.map { "`\(name)` for \(target) lacks the function `\($0)`" }
        }
        return faults
    }

    /// Every path that the manifest names outside its list of files.
    private static func used(_ raw: Json) -> [String] {
        var used = list(raw, "licenses").compactMap { $0["path"]?.string }
        for component in list(raw, "components") {
            for golden in list(component, "goldens") {
                used += [golden["inputs"], golden["outputs"]].compactMap { $0?.string }
            }
            for (_, artifact) in component["artifacts"]?.object?.members ?? [] {
                guard let path = artifact["path"]?.string else { continue }
                let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
                used.append(path)
                used += list(artifact, "functions").compactMap { $0["file"]?.string }
                    .map { (folder + [Substring($0)]).joined(separator: "/") }
            }
        }
        return used
    }

    /// Models of Core ML and Core AI are folders: their files are listed, they are not.
    private static func packages(_ path: String) -> [String] {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return parts.indices.dropLast().filter { n in Targets.packages.contains(where: parts[n].hasSuffix) }
            .map { parts[...$0].joined(separator: "/") }
    }

    static func isSafe(_ path: String) -> Bool {
        let isLegal = path.unicodeScalars.allSatisfy { $0.value >= 0x20 && !forbidden.contains($0) }
        return isLegal && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
            !["", ".", ".."].contains($0) && !$0.hasSuffix(".") && !$0.hasSuffix(" ")
        }
    }

    private static func repeats(_ names: [String]) -> [String] {
        Dictionary(grouping: names, by: \.self).filter { $0.value.count > 1 }.keys.sorted()
    }
}
