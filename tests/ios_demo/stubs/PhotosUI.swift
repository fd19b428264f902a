// Declarations of PhotosUI that the app uses, for type-checking on Linux; they do nothing.
import SwiftUI

public struct PHPickerFilter: Sendable { public static var images: PHPickerFilter { PHPickerFilter() } }
public struct PhotosPickerItem: Equatable, Sendable {
    public struct EncodingDisambiguationPolicy: Sendable { public static let automatic = EncodingDisambiguationPolicy() }
    public func loadTransferable<T: Sendable>(type: T.Type) async throws -> T? { nil }
}
public struct PhotosPicker<Label: View>: View {
    public init(
        selection: Binding<PhotosPickerItem?>, matching filter: PHPickerFilter? = nil,
        preferredItemEncoding: PhotosPickerItem.EncodingDisambiguationPolicy = .automatic,
        @ViewBuilder label: () -> Label
    ) {}
    public var body: some View { EmptyView() }
}
