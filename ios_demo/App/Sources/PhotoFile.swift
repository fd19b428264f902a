import CoreGraphics
import CoreImage
import Foundation
import ImageIO
import PocketCrafterImages
import PocketCrafterKit
import UniformTypeIdentifiers

/// A photo as the library gives it, decoded upright to 8 bits a channel, or to 16 where its file has more than 8.
///
/// Display P3 is kept: its tone curve is sRGB's, so that values can be edited as they are. Every other profile becomes
/// sRGB.
struct PhotoFile: Sendable {
    /// The most pixels on the longer side; larger photos are decoded smaller.
    private static let longestPx = 8064
    private static let quality = 0.95

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
        let space = isDisplayP3 ? CGColorSpace.displayP3 : CGColorSpace.sRGB
        let depth = Self.properties(source)[kCGImagePropertyDepth] as? Int ?? 8
        pixels = depth > 8 ? try Self.deep(content, space) : try Pixels(image, space: space)
    }

    /// Returns the photo with other pixels as HEIC, with its own metadata and color space; of 10 bits where they have 16.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if it cannot be written.
    func heic(_ edited: Pixels) throws -> Data {
        var properties = CGImageSourceCreateWithData(content as CFData, nil).map(Self.properties) ?? [:]
        // The pixels are upright already.
        properties[kCGImagePropertyOrientation] = 1
        let image = try edited.cgImage(space: space)
        if case .sixteen = edited.samples { return try deepHeic(image, properties) }
        let out = NSMutableData()
        guard let target = CGImageDestinationCreateWithData(out as CFMutableData, UTType.heic.identifier as CFString, 1, nil)
        else { throw PocketCrafterError.config("This system cannot write HEIC.") }
        properties[kCGImageDestinationLossyCompressionQuality] = Self.quality
        CGImageDestinationAddImage(target, image, properties as CFDictionary)
        guard CGImageDestinationFinalize(target) else {
            throw PocketCrafterError.config("The enhanced photo cannot be written.")
        }
        return Data(referencing: out)
    }

    private static func properties(_ source: CGImageSource) -> [CFString: Any] {
        CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any] ?? [:]
    }

    /// Decodes a photo of more than 8 bits a channel, which thumbnails do not keep.
    private static func deep(_ content: Data, _ space: CFString) throws -> Pixels {
        guard let whole = CIImage(data: content, options: [.applyOrientationProperty: true]) else {
            throw PocketCrafterError.config("This is no photo that can be read.")
        }
        let scale = min(1, CGFloat(longestPx) / max(whole.extent.width, whole.extent.height))
        let image = whole.transformed(by: CGAffineTransform(scaleX: scale, y: scale))
        let (width, height) = (Int(image.extent.width), Int(image.extent.height))
        var rgba = [UInt16](repeating: 0, count: 4 * width * height)
        rgba.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            let place = CGRect(x: image.extent.minX, y: image.extent.minY, width: CGFloat(width), height: CGFloat(height))
            CIContext(options: [.workingFormat: CIFormat.RGBAf])
                .render(image, toBitmap: start, rowBytes: 8 * width, bounds: place, format: .RGBA16, colorSpace: CGColorSpace(name: space))
        }
        var rgb = [UInt16](repeating: 0, count: 3 * width * height)
        for n in 0..<width * height {
            for channel in 0..<3 { rgb[3 * n + channel] = rgba[4 * n + channel] }
        }
        return try Pixels(width: width, height: height, samples: .sixteen(rgb))
    }

    private func deepHeic(_ image: CGImage, _ properties: [CFString: Any]) throws -> Data {
        guard let space = CGColorSpace(name: space) else { throw PocketCrafterError.config("This system has no such colors.") }
        let named = Dictionary(uniqueKeysWithValues: properties.map { ($0.key as String, $0.value) })
        do {
            return try CIContext(options: [.workingFormat: CIFormat.RGBAf]).heif10Representation(
                of: CIImage(cgImage: image).settingProperties(named), colorSpace: space,
                options: [CIImageRepresentationOption(rawValue: kCGImageDestinationLossyCompressionQuality as String): Self.quality])
        } catch {
            throw PocketCrafterError.config("The enhanced photo cannot be written: \(error.localizedDescription)")
        }
    }
}
