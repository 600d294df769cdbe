// Inputs for a model, and how far its outputs are from the golden ones.

import CoreML
import CoreVideo
import Foundation

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): the system's own
/// generator cannot be seeded.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: Int) {
        state = UInt64(bitPattern: Int64(seed))
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    mutating func normal() -> Double {
        let radius = (-2 * log(Double.random(in: Double.leastNonzeroMagnitude..<1, using: &self))).squareRoot()
        return radius * cos(2 * Double.pi * Double.random(in: 0..<1, using: &self))
    }
}

func randomFeature(_ description: MLFeatureDescription, _ generator: inout SeededGenerator) throws -> MLFeatureValue {
    if let constraint = description.multiArrayConstraint {
        let shape = constraint.shape.map(\.intValue)
        let count = shape.reduce(1, *)
        // Whole numbers are most often places in a table, and 0 is in every table.
        let isWhole = constraint.dataType == .int32
        let values = (0..<count).map { _ in isWhole ? 0 : generator.normal() }
        return MLFeatureValue(multiArray: try array(values, shape, constraint.dataType))
    }
    if let constraint = description.imageConstraint {
        return MLFeatureValue(pixelBuffer: try randomImage(constraint, &generator))
    }
    throw Damaged(reason: "input \(description.name) is neither a multi-array nor an image")
}

func array(_ values: [Double], _ shape: [Int], _ type: MLMultiArrayDataType) throws -> MLMultiArray {
    let result = try MLMultiArray(shape: shape.map { NSNumber(value: $0) }, dataType: type)
    guard result.count == values.count else { throw Damaged(reason: "\(values.count) values for shape \(shape)") }
    for (i, value) in values.enumerated() {
        result[i] = NSNumber(value: value)
    }
    return result
}

private func randomImage(_ constraint: MLImageConstraint, _ generator: inout SeededGenerator) throws -> CVPixelBuffer {
    var created: CVPixelBuffer?
    let (width, height) = (constraint.pixelsWide, constraint.pixelsHigh)
    let status = CVPixelBufferCreate(nil, width, height, constraint.pixelFormatType, nil, &created)
    guard status == kCVReturnSuccess, let buffer = created else {
        throw Damaged(reason: "no \(width) x \(height) image could be made (CoreVideo says \(status))")
    }
    CVPixelBufferLockBaseAddress(buffer, [])
    defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let base = CVPixelBufferGetBaseAddress(buffer), CVPixelBufferGetPlaneCount(buffer) == 0 else {
        throw Damaged(reason: "images in planes are not made here")
    }
    let bytes = UnsafeMutableRawBufferPointer(start: base, count: CVPixelBufferGetBytesPerRow(buffer) * height)
    for i in bytes.indices {
        bytes[i] = UInt8.random(in: 0...255, using: &generator)
    }
    return buffer
}

/// Largest difference over the largest expected value; infinite where a shape differs or one is not a number.
func relativeError(_ actual: MLMultiArray, _ expected: TensorData) throws -> Double {
    let wanted = try expected.values()
    guard actual.shape.map(\.intValue) == expected.shape, actual.count == wanted.count else { return .infinity }
    var difference = 0.0
    var scale = 0.0
    for (i, value) in wanted.enumerated() {
        let distance = abs(actual[indices(i, expected.shape)].doubleValue - value)
        guard distance.isFinite else { return .infinity }
        difference = max(difference, distance)
        scale = max(scale, abs(value))
    }
    return scale > 0 ? difference / scale : difference
}

/// Where the element number `place` in row order lies. An accelerator's array may have gaps between its rows, and a
/// plain number would count them.
private func indices(_ place: Int, _ shape: [Int]) -> [NSNumber] {
    var rest = place
    var reversed: [NSNumber] = []
    for side in shape.reversed() {
        reversed.append(NSNumber(value: rest % side))
        rest /= side
    }
    return reversed.reversed()
}
