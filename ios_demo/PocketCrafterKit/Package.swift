// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "PocketCrafterKit",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "PocketCrafterKit", targets: ["PocketCrafterKit"]),
        .library(name: "CoreMLRunner", targets: ["CoreMLRunner"]),
        .library(name: "CoreAIRunner", targets: ["CoreAIRunner"]),
        .library(name: "OnnxRunner", targets: ["OnnxRunner"]),
        .library(name: "PocketCrafterImages", targets: ["PocketCrafterImages"]),
        .executable(name: "pocketcrafter-swift", targets: ["pocketcrafter-swift"]),
    ],
    targets: [
        // SHA-256 and inflate where Apple's frameworks are not.
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COnnxRuntime"),
        .target(
            name: "PocketCrafterCore",
            dependencies: [
                .target(name: "COpenSSL", condition: .when(platforms: [.linux])),
                .target(name: "CZlib", condition: .when(platforms: [.linux])),
            ],
            path: "Sources/Core"
        ),
        .target(name: "PocketCrafterKit", dependencies: ["PocketCrafterCore"]),
        .target(name: "OnnxRunner", dependencies: ["PocketCrafterCore", "COnnxRuntime"]),
        .target(name: "CoreMLRunner", dependencies: ["PocketCrafterCore"]),
        .target(name: "CoreAIRunner", dependencies: ["PocketCrafterCore"]),
        .target(name: "PocketCrafterImages", dependencies: ["PocketCrafterCore"]),
        .executableTarget(name: "pocketcrafter-swift", dependencies: ["PocketCrafterKit", "OnnxRunner"]),
        .testTarget(name: "CoreTests", dependencies: ["PocketCrafterCore"]),
        .testTarget(name: "PairTests", dependencies: ["PocketCrafterKit", "OnnxRunner"]),
    ],
    swiftLanguageModes: [.v6]
)
