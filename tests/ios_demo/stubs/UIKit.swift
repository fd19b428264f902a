// Declarations of UIKit that the app uses, for type-checking on Linux; they do nothing.
import CoreGraphics
@_exported import Foundation

public class UIImage: NSObject {
    public enum Orientation: Int, Sendable { case up = 0 }
    public init(cgImage: CGImage) {}
    public var cgImage: CGImage? { nil }
    public var imageOrientation: Orientation { .up }
    public var scale: CGFloat { 1 }
    public var size: CGSize { .zero }
    public func draw(in rect: CGRect) {}
    public func jpegData(compressionQuality: CGFloat) -> Data? { nil }
}
public class UIGraphicsImageRendererFormat: NSObject { public var scale: CGFloat = 1 }
public class UIGraphicsImageRendererContext: NSObject {}
public class UIGraphicsImageRenderer: NSObject {
    public init(size: CGSize, format: UIGraphicsImageRendererFormat) {}
    public func image(actions: (UIGraphicsImageRendererContext) -> Void) -> UIImage { fatalError("a stub") }
}
@MainActor open class UIApplication: NSObject {
    public nonisolated static let didReceiveMemoryWarningNotification = Notification.Name("")
}
@MainActor open class UIView: NSObject {
    public func setNeedsDisplay() {}
}
@MainActor open class UIViewController: NSObject {}
@MainActor public protocol UINavigationControllerDelegate: AnyObject {}
@MainActor public protocol UIImagePickerControllerDelegate: AnyObject {
    func imagePickerController(
        _ picker: UIImagePickerController, didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any])
    func imagePickerControllerDidCancel(_ picker: UIImagePickerController)
}
@MainActor open class UIImagePickerController: UIViewController {
    public enum SourceType: Int, Sendable { case camera = 1 }
    public struct InfoKey: Hashable, Sendable { public static let originalImage = InfoKey() }
    public class func isSourceTypeAvailable(_ sourceType: SourceType) -> Bool { false }
    public var sourceType: SourceType = .camera
    public weak var delegate: (any UIImagePickerControllerDelegate & UINavigationControllerDelegate)?
}
