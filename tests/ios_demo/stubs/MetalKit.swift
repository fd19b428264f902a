// Declarations of Metal and MetalKit that the app uses, for type-checking on Linux; they do nothing.
@_exported import UIKit

public enum MTLPixelFormat: UInt, Sendable { case rgba8Unorm = 70, bgra8Unorm = 80 }
public struct MTLSize: Sendable {
    public init(width: Int, height: Int, depth: Int) {}
}
public struct MTLRegion: Sendable {}
public func MTLRegionMake2D(_ x: Int, _ y: Int, _ width: Int, _ height: Int) -> MTLRegion { MTLRegion() }
public struct MTLResourceOptions: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
}
public struct MTLTextureUsage: OptionSet, Sendable {
    public static let shaderRead = MTLTextureUsage(rawValue: 1)
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
}
public class MTLTextureDescriptor: NSObject {
    public class func texture2DDescriptor(
        pixelFormat: MTLPixelFormat, width: Int, height: Int, mipmapped: Bool
    ) -> MTLTextureDescriptor { MTLTextureDescriptor() }
    public var usage: MTLTextureUsage = []
}
public protocol MTLTexture: AnyObject {
    var width: Int { get }
    var height: Int { get }
    func replace(region: MTLRegion, mipmapLevel level: Int, withBytes pixelBytes: UnsafeRawPointer, bytesPerRow: Int)
}
public protocol MTLBuffer: AnyObject {}
public protocol MTLFunction: AnyObject {}
public protocol MTLLibrary: AnyObject { func makeFunction(name functionName: String) -> (any MTLFunction)? }
public protocol MTLComputePipelineState: AnyObject, Sendable { var threadExecutionWidth: Int { get } }
public protocol MTLDrawable: AnyObject {}
public protocol CAMetalDrawable: MTLDrawable { var texture: any MTLTexture { get } }
public protocol MTLComputeCommandEncoder: AnyObject {
    func setComputePipelineState(_ state: any MTLComputePipelineState)
    func setTexture(_ texture: (any MTLTexture)?, index: Int)
    func setBytes(_ bytes: UnsafeRawPointer, length: Int, index: Int)
    func setBuffer(_ buffer: (any MTLBuffer)?, offset: Int, index: Int)
    func dispatchThreads(_ threadsPerGrid: MTLSize, threadsPerThreadgroup: MTLSize)
    func endEncoding()
}
public protocol MTLCommandBuffer: AnyObject {
    func makeComputeCommandEncoder() -> (any MTLComputeCommandEncoder)?
    func present(_ drawable: any MTLDrawable)
    func commit()
}
public protocol MTLCommandQueue: AnyObject, Sendable { func makeCommandBuffer() -> (any MTLCommandBuffer)? }
public protocol MTLDevice: AnyObject, Sendable {
    func makeCommandQueue() -> (any MTLCommandQueue)?
    func makeDefaultLibrary() -> (any MTLLibrary)?
    func makeComputePipelineState(function computeFunction: any MTLFunction) throws -> any MTLComputePipelineState
    func makeBuffer(bytes pointer: UnsafeRawPointer, length: Int, options: MTLResourceOptions) -> (any MTLBuffer)?
    func makeTexture(descriptor: MTLTextureDescriptor) -> (any MTLTexture)?
}
public func MTLCreateSystemDefaultDevice() -> (any MTLDevice)? { nil }
@MainActor public protocol MTKViewDelegate: AnyObject {
    func mtkView(_ view: MTKView, drawableSizeWillChange size: CGSize)
    func draw(in view: MTKView)
}
@MainActor open class MTKView: UIView {
    public var device: (any MTLDevice)?
    public var framebufferOnly = true
    public var enableSetNeedsDisplay = false
    public var isPaused = false
    public var colorPixelFormat = MTLPixelFormat.bgra8Unorm
    public weak var delegate: (any MTKViewDelegate)?
    public var currentDrawable: (any CAMetalDrawable)? { nil }
}
