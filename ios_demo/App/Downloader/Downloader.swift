import BackgroundAssets
import ExtensionFoundation
import StoreKit

/// Lets iOS 26 and newer download the bundle's asset pack while the app is installed; the App Store hosts it.
@main
struct Downloader: StoreDownloaderExtension {
    func shouldDownload(_ assetPack: AssetPack) -> Bool { true }
}
