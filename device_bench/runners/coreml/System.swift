// What the system tells about this process and this machine.

import Darwin
import Foundation

/// A clock that runs with the processor: it stands still while the machine sleeps.
func nanoseconds() -> UInt64 {
    clock_gettime_nsec_np(CLOCK_UPTIME_RAW)
}

struct Memory {
    /// Bytes of the physical footprint, which is what Xcode's gauge shows and what iOS ends an app for.
    let now: UInt64
    let peak: UInt64

    static func read() -> Memory? {
        var info = task_vm_info_data_t()
        let words = MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size
        var count = mach_msg_type_number_t(words)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: words) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        guard status == KERN_SUCCESS, info.ledger_phys_footprint_peak > 0 else { return nil }
        return Memory(now: UInt64(info.phys_footprint), peak: UInt64(info.ledger_phys_footprint_peak))
    }
}

/// Ask for the cores that an app gets for what its user waits for; at a lower class a thread may be kept on the slow ones.
func askForFastCores() {
    pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0)
}

/// Whether Rosetta translates this process, which then shows the translation's speed.
func isTranslated() -> Bool {
    var flag: Int32 = 0
    var size = MemoryLayout<Int32>.size
    return sysctlbyname("sysctl.proc_translated", &flag, &size, nil, 0) == 0 && flag == 1
}

func thermalState() -> String {
    switch ProcessInfo.processInfo.thermalState {
    case .nominal: return "nominal"
    case .fair: return "fair"
    case .serious: return "serious"
    case .critical: return "critical"
    @unknown default: return "unknown"
    }
}

func coreMLVersion() -> String? {
    Bundle(identifier: "com.apple.CoreML")?.object(forInfoDictionaryKey: "CFBundleVersion") as? String
}
