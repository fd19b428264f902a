import Foundation

/// How reports are written.
enum Report {
    /// Returns a report as JSON, keys in snake case as Python's; `nil` where a value has no JSON.
    static func json(_ report: some Encodable) -> String? {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return (try? encoder.encode(report)).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Which device it was; nothing that tells one of a kind from another.
struct DeviceFacts: Encodable, Sendable {
    let machine: String
    let system: String

    init() {
        var facts = utsname()
        uname(&facts)
        machine = withUnsafeBytes(of: &facts.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        system = ProcessInfo.processInfo.operatingSystemVersionString
    }
}

/// The memory of this process in MiB; 0 where it cannot be read.
func residentMib() -> Double {
    #if canImport(Darwin)
    var info = task_vm_info_data_t()
    var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
    let result = withUnsafeMutablePointer(to: &info) { pointer in
        pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
            task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
        }
    }
    return result == KERN_SUCCESS ? Double(info.phys_footprint) / 1_048_576 : 0
    #else
    return 0
    #endif
}
