import Foundation
import XCTest

@testable import PocketCrafterCore

/// Critiques are written and read as in Python, word by word.
final class ProseTests: XCTestCase {
    private func vocabulary() throws -> Vocabulary { try Vocabulary(Vectors.vocabulary()) }

    func testWordsAndWhichOfThemSentencesAreMadeOfArePythons() throws {
        let vocabulary = try vocabulary()
        let one = try XCTUnwrap(Vectors.of("vocabulary").first)
        XCTAssertEqual(try one.texts("texts"), vocabulary.texts)
        XCTAssertEqual(try one.ints("plain"), vocabulary.plain)
        for said in try Vectors.of("text") { XCTAssertEqual(try said.text("text"), vocabulary.text(try said.ints("ids"))) }
    }

    func testADamagedVocabularyIsRefused() throws {
        let text = String(decoding: try Vectors.vocabulary(), as: UTF8.self)
        let damaged = [
            "", "[]", String(text.dropLast(2)), text.replacingOccurrences(of: "<think>", with: "<thonk>"),
            text.replacingOccurrences(of: "\"id\":", with: "\"no\":"),
        ]
        for text in damaged { assertThrows(\.isBundle) { try Vocabulary(Data(text.utf8)) } }
        assertThrows(\.isBundle) { try Vocabulary(Data([0xFF, 0xFE])) }
    }

    func testAmountsAreStatedOnPythonsLadders() throws {
        for one in try Vectors.of("words_of_ladders") {
            let attribute = try attribute(one.text("attribute"))
            let ladder = Wording.ladder(attribute)
            XCTAssertEqual(try one.cases("steps").map { try $0.text("word") }, ladder.map(\.word))
            XCTAssertEqual(try one.cases("steps").map { try $0.text("text") }, ladder.map(\.text))
            for near in try one.cases("nearest") {
                XCTAssertEqual(try near.double("step"), Stated.nearest(attribute, try near.double("amount")).amount)
            }
        }
        for one in try Vectors.of("score_word") {
            XCTAssertEqual(try one.text("word"), Prompt.scoreWord(try one.double("score")))
        }
    }

    func testPromptsAndOutlinesArePythons() throws {
        for one in try Vectors.of("prompt") {
            let stated = Stated(plan: try one.plan("plan"), gate: try one.gate("gate"), score: try one.double("score"))
            let mode = try mode(one)
            for attribute in Attribute.allCases {
                XCTAssertEqual(try one.of("stated")[attribute.key].double, stated[attribute]?.amount)
            }
            XCTAssertEqual(try one.int("voice"), stated.voice)
            XCTAssertEqual(try one.texts("words"), Prompt.words(stated, mode))
            let told = Outline(stated, mode)
            XCTAssertEqual(try one.of("outline").cases("items").map(sentence), told.items)
            let thoughts = try XCTUnwrap(one.of("outline")["thoughts"].array)
            XCTAssertEqual(try thoughts.map { try XCTUnwrap($0.array).map { try sentence(Case(json: $0)) } }, told.thoughts)
        }
    }

    func testGreedyDecodingInsideTheGrammarTakesPythonsWords() throws {
        let vocabulary = try vocabulary()
        for one in try Vectors.of("decode") {
            var steps: [Attribute: Step] = [:]
            for attribute in Attribute.allCases {
                steps[attribute] = try one.of("stated")[attribute.key].double.map { Stated.nearest(attribute, $0) }
            }
            let stated = Stated(steps: steps, score: try one.double("score"))
            let decoder = ScriptedDecoder(seed: UInt64(try one.int("seed")))
            let written = try Writer(CachingDecoder(decoder), vocabulary).write(noTokens, stated, try mode(one))
            XCTAssertEqual(try one.ints("ids"), written.ids)
            XCTAssertEqual(try one.text("text"), written.prose.text)
            XCTAssertEqual(try [one.int("choices"), one.int("steps")], [written.choices, written.steps])
        }
    }

    func testACancelledCritiqueEndsAtTheNextStep() throws {
        var asked = 0
        let decoder = ScriptedDecoder(seed: 1)
        let writer = Writer(CachingDecoder(decoder), try vocabulary())
        XCTAssertThrowsError(
            try writer.write(noTokens, Stated(steps: [:], score: 50), .short) {
                asked += 1
                if asked > 30 { throw CancellationError() }
            }
        ) { XCTAssertTrue($0 is CancellationError) }
        XCTAssertEqual(decoder.runs, 30)
    }

    func testCritiquesAreReadOrRefusedAsPythonDoes() throws {
        for one in try Vectors.of("parse") {
            let text = try one.text("text")
            if one["prose"] == .null {
                assertThrows(\.isProse, String(text.prefix(200))) { try Prose(text) }
                continue
            }
            let expected = try one.of("prose")
            let prose = try Prose(text)
            XCTAssertEqual(try expected.texts("thoughts"), prose.thoughts)
            XCTAssertEqual(try said(expected, "faults"), prose.faults)
            XCTAssertEqual(try said(expected, "instructions"), prose.instructions)
            XCTAssertEqual(try expected.texts("unread"), prose.unread)
            XCTAssertEqual(try expected.int("score"), prose.score)
        }
    }

    private let noTokens = [Float](repeating: 0, count: Constants.tokens * Constants.tokenDim)

    private func attribute(_ key: String) throws -> Attribute {
        try XCTUnwrap(Attribute.allCases.first { $0.key == key }, key)
    }

    private func mode(_ one: Case) throws -> Mode { try XCTUnwrap(Mode(rawValue: one.text("mode"))) }

    private func sentence(_ one: Case) throws -> Sentence {
        Sentence(
            topic: try XCTUnwrap(Topic(rawValue: one.text("topic"))), words: try one.texts("words"),
            attributes: try one.texts("attributes").map(attribute))
    }

    private func said(_ one: Case, _ name: String) throws -> [Instruction] {
        try one.cases(name).map {
            Instruction(
                attribute: try attribute($0.text("attribute")), direction: try $0.int("direction"),
                amount: $0["amount"].double)
        }
    }
}

/// Python's `ScriptedDecoder`: logits follow from word, position and seed.
private final class ScriptedDecoder: Runner {
    private static let mask: UInt64 = 0xFFFF_FFFF

    private let seed: UInt64
    private(set) var runs = 0

    init(seed: UInt64) { self.seed = seed }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        runs += 1
        let place = UInt64(try index(inputs["position"]) * Constants.proseWords + index(inputs["word"]))
        let logits: [Float] = (0..<UInt64(Constants.proseWords)).map { word in
            let mixed = (word * 2_654_435_761 + place * 40503 + seed * 2_246_822_519) & Self.mask
            return Float((mixed * 2_246_822_519 & Self.mask) >> 8) / Float(1 << 24)
        }
        let count = Constants.proseLayers * Constants.proseHeads * Constants.proseChannels
        let rows = [Float](repeating: 0, count: count)
        return ["logits": logits, "key": rows, "value": rows]
    }

    private func index(_ oneHot: [Float]?) throws -> Int {
        let values = try XCTUnwrap(oneHot)
        return values.firstIndex(of: values.max() ?? 0) ?? 0
    }
}
