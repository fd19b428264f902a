import COnnxRuntime
import Foundation
import PocketCrafterCore

/// ONNX Runtime's C API as throwing calls; its members are optional in Swift.
final class OnnxRuntime: @unchecked Sendable {
    // The API's table is constant, and an environment may be used from several threads at once.
    private let api: OrtApi
    private let environment: OpaquePointer
    /// Such as "1.29.0".
    let version: String

    static let shared = Result { try OnnxRuntime() }

    private init() throws {
        guard let base = OrtGetApiBase()?.pointee, let table = base.GetApi?(UInt32(ORT_API_VERSION)) else {
            throw PocketCrafterError.runner("This ONNX Runtime is older than version 1.\(ORT_API_VERSION).")
        }
        api = table.pointee
        version = base.GetVersionString?().map { String(cString: $0) } ?? "of unknown version"
        let api = table.pointee
        environment = try Self.made(api, "CreateEnv", api.CreateEnv) { $0(ORT_LOGGING_LEVEL_ERROR, "pocketcrafter", &$1) }
        try Self.call(api, "DisableTelemetryEvents", api.DisableTelemetryEvents) { $0(environment) }
    }

    /// Opens a model.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` with what ONNX Runtime says.
    func session(_ model: URL, threads: Int, storesWeightsUnsigned: Bool) throws -> OpaquePointer {
        let options = try made("CreateSessionOptions", api.CreateSessionOptions) { $0(&$1) }
        defer { api.ReleaseSessionOptions?(options) }
        try call("SetIntraOpNumThreads", api.SetIntraOpNumThreads) { $0(options, Int32(threads)) }
        if storesWeightsUnsigned {
            try call("AddSessionConfigEntry", api.AddSessionConfigEntry) { $0(options, "session.x64quantprecision", "1") }
        }
        return try made("CreateSession", api.CreateSession) { $0(environment, model.path, options, &$1) }
    }

    func release(session: OpaquePointer) { api.ReleaseSession?(session) }

    func release(value: OpaquePointer) { api.ReleaseValue?(value) }

