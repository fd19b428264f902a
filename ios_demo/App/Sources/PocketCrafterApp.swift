import SwiftUI

@main
struct PocketCrafterApp: App {
    @State private var session = PhotoSession()
    @State private var goldens = GoldensSession()

    var body: some Scene {
        WindowGroup {
            TabView {
                PhotoScreen(session: session)
                    .tabItem { Label("Photo", systemImage: "photo") }
                GoldensScreen(session: goldens)
                    .tabItem { Label("Goldens", systemImage: "checkmark.seal") }
                BenchmarkScreen()
                    .tabItem { Label("Benchmark", systemImage: "stopwatch") }
            }
            .task {
                await session.open()
                if !session.openingFailed { await goldens.runOnce() }
            }
        }
    }
}
