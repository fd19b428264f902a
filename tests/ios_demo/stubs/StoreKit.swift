// Declarations of StoreKit that the app's extension uses, for type-checking on Linux; they do nothing.
import BackgroundAssets
import ExtensionFoundation

public protocol StoreDownloaderExtension: AppExtension { func shouldDownload(_ assetPack: AssetPack) -> Bool }
