// Declarations of Photos that the app uses, for type-checking on Linux; they do nothing.
@_exported import Foundation

public enum PHAssetResourceType: Int, Sendable { case photo = 1 }
public class PHAssetResourceCreationOptions: NSObject {}
public class PHAssetCreationRequest: NSObject {
    public class func forAsset() -> PHAssetCreationRequest { PHAssetCreationRequest() }
    public func addResource(with type: PHAssetResourceType, data: Data, options: PHAssetResourceCreationOptions?) {}
}
public final class PHPhotoLibrary: NSObject, Sendable {
    public class func shared() -> PHPhotoLibrary { PHPhotoLibrary() }
    public func performChanges(_ changeBlock: @escaping @Sendable () -> Void) async throws {}
}
