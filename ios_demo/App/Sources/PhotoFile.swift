import CoreGraphics
import Foundation
import ImageIO
import PocketCrafterKit
import UniformTypeIdentifiers

/// A photo as the library gives it, decoded upright to 8 bits a channel.
///
/// Display P3 is kept: its tone curve is sRGB's, so that values can be edited as they are. Every other profile becomes
/// sRGB.
struct PhotoFile: Sendable {
    /// The most pixels on the longer side; larger photos are decoded smaller.
    private static let longestPx = 8064

    let pixels: Pixels
    private let content: Data
    private let isDisplayP3: Bool
    private var space: CFString { isDisplayP3 ? CGColorSpace.displayP3 : CGColorSpace.sRGB }

    /// - Throws: ``PocketCrafterError/config(_:)`` if the data is no photo.
    init(_ content: Data) throws {
        let options = [
            kCGImageSourceCreateThumbnailFromImageAlways: true, kCGImageSourceCreateThumbnailWithTransform: true,
            kCGImageSourceThumbnailMaxPixelSize: Self.longestPx,
        ] as CFDictionary
        guard let source = CGImageSourceCreateWithData(content as CFData, nil),
            let image = CGImageSourceCreateThumbnailAtIndex(source, 0, options)
        else { throw PocketCrafterError.config("This is no photo that can be read.") }
        self.content = content
        isDisplayP3 = image.colorSpace?.name == CGColorSpace.displayP3
        pixels = try Self.pixels(of: image, isDisplayP3 ? CGColorSpace.displayP3 : CGColorSpace.sRGB)
    }

    /// Returns the photo with other pixels as HEIC, with its own metadata and color space.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if it cannot be written.
    func heic(_ edited: Pixels) throws -> Data {
        let out = NSMutableData()
        guard let image = Self.image(of: edited, space),
            let target = CGImageDestinationCreateWithData(out as CFMutableData, UTType.heic.identifier as CFString, 1, nil)
        else { throw PocketCrafterError.config("This system cannot write HEIC.") }
        var properties: [CFString: Any] = [:]
        if let source = CGImageSourceCreateWithData(content as CFData, nil) {
            properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any] ?? [:]
        }
        // The pixels are upright already.
        properties[kCGImagePropertyOrientation] = 1
        properties[kCGImageDestinationLossyCompressionQuality] = 0.95
        CGImageDestinationAddImage(target, image, properties as CFDictionary)
        guard CGImageDestinationFinalize(target) else {
            throw PocketCrafterError.config("The enhanced photo cannot be written.")
        }
        return Data(referencing: out)
    }

    private static func pixels(of image: CGImage, _ space: CFString) throws -> Pixels {
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
        guard drawn else { throw PocketCrafterError.config("The photo of \(width)×\(height) px does not fit into memory.") }
        var rgb = [UInt8](repeating: 0, count: 3 * width * height)
        for n in 0..<width * height {
            for channel in 0..<3 { rgb[3 * n + channel] = rgba[4 * n + channel] }
        }
        return try Pixels(width: width, height: height, rgb: rgb)
    }

    private static func image(of pixels: Pixels, _ space: CFString) -> CGImage? {
        guard let space = CGColorSpace(name: space), let provider = CGDataProvider(data: Data(pixels.rgb) as CFData) else {
            return nil
        }
        return CGImage(
            width: pixels.width, height: pixels.height, bitsPerComponent: 8, bitsPerPixel: 24,
            bytesPerRow: 3 * pixels.width, space: space, bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.none.rawValue),
            provider: provider, decode: nil, shouldInterpolate: false, intent: .defaultIntent)
    }
}
