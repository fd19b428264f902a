#if canImport(CoreGraphics)
import CoreGraphics
import Foundation
import PocketCrafterCore

extension Pixels {
    /// Draws an image of any kind into 8 bits a channel.
    ///
    /// - Parameters:
    ///   - image: the image; what is transparent becomes black.
    ///   - space: the color space of the values; networks were trained on sRGB's tone curve, which Display P3 has too.
    /// - Throws: ``PocketCrafterError/config(_:)`` if it does not fit into memory.
    public init(_ image: CGImage, space: CFString = CGColorSpace.sRGB) throws {
        let (width, height) = (image.width, image.height)
        var rgba = [UInt8](repeating: 0, count: 4 * width * height)
        let drawn = rgba.withUnsafeMutableBytes { bytes in
            guard let space = CGColorSpace(name: space),
                let context = CGContext(
                    data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                    space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else {
            throw PocketCrafterError.config("The photo of \(width)×\(height) px does not fit into memory.")
        }
        var rgb = [UInt8](repeating: 0, count: 3 * width * height)
        for n in 0..<width * height {
            for channel in 0..<3 { rgb[3 * n + channel] = rgba[4 * n + channel] }
        }
        try self.init(width: width, height: height, rgb: rgb)
    }

    /// Returns the picture as an image of as many bits a channel.
    ///
    /// - Parameter space: the color space that the values are of.
    /// - Throws: ``PocketCrafterError/config(_:)`` if this system has no such space, or no memory for it.
    public func cgImage(space: CFString = CGColorSpace.sRGB) throws -> CGImage {
        let (bits, order, content) = switch samples {
        case .eight(let levels): (8, CGBitmapInfo(), Data(levels))
        case .sixteen(let levels): (16, CGBitmapInfo.byteOrder16Little, levels.withUnsafeBytes { Data($0) })
        }
        guard let space = CGColorSpace(name: space), let provider = CGDataProvider(data: content as CFData),
            let image = CGImage(
                width: width, height: height, bitsPerComponent: bits, bitsPerPixel: 3 * bits,
                bytesPerRow: 3 * width * bits / 8, space: space,
                bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.none.rawValue | order.rawValue), provider: provider,
                decode: nil, shouldInterpolate: false, intent: .defaultIntent)
        else { throw PocketCrafterError.config("The picture of \(width)×\(height) px cannot become an image here.") }
        return image
    }
}
#endif

#if canImport(UIKit)
import UIKit

extension Pixels {
    /// Draws an image upright into 8 bits of sRGB a channel, at its own number of pixels.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if it has no pixels, or does not fit into memory.
    public init(_ image: UIImage) throws {
        if image.imageOrientation == .up, let upright = image.cgImage {
            try self.init(upright)
            return
        }
        let format = UIGraphicsImageRendererFormat()
        format.scale = image.scale
        let upright = UIGraphicsImageRenderer(size: image.size, format: format).image { _ in
            image.draw(in: CGRect(origin: .zero, size: image.size))
        }
        guard let drawn = upright.cgImage else { throw PocketCrafterError.config("This image has no pixels.") }
        try self.init(drawn)
    }

    /// Returns the picture as an upright image of sRGB.
    ///
    /// - Throws: as ``cgImage(space:)``.
    public func uiImage() throws -> UIImage { UIImage(cgImage: try cgImage()) }
}
#endif
