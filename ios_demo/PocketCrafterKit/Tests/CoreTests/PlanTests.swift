import Foundation
import XCTest

@testable import PocketCrafterCore

/// Plans, the gate and the critique of 21 items are Python's.
final class PlanTests: XCTestCase {
    func testVectorsStrengthsAndWordsArePythons() throws {
        for one in try Vectors.of("plan") {
            let plan = try one.plan("plan")
            assertNear(try one.floats("vector"), plan.vector, within: 0)
            assertNear(try one.plan("scaled"), try plan.scaled(by: one.double("strength")))
            // Python also tells of turns, which are not this core's.
            XCTAssertEqual(try one.text("words").components(separatedBy: ", turned")[0], plan.words)
        }
    }

    func testEntriesOutOfRangeAreClipped() throws {
        for one in try Vectors.of("plan_from_vector") {
            assertNear(try one.plan("plan"), try EditPlan(vector: one.floats("vector")))
        }
    }

    func testTheGateOpensWherePythonsDoesAndTheFindingsAreTheSame() throws {
        for one in try Vectors.of("critique") {
            let critique = try Critique(
                plan: one.floats("plan"), presence: one.floats("presence"), confidence: one.floats("confidence"),
                score: Float(one.double("score")), gate: one.gate("gate"))
            let gated = try one.plan("gated")
            assertNear(gated, critique.plan)
            XCTAssertEqual(
                Attribute.allCases.filter { gated[$0] != 0 }, Attribute.allCases.filter { critique.plan[$0] != 0 })
            XCTAssertEqual(try one.of("critique").double("score"), critique.score, accuracy: 1e-3)
            try assertFindings(one, critique)
            let tilt = try one["tilt"] == .null ? nil : one.of("tilt")
            let levelled = critique.with(
                try tilt.map { TiltOpinion(degrees: try $0.double("degrees"), confidence: try $0.double("confidence")) })
            try assertFinding(one, "horizon", XCTUnwrap(levelled.findings[.viewpoint]))
            XCTAssertEqual(try one.texts("lines"), levelled.lines)
        }
    }

    func testProposalsPreviewsAndWhatTheJudgeChoosesArePythons() throws {
        for one in try Vectors.of("propose") {
            let plans = try JudgeSettings(one["judge"]).propose(one.floats("plan"))
            assertNear(try one.floats("plans"), plans.flatMap(\.self), within: 1e-6)
        }
        for one in try Vectors.of("judge_inputs") {
            let flat = try one.floats("plans")
            let size = Attribute.allCases.count
            let plans = stride(from: 0, to: flat.count, by: size).map { Array(flat[$0..<$0 + size]) }
            let preview = JudgeSettings.preview(try one.floats("view"))
            let read = try JudgeSettings.inputs(preview: preview, plans: plans, tokens: one.floats("tokens"))
            for (name, values) in read { assertNear(try one.of("inputs").floats(name), values, within: 1e-5) }
        }
        for one in try Vectors.of("choose") {
            let best = JudgeSettings.best(
                try one.floats("gains"), bar: try one.double("bar"), worth: try one.double("worth"))
            XCTAssertEqual(one["best"].integer, best)
        }
        for one in try Vectors.of("judged_critique") {
            let critique = try Critique(
                plan: one.floats("plan"), presence: one.floats("presence"), confidence: one.floats("confidence"), score: 0.5,
                gate: one.gate("gate"), tones: one["tones"] == .null ? nil : one.plan("tones"))
            assertNear(try one.of("critique").plan("plan"), critique.plan)
            try assertFindings(one, critique)
        }
    }

    private func assertFindings(_ one: Case, _ critique: Critique) throws {
        let findings = try one.of("critique").of("findings")
        for item in Item.allCases {
            try assertFinding(findings, item.label, XCTUnwrap(critique.findings[item]))
        }
    }

    private func assertFinding(_ expected: Case, _ name: String, _ finding: Finding) throws {
        switch finding {
        case .fine: XCTAssertEqual(expected[name].string, "fine")
        case .notAssessed: XCTAssertEqual(expected[name].string, "not_assessed")
        case .fault(let severity): XCTAssertEqual(try expected.double(name), severity, accuracy: 1e-3)
        }
    }

    func testAmountsOutOfRangeAndVectorsOfAnotherSizeAreRefused() {
        assertThrows(\.isConfig) { try EditPlan().with(.dehaze, -0.1) }
        assertThrows(\.isConfig) { try EditPlan().with(.exposure, .nan) }
        assertThrows(\.isConfig) { try EditPlan(vector: [Float](repeating: .nan, count: Attribute.allCases.count)) }
        assertThrows(\.isShape) { try EditPlan(vector: [0, 0, 0]) }
    }
}
