import Foundation
import PocketCrafterCore

/// Binary PPM (Netpbm `P6`) of 8 or 16 bits a channel: there is no other decoder of pictures on Linux.
enum Ppm {
    /// - Throws: ``PocketCrafterError/config(_:)`` if a file is none, ``PocketCrafterError/shape(_:)`` if it ends early.
    static func read(_ path: String) throws -> Pixels {
        guard let content = FileManager.default.contents(atPath: path) else {
            throw PocketCrafterError.config("`\(path)` cannot be read.")
        }
        let bytes = [UInt8](content)
        var at = 0
        func word() -> Substring {
            while at < bytes.count, isBlank(bytes[at]) || bytes[at] == UInt8(ascii: "#") {
                if bytes[at] == UInt8(ascii: "#") {
                    while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { at += 1 }
                } else {
                    at += 1
                }
            }
            let start = at
            while at < bytes.count, !isBlank(bytes[at]) { at += 1 }
            return Substring(String(decoding: bytes[start..<at], as: UTF8.self))
        }
        guard word() == "P6", let width = Int(word()), let height = Int(word()) else { throw refusal(path) }
        let top = word()
        guard at < bytes.count else { throw refusal(path) }
        let samples = bytes[(at + 1)...]
        switch top {
        case "255": return try Pixels(width: width, height: height, rgb: Array(samples))
        case "65535":
            let wide = stride(from: samples.startIndex, to: samples.endIndex - 1, by: 2)
                .map { UInt16(samples[$0]) << 8 | UInt16(samples[$0 + 1]) }
            return try Pixels(width: width, height: height, samples: .sixteen(wide))
        default: throw refusal(path)
        }
    }

    static func write(_ pixels: Pixels, to path: String) throws {
        let (top, samples) = switch pixels.samples {
        case .eight(let levels): (UInt8.max.description, Data(levels))
        case .sixteen(let levels): (UInt16.max.description, Data(levels.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }))
        }
        let content = Data("P6\n\(pixels.width) \(pixels.height)\n\(top)\n".utf8) + samples
        do {
            try content.write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw PocketCrafterError.config("`\(path)` cannot be written: \(error.localizedDescription)")
        }
    }

    private static func refusal(_ path: String) -> PocketCrafterError {
        .config("`\(path)` is no binary PPM (P6) with 255 or 65535 as its highest level.")
    }

    private static func isBlank(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
}
