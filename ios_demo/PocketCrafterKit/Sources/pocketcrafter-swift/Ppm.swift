import Foundation
import PocketCrafterCore

/// Binary PPM (Netpbm `P6`) of 8 bits a channel: there is no other decoder of pictures on Linux.
enum Ppm {
    /// - Throws: ``PocketCrafterError/config(_:)`` if a file is none.
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
        guard word() == "P6", let width = Int(word()), let height = Int(word()), word() == "255", at < bytes.count else {
            throw PocketCrafterError.config("`\(path)` is no binary PPM (P6) with 255 levels.")
        }
        return try Pixels(width: width, height: height, rgb: Array(bytes[(at + 1)...]))
    }

    static func write(_ pixels: Pixels, to path: String) throws {
        let content = Data("P6\n\(pixels.width) \(pixels.height)\n255\n".utf8) + Data(pixels.rgb)
        do {
            try content.write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw PocketCrafterError.config("`\(path)` cannot be written: \(error.localizedDescription)")
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
}
