// Declarations of Core Image that the app uses, for type-checking on Linux; they do nothing.
@_exported import CoreGraphics

public struct CIImageOption: RawRepresentable, Hashable, Sendable {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let applyOrientationProperty = CIImageOption(rawValue: "")
}
public struct CIContextOption: RawRepresentable, Hashable, Sendable {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let workingFormat = CIContextOption(rawValue: "")
}
public struct CIImageRepresentationOption: RawRepresentable, Hashable, Sendable {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}
public struct CIFormat: Hashable, Sendable {
    public static let RGBA16 = CIFormat()
    public static let RGBAf = CIFormat()
}

public final class CIImage {
    public init?(data: Data, options: [CIImageOption: Any]? = nil) { nil }
    public init(cgImage image: CGImage) {}
    public var extent: CGRect { .zero }
    public func transformed(by matrix: CGAffineTransform) -> CIImage { self }
    public func settingProperties(_ properties: [AnyHashable: Any]) -> CIImage { self }
}

public final class CIContext {
    public init(options: [CIContextOption: Any]? = nil) {}
    public func render(
        _ image: CIImage, toBitmap data: UnsafeMutableRawPointer, rowBytes: Int, bounds: CGRect, format: CIFormat,
        colorSpace: CGColorSpace?
    ) {}
    public func heif10Representation(
        of image: CIImage, colorSpace: CGColorSpace, options: [CIImageRepresentationOption: Any] = [:]
    ) throws -> Data { Data() }
}
