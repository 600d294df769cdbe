// The part of Darwin that the runner uses and that Linux's C library has not; the footprint is made up.

@_exported import Glibc

public typealias natural_t = UInt32
public typealias integer_t = Int32
public typealias mach_msg_type_number_t = natural_t
public typealias task_flavor_t = natural_t
public let KERN_SUCCESS: Int32 = 0
public let TASK_VM_INFO: Int32 = 22
public let mach_task_self_: UInt32 = 0

public struct task_vm_info_data_t {
    public var phys_footprint: UInt64 = 5 << 20
    public var ledger_phys_footprint_peak: Int64 = 9 << 20
    public init() {}
}

public func task_info(
    _ task: UInt32, _ flavor: task_flavor_t, _ info: UnsafeMutablePointer<integer_t>?,
    _ count: UnsafeMutablePointer<mach_msg_type_number_t>?
) -> Int32 { KERN_SUCCESS }

public func sysctlbyname(
    _ name: UnsafePointer<CChar>?, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?,
    _ new: UnsafeMutableRawPointer?, _ newSize: Int
) -> Int32 { -1 }

public struct qos_class_t {}
public let QOS_CLASS_USER_INITIATED = qos_class_t()
@discardableResult
public func pthread_set_qos_class_self_np(_ qos: qos_class_t, _ priority: Int32) -> Int32 { 0 }

public let CLOCK_UPTIME_RAW: Int32 = 1
public func clock_gettime_nsec_np(_ clock: Int32) -> UInt64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