    /// Makes a tensor of float32 that ONNX Runtime owns, C order.
    func tensor(_ values: [Float], shape: [Int]) throws -> OpaquePointer {
        var allocator: UnsafeMutablePointer<OrtAllocator>?
        try call("GetAllocatorWithDefaultOptions", api.GetAllocatorWithDefaultOptions) { $0(&allocator) }
        let sides = shape.map(Int64.init)
        let tensor = try made("CreateTensorAsOrtValue", api.CreateTensorAsOrtValue) {
            $0(allocator, sides, sides.count, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &$1)
        }
        do {
            let place = try data(tensor)
            values.withUnsafeBytes { place.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(place), byteCount: $0.count) }
        } catch {
            release(value: tensor)
            throw error
        }
        return tensor
    }

    /// Makes a tensor of float32 of values that stay where they are, C order.
    func tensor(at place: UnsafeMutablePointer<Float>, shape: [Int]) throws -> OpaquePointer {
        let memory = try made("CreateCpuMemoryInfo", api.CreateCpuMemoryInfo) { $0(OrtArenaAllocator, OrtMemTypeDefault, &$1) }
        defer { api.ReleaseMemoryInfo?(memory) }
        let (sides, bytes) = (shape.map(Int64.init), shape.reduce(MemoryLayout<Float>.stride, *))
        return try made("CreateTensorWithDataAsOrtValue", api.CreateTensorWithDataAsOrtValue) {
            $0(memory, place, bytes, sides, sides.count, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &$1)
        }
    }

    /// The names of a session's inputs.
    func inputs(_ session: OpaquePointer) throws -> [String] {
        var count = 0
        try call("SessionGetInputCount", api.SessionGetInputCount) { $0(session, &count) }
        var allocator: UnsafeMutablePointer<OrtAllocator>?
        try call("GetAllocatorWithDefaultOptions", api.GetAllocatorWithDefaultOptions) { $0(&allocator) }
        return try (0..<count).map { n in
            let name = try made("SessionGetInputName", api.SessionGetInputName) { $0(session, n, allocator, &$1) }
            defer { _ = api.AllocatorFree?(allocator, name) }
            return String(cString: name)
        }
    }

    /// The values of a tensor of float32.
    func floats(_ tensor: OpaquePointer) throws -> [Float] {
        let info = try made("GetTensorTypeAndShape", api.GetTensorTypeAndShape) { $0(tensor, &$1) }
        defer { api.ReleaseTensorTypeAndShapeInfo?(info) }
        var type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED
        try call("GetTensorElementType", api.GetTensorElementType) { $0(info, &type) }
        guard type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT else {
            throw PocketCrafterError.runner("A network gave a tensor that is not of float32.")
        }
        var count = 0
        try call("GetTensorShapeElementCount", api.GetTensorShapeElementCount) { $0(info, &count) }
        let place = try data(tensor).bindMemory(to: Float.self, capacity: count)
        return Array(UnsafeBufferPointer(start: place, count: count))
    }

    /// Runs a session; the caller releases what it gives.
    ///
    /// - Parameters:
    ///   - inputs: each with its name.
    ///   - outputs: names of the outputs that it gives.
    ///   - pinned: outputs that are written to the caller's own tensors.
    func run(
        _ session: OpaquePointer, _ inputs: [(name: String, value: OpaquePointer)], outputs: [String],
        pinned: [(name: String, value: OpaquePointer)] = []
    ) throws -> [OpaquePointer] {
        var results = [OpaquePointer?](repeating: nil, count: outputs.count) + pinned.map(\.value)
        let values = inputs.map { Optional($0.value) }
        try withCStrings(inputs.map(\.name)) { names in
            try withCStrings(outputs + pinned.map(\.name)) { wanted in
                try call("Run", api.Run) {
                    $0(session, nil, names, values, values.count, wanted, wanted.count, &results)
                }
            }
        }
        let given = results.prefix(outputs.count).compactMap(\.self)
        guard given.count == outputs.count else {
            given.forEach(release(value:))
            throw PocketCrafterError.runner("ONNX Runtime gave \(given.count) outputs of \(outputs.count).")
        }
        return given
    }

    private func data(_ tensor: OpaquePointer) throws -> UnsafeMutableRawPointer {
        try Self.made(api, "GetTensorMutableData", api.GetTensorMutableData) { $0(tensor, &$1) }
    }

    private func call<Member>(_ name: String, _ member: Member?, _ work: (Member) -> OpaquePointer?) throws {
        try Self.call(api, name, member, work)
    }

    private func made<Member, Made>(
        _ name: String, _ member: Member?, _ work: (Member, inout Made?) -> OpaquePointer?
    ) throws -> Made {
        try Self.made(api, name, member, work)
    }

    /// Calls a member of the API; what it gives is a status, `nil` for success.
    private static func call<Member>(
        _ api: OrtApi, _ name: String, _ member: Member?, _ work: (Member) -> OpaquePointer?
    ) throws {
        guard let member else { throw PocketCrafterError.runner("This ONNX Runtime has no \(name).") }
        guard let status = work(member) else { return }
        let message = api.GetErrorMessage?(status).map { String(cString: $0) } ?? "without a message"
        api.ReleaseStatus?(status)
        throw PocketCrafterError.runner("ONNX Runtime failed: \(message)")
    }

    /// Calls a member of the API that makes something.
    private static func made<Member, Made>(
        _ api: OrtApi, _ name: String, _ member: Member?, _ work: (Member, inout Made?) -> OpaquePointer?
    ) throws -> Made {
        var made: Made?
        try call(api, name, member) { work($0, &made) }
        guard let made else { throw PocketCrafterError.runner("ONNX Runtime's \(name) gave nothing.") }
        return made
    }
}

/// Lends texts to C for the time of a call.
private func withCStrings<Result>(
    _ texts: [String], _ work: ([UnsafePointer<CChar>?]) throws -> Result
) rethrows -> Result {
    let copies = texts.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return try work(copies.map { UnsafePointer($0) })
}
