// The job as device_bench writes it, and what is wrong with a model.

import Foundation

struct Job: Decodable {
    let models: [JobModel]
    let warmupRuns: Int
    let timedRuns: Int
    let minSeconds: Double
    let accelerator: String
    let blockS: Double
    let seed: Int
    let timeoutS: Double

    static func read(_ path: String) throws -> Job {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Job.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }
}

struct JobModel: Decodable {
    /// The file that the user named; it is what messages call the model.
    let path: String
    /// The .mlmodelc folder to load.
    let compiled: String
    let golden: Golden?
}

struct Golden: Decodable {
    let inputs: [TensorData]
    let outputs: [TensorData]
}

/// An array: little-endian bytes in base64, which every machine that Core ML runs on can take as they are.
struct TensorData: Decodable {
    let shape: [Int]
    let dtype: String
    let data: String

    func values() throws -> [Double] {
        guard let bytes = Data(base64Encoded: data) else { throw Damaged(reason: "golden data is not base64") }
        switch dtype {
        case "float32": return numbers(bytes, Float32.self).map(Double.init)
        case "int32": return numbers(bytes, Int32.self).map(Double.init)
        case "int8": return numbers(bytes, Int8.self).map(Double.init)
        case "uint8": return numbers(bytes, UInt8.self).map(Double.init)
        default: throw Damaged(reason: "golden data of type \(dtype) is not known here")
        }
    }

    private func numbers<Number>(_ bytes: Data, _: Number.Type) -> [Number] {
        let size = MemoryLayout<Number>.size
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / size).map { raw.loadUnaligned(fromByteOffset: $0 * size, as: Number.self) }
        }
    }
}

/// Core ML does not take a model, or its golden arrays do not fit it: the user's to mend.
struct Refused: Error {
    let path: String
    let message: String
}

/// Something in the job cannot be read.
struct Damaged: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }
}
