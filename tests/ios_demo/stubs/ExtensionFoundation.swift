// Declarations of ExtensionFoundation that the app's extension uses, for type-checking on Linux; they do nothing.
public protocol AppExtension { init() }
extension AppExtension { public static func main() throws {} }
