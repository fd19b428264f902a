import SwiftUI

@main
struct PocketCrafterApp: App {
    @State private var session = PhotoSession()

    var body: some Scene {
        WindowGroup {
            TabView {
                PhotoScreen(session: session)
                    .tabItem { Label("Photo", systemImage: "photo") }
                GoldensScreen()
                    .tabItem { Label("Goldens", systemImage: "checkmark.seal") }
                BenchmarkScreen()
                    .tabItem { Label("Benchmark", systemImage: "stopwatch") }
            }
            .task { await session.open() }
        }
    }
}
