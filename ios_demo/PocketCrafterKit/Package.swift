// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "PocketCrafterKit",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "PocketCrafterKit", targets: ["PocketCrafterKit"]),
        .library(name: "OnnxRunner", targets: ["OnnxRunner"]),
        .executable(name: "pocketcrafter-swift", targets: ["pocketcrafter-swift"]),
    ],
    targets: [
        // SHA-256 where there is no CryptoKit.
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "COnnxRuntime"),
        .target(
            name: "PocketCrafterCore",
            dependencies: [.target(name: "COpenSSL", condition: .when(platforms: [.linux]))],
            path: "Sources/Core"
        ),
        .target(name: "PocketCrafterKit", dependencies: ["PocketCrafterCore"]),
        .target(name: "OnnxRunner", dependencies: ["PocketCrafterCore", "COnnxRuntime"]),
        .executableTarget(name: "pocketcrafter-swift", dependencies: ["PocketCrafterKit", "OnnxRunner"]),
        .testTarget(name: "CoreTests", dependencies: ["PocketCrafterCore"]),
        .testTarget(name: "PairTests", dependencies: ["PocketCrafterKit", "OnnxRunner"]),
    ],
    swiftLanguageModes: [.v6]
)
