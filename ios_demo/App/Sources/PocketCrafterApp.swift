import SwiftUI
import UIKit

@main
struct PocketCrafterApp: App {
    @State private var session = PhotoSession()
    @State private var goldens = GoldensSession()

    var body: some Scene {
        WindowGroup {
            TabView {
                PhotoScreen(session: session)
                    .tabItem { Label("Photo", systemImage: "photo") }
                GoldensScreen(session: goldens, photos: session)
                    .tabItem { Label("Goldens", systemImage: "checkmark.seal") }
                BenchmarkScreen(session: session)
                    .tabItem { Label("Benchmark", systemImage: "stopwatch") }
            }
            .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
                Task { await session.release() }
            }
            .task {
                await session.open()
                if !session.openingFailed { await goldens.runOnce(session) }
            }
        }
    }
}
