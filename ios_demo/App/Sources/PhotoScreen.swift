import PhotosUI
import PocketCrafterKit
import SwiftUI

/// Choose or take a photo, see it before and after, read its critique, change the plan, save.
struct PhotoScreen: View {
    let session: PhotoSession
    @State private var chosen: PhotosPickerItem?
    @State private var takesPhoto = false
    @State private var before = 0.5

    var body: some View {
        NavigationStack {
            ScrollView {
                VStack(alignment: .leading, spacing: 16) {
                    StateLine(session: session)
                    if let enhanced = session.enhanced {
                        DevelopView(enhanced: enhanced, plan: session.shown.plan, grid: session.shown.grid, before: before)
                            .aspectRatio(
                                CGFloat(enhanced.restored.width) / CGFloat(enhanced.restored.height), contentMode: .fit
                            )
                            .accessibilityLabel(Text("Enhanced photo"))
                        if enhanced.plan != nil {
                            Slider(value: $before, in: 0...1) { Text("Before and after") }
                                .accessibilityValue(Text("\(Int(before * 100)) percent before"))
                            PlanSliders(session: session)
                        }
                        ForEach(enhanced.notes, id: \.self) { Text($0).font(.caption) }
                    }
                    if let critique = session.critique {
                        Text(critique)
                            .font(.body)
                            .textSelection(.enabled)
                    }
                }
                .padding()
            }
            .navigationTitle("PocketCrafter")
            .toolbar {
                ToolbarItemGroup(placement: .bottomBar) {
                    PhotosPicker(selection: $chosen, matching: .images) { Label("Choose", systemImage: "photo.on.rectangle") }
                    Button { takesPhoto = true } label: { Label("Camera", systemImage: "camera") }
                        .disabled(!CameraView.isAvailable)
                    Spacer()
                    Button { Task { await session.save() } } label: { Label("Save", systemImage: "square.and.arrow.down") }
                        .disabled(session.enhanced == nil)
                }
            }
            .onChange(of: chosen) { _, item in
                guard let item else { return }
                session.show { try await item.loadTransferable(type: Data.self) }
            }
            .sheet(isPresented: $takesPhoto) {
                CameraView { content in
                    takesPhoto = false
                    if let content { session.show { content } }
                }
            }
        }
    }
}

/// What is being done, and what went wrong.
private struct StateLine: View {
    let session: PhotoSession

    var body: some View {
        VStack(alignment: .leading, spacing: 8) {
            if let fetched = session.fetched {
                ProgressView(value: fetched) { Text("Fetching the networks") }
            }
            switch session.state {
            case .cold: if session.openingFailed { TryAgain(session: session) }
            case .verifying(let done, let all):
                ProgressView(value: Double(done), total: Double(max(all, 1))) { Text("Checking the networks") }
            case .warming: ProgressView { Text("Preparing the networks for this phone; this takes a while the first time") }
            case .ready(let engine): Text(engine).font(.caption)
            case .running:
                if let edited = session.edited {
                    ProgressView(value: edited) { Text("Editing") }
                } else {
                    ProgressView { Text("Working") }
                }
                Button(role: .cancel) { session.cancel() } label: { Text("Cancel") }
            case .failed: TryAgain(session: session)
            }
            if let failure = session.failure {
                Label(failure, systemImage: "exclamationmark.triangle").foregroundStyle(.red)
            }
        }
    }
}

private struct TryAgain: View {
    let session: PhotoSession

    var body: some View { Button { Task { await session.open() } } label: { Text("Try again") } }
}

/// A slider for the strength of the whole, and one for each tone within its legal range.
private struct PlanSliders: View {
    let session: PhotoSession

    var body: some View {
        VStack(alignment: .leading, spacing: 8) {
            Slider(value: strength, in: 0...2) { Text("Strength") } minimumValueLabel: {
                Text("Strength").font(.caption)
            } maximumValueLabel: {
                Text(session.strength, format: .number.precision(.fractionLength(2))).font(.caption)
            }
            .accessibilityLabel(Text("Strength"))
            ForEach(Attribute.allCases.filter { !$0.restores }, id: \.self) { attribute in
                Slider(value: amount(of: attribute), in: attribute.range) {
                    Text(LocalizedStringKey(attribute.key))
                } minimumValueLabel: {
                    Text(LocalizedStringKey(attribute.key)).font(.caption)
                } maximumValueLabel: {
                    Text(session.plan[attribute], format: .number.precision(.fractionLength(2))).font(.caption)
                }
                .accessibilityLabel(Text(LocalizedStringKey(attribute.key)))
            }
            Button { session.reset() } label: { Text("Back to the proposed edit") }
        }
    }

    private var strength: Binding<Double> {
        Binding(get: { @MainActor in session.strength }, set: { @MainActor strength in session.strength = strength })
    }

    private func amount(of attribute: Attribute) -> Binding<Double> {
        Binding(
            get: { @MainActor in session.plan[attribute] },
            set: { @MainActor amount in
                if let changed = try? session.plan.with(attribute, amount) { session.plan = changed }
            })
    }
}
