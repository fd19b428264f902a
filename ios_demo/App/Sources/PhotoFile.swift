import CoreGraphics
import Foundation
import ImageIO
import PocketCrafterImages
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
        pixels = try Pixels(image, space: isDisplayP3 ? CGColorSpace.displayP3 : CGColorSpace.sRGB)
    }

    /// Returns the photo with other pixels as HEIC, with its own metadata and color space.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if it cannot be written.
    func heic(_ edited: Pixels) throws -> Data {
        let out = NSMutableData()
        let image = try edited.cgImage(space: space)
        guard let target = CGImageDestinationCreateWithData(out as CFMutableData, UTType.heic.identifier as CFString, 1, nil)
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
}
