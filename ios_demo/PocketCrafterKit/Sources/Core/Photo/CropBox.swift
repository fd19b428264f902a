/// A part of a picture, in pixels; right and bottom lie outside of it.
public struct CropBox: Equatable, Hashable, Sendable {
    public let left: Int
    public let top: Int
    public let right: Int
    public let bottom: Int

    public init(left: Int, top: Int, right: Int, bottom: Int) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }

    /// In pixels.
    public var width: Int { right - left }

    /// In pixels.
    public var height: Int { bottom - top }
}
