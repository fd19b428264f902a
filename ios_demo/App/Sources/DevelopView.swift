import MetalKit
import PocketCrafterKit
import SwiftUI

/// A photo developed on the GPU, drawn again whenever the plan or the before/after slider moves.
struct DevelopView: UIViewRepresentable {
    let enhanced: Enhanced
    let plan: EditPlan
    /// What changes tones beside the plan.
    let grid: ToneGrid?
    /// The part of the photo, from the left, that is shown as it was, in [0, 1].
    let before: Double

    func makeUIView(context: Context) -> MTKView {
        let view = MTKView()
        view.device = context.coordinator.device
        view.framebufferOnly = false
        view.enableSetNeedsDisplay = true
        view.isPaused = true
        view.colorPixelFormat = .bgra8Unorm
        view.delegate = context.coordinator
        return view
    }

    func updateUIView(_ view: MTKView, context: Context) {
        context.coordinator.show(enhanced, plan, grid, before: Float(before))
        view.setNeedsDisplay()
    }

    func makeCoordinator() -> DevelopRenderer { DevelopRenderer() }
}

/// Runs the shader `develop` for one view; the photo is uploaded once, curves and grid when they change.
@MainActor
final class DevelopRenderer: NSObject, MTKViewDelegate {
    let device: (any MTLDevice)?

    private let queue: (any MTLCommandQueue)?
    private let pipeline: (any MTLComputePipelineState)?
    private var source: (any MTLTexture)?
    private var shown: Pixels?
    private var grid: [Float] = []
    private var tables: [Float] = []
    private var uniforms = Uniforms()

    /// `DevelopUniforms` of `Develop.h`, member by member.
    private struct Uniforms {
        var width: UInt32 = 0
        var height: UInt32 = 0
        var chroma: Float = 1
        var hasGrid: UInt32 = 0
        var before: Float = 0
    }

    init(device: (any MTLDevice)? = MTLCreateSystemDefaultDevice()) {
        self.device = device
        queue = device?.makeCommandQueue()
        pipeline = device?.makeDefaultLibrary()?.makeFunction(name: "develop")
            .flatMap { try? device?.makeComputePipelineState(function: $0) }
        super.init()
    }

    /// Takes up what is to be drawn next.
    func show(_ enhanced: Enhanced, _ plan: EditPlan, _ toneGrid: ToneGrid?, before: Float) {
        if shown != enhanced.restored {
            shown = enhanced.restored
            source = texture(of: enhanced.restored)
        }
        // Metal wants something in the buffer even where the shader does not read it.
        grid = toneGrid?.values ?? [0]
        tables = Renderer(plan).tables().flatMap(\.self)
        uniforms = Uniforms(
            width: UInt32(enhanced.restored.width), height: UInt32(enhanced.restored.height),
            chroma: Float(1 + plan[.saturation]), hasGrid: toneGrid == nil ? 0 : 1, before: before)
    }

    func mtkView(_ view: MTKView, drawableSizeWillChange size: CGSize) {}

    func draw(in view: MTKView) {
        guard let pipeline, let source, let drawable = view.currentDrawable, let commands = queue?.makeCommandBuffer(),
            let encoder = commands.makeComputeCommandEncoder(), let tables = buffer(tables), let grid = buffer(grid)
        else { return }
        encoder.setComputePipelineState(pipeline)
        encoder.setTexture(source, index: 0)
        encoder.setTexture(drawable.texture, index: 1)
        encoder.setBytes(&uniforms, length: MemoryLayout<Uniforms>.stride, index: 0)
        encoder.setBuffer(tables, offset: 0, index: 1)
        encoder.setBuffer(grid, offset: 0, index: 2)
        let threads = MTLSize(width: pipeline.threadExecutionWidth, height: 8, depth: 1)
        encoder.dispatchThreads(
            MTLSize(width: drawable.texture.width, height: drawable.texture.height, depth: 1), threadsPerThreadgroup: threads)
        encoder.endEncoding()
        commands.present(drawable)
        commands.commit()
    }

    private func buffer(_ values: [Float]) -> (any MTLBuffer)? {
        device?.makeBuffer(bytes: values, length: values.count * MemoryLayout<Float>.stride, options: [])
    }

    private func texture(of pixels: Pixels) -> (any MTLTexture)? {
        // Not sRGB: the shader works on encoded values.
        let descriptor = MTLTextureDescriptor.texture2DDescriptor(
            pixelFormat: .rgba8Unorm, width: pixels.width, height: pixels.height, mipmapped: false)
        descriptor.usage = .shaderRead
        guard let texture = device?.makeTexture(descriptor: descriptor) else { return nil }
        let rgb = pixels.rgb
        var rgba = [UInt8](repeating: 255, count: 4 * pixels.width * pixels.height)
        for n in 0..<pixels.width * pixels.height {
            for channel in 0..<3 { rgba[4 * n + channel] = rgb[3 * n + channel] }
        }
        let region = MTLRegionMake2D(0, 0, pixels.width, pixels.height)
        texture.replace(region: region, mipmapLevel: 0, withBytes: rgba, bytesPerRow: 4 * pixels.width)
        return texture
    }
}
