/// What runs one network; opened from an artifact by a ``RunnerSource``, closed with its last reference.
public protocol Runner: AnyObject {
    /// Runs the network once.
    ///
    /// - Parameter inputs: values of each input by name, C order, of the size that the component's contract has.
    /// - Returns: values of each output by name, likewise.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if it fails.
    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]]
}

/// Opens the networks of a bundle; says which engine runs them, and never falls back to another one silently.
public protocol RunnerSource {
    /// The engine and its accelerator in words, such as "ONNX Runtime 1.29, CPU".
    var engine: String { get }

    /// The kind of target whose artifacts it opens, such as `onnx`.
    var kind: String { get }

    /// Threads of one operator on the CPU, ≥ 1; 1 where the engine does not tell.
    var threads: Int { get }

    /// Opens a component.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle lacks it, or its artifact was changed;
    ///   ``PocketCrafterError/runner(_:)`` if it cannot be opened here.
    func open(_ component: String) throws -> any Runner

    /// Opens a further function of a component, which shares its weights where the engine can do that.
    ///
    /// - Throws: as ``open(_:)``.
    func open(_ component: String, function: String) throws -> any Runner

    /// Opens the decoder; engines that keep its caches themselves have their own way.
    ///
    /// - Throws: as ``open(_:)``.
    func openDecoder() throws -> any Decoder
}

extension RunnerSource {
    public var threads: Int { 1 }

    public func openDecoder() throws -> any Decoder { CachingDecoder(try open("decoder")) }
}

extension Dictionary where Key == String, Value == [Float] {
    /// Returns an output of a network.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` if the network gave none of that name and number of values.
    package func output(_ name: String, count: Int, of component: String) throws -> [Float] {
        guard let values = self[name], values.count == count else {
            throw PocketCrafterError.runner("`\(component)` gave no `\(name)` of \(count) values.")
        }
        return values
    }
}
