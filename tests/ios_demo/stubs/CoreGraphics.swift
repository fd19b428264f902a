// Declarations of Core Graphics that the app uses, for type-checking on Linux; they do nothing.
@_exported import Foundation

public typealias CFString = String
public typealias CFData = Data
public typealias CFMutableData = NSMutableData
public typealias CFDictionary = [String: Any]

public final class CGColorSpace {
    public static let sRGB: CFString = ""
    public static let displayP3: CFString = ""
    public init?(name: CFString) { nil }
    public var name: CFString? { nil }
}

public enum CGImageAlphaInfo: UInt32 { case none = 0, noneSkipLast = 5 }
public struct CGBitmapInfo: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let byteOrder16Little = CGBitmapInfo(rawValue: 4096)
}
public struct CGAffineTransform { public init(scaleX: CGFloat, y: CGFloat) {} }
public enum CGColorRenderingIntent: Int32 { case defaultIntent = 0 }

public final class CGDataProvider { public init?(data: CFData) { nil } }

public final class CGImage {
    public init?(
        width: Int, height: Int, bitsPerComponent: Int, bitsPerPixel: Int, bytesPerRow: Int, space: CGColorSpace,
        bitmapInfo: CGBitmapInfo, provider: CGDataProvider, decode: UnsafePointer<CGFloat>?, shouldInterpolate: Bool,
        intent: CGColorRenderingIntent
    ) { nil }
    public var width: Int { 0 }
    public var height: Int { 0 }
    public var colorSpace: CGColorSpace? { nil }
}

public final class CGContext {
    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int,
        space: CGColorSpace, bitmapInfo: UInt32
    ) { nil }
    public func draw(_ image: CGImage, in rect: CGRect) {}
}
