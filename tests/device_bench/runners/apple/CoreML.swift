// The part of Core ML's Swift interface that the runner uses, for machines that have a Swift compiler and no Core ML.
// Its one model is a toy: "logits" (1, 2) is the sum of "input" (1, 3, 2, 2) and that sum's negative, after as many
// microseconds as the file coremldata.bin says.

@_exported import CoreVideo
import Foundation

public enum MLComputeUnits { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }

public class MLModelConfiguration {
    public var computeUnits = MLComputeUnits.all
    public init() {}
}

public enum MLMultiArrayDataType { case double, float32, float16, int32 }

public class MLMultiArray {
    public let shape: [NSNumber]
    public let dataType: MLMultiArrayDataType
    fileprivate var values: [Double]

    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {
        self.shape = shape
        self.dataType = dataType
        values = Array(repeating: 0, count: shape.reduce(1) { $0 * $1.intValue })
    }

    public var count: Int { values.count }

    public subscript(_ place: Int) -> NSNumber {
        get { NSNumber(value: values[place]) }
        set { values[place] = newValue.doubleValue }
    }

    public subscript(_ key: [NSNumber]) -> NSNumber {
        get { self[place(key)] }
        set { self[place(key)] = newValue }
    }

    private func place(_ key: [NSNumber]) -> Int {
        zip(key, shape).reduce(0) { $0 * $1.1.intValue + $1.0.intValue }
    }
}

public class MLMultiArrayConstraint {
    public let shape: [NSNumber]
    public let dataType = MLMultiArrayDataType.float32
    init(_ shape: [NSNumber]) { self.shape = shape }
}

public class MLImageConstraint {
    public let pixelsWide = 0
    public let pixelsHigh = 0
    public let pixelFormatType: UInt32 = 0
}

public class MLFeatureDescription {
    public let name: String
    public let isOptional = false
    public let multiArrayConstraint: MLMultiArrayConstraint?
    public let imageConstraint: MLImageConstraint? = nil

    init(_ name: String, _ shape: [NSNumber]) {
        self.name = name
        multiArrayConstraint = MLMultiArrayConstraint(shape)
    }
}

public class MLModelDescription {
    public let inputDescriptionsByName = ["input": MLFeatureDescription("input", [1, 3, 2, 2])]
    public let outputDescriptionsByName = ["logits": MLFeatureDescription("logits", [1, 2])]
}

public class MLFeatureValue {
    public let multiArrayValue: MLMultiArray?
    public init(multiArray: MLMultiArray) { multiArrayValue = multiArray }
    public init(pixelBuffer: CVPixelBuffer) { multiArrayValue = nil }
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

public class MLDictionaryFeatureProvider: MLFeatureProvider {
    private let values: [String: Any]
    public init(dictionary: [String: Any]) throws { values = dictionary }
    public func featureValue(for name: String) -> MLFeatureValue? { values[name] as? MLFeatureValue }
}

struct ToyError: LocalizedError {
    let errorDescription: String?
}

public class MLModel {
    public let modelDescription = MLModelDescription()
    private let delayMicroseconds: UInt32

    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {
        let text = try? String(contentsOf: url.appendingPathComponent("coremldata.bin"), encoding: .utf8)
        guard let text, let delay = UInt32(text) else { throw ToyError(errorDescription: "no\n  toy") }
        delayMicroseconds = delay
    }

    public func prediction(from input: MLFeatureProvider) throws -> MLFeatureProvider {
        guard let array = input.featureValue(for: "input")?.multiArrayValue, array.shape == [1, 3, 2, 2] else {
            throw ToyError(errorDescription: "wrong shape")
        }
        usleep(delayMicroseconds)
        let sum = array.values.reduce(0, +)
        let logits = try MLMultiArray(shape: [1, 2], dataType: .float32)
        logits[0] = NSNumber(value: sum)
        logits[1] = NSNumber(value: -sum)
        return try MLDictionaryFeatureProvider(dictionary: ["logits": MLFeatureValue(multiArray: logits)])
    }

    public func prediction(from input: MLFeatureProvider) async throws -> MLFeatureProvider {
        fatalError("the asynchronous prediction is another thing to time")
    }
}

public enum MLComputeDevice { case cpu(Int), gpu(Int), neuralEngine(Int) }

public enum MLModelStructure {
    public struct Program {
        public struct Operation { let device: MLComputeDevice? }
        public struct Block { public let operations: [Operation] }
        public struct Function { public let block: Block }
        public let functions: [String: Function]
    }
    case program(Program)
    case unsupported
}

/// Of three operations and a constant, two on the neural engine.
public class MLComputePlan {
    public struct DeviceUsage { public let preferred: MLComputeDevice }
    public let modelStructure: MLModelStructure

    private init() {
        let devices: [MLComputeDevice?] = [nil, .neuralEngine(0), .cpu(0), .neuralEngine(0)]
        let block = MLModelStructure.Program.Block(operations: devices.map { .init(device: $0) })
        modelStructure = .program(.init(functions: ["main": .init(block: block)]))
    }

    public static func load(contentsOf: URL, configuration: MLModelConfiguration) async throws -> MLComputePlan {
        MLComputePlan()
    }

    public func deviceUsage(for operation: MLModelStructure.Program.Operation) -> DeviceUsage? {
        operation.device.map { DeviceUsage(preferred: $0) }
    }
}

public func autoreleasepool<Result>(invoking body: () throws -> Result) rethrows -> Result { try body() }

extension ProcessInfo {
    public enum ThermalState { case nominal, fair, serious, critical }
    public var thermalState: ThermalState { .nominal }
}
