// A model with its inputs set, and what was timed on it so far.

import CoreML
import Foundation

final class LoadedModel {
    let source: JobModel
    let configuration = MLModelConfiguration()
    private(set) var estimateS: Double
    private let model: MLModel
    /// In the order of names: Core ML itself keeps its features in dictionaries.
    private let inputs: [MLFeatureDescription]
    private let outputNames: [String]
    private var features: MLFeatureProvider
    private let initMs: Double
    private let firstMs: Double
    private var blocksNs: [[UInt64]] = []
    private var wallNs: UInt64 = 0

    init(_ source: JobModel, accelerator: String, seed: Int) throws {
        self.source = source
        configuration.computeUnits = try computeUnits(accelerator)
        var start = nanoseconds()
        do {
            model = try MLModel(contentsOf: URL(fileURLWithPath: source.compiled), configuration: configuration)
        } catch {
            throw Refused(path: source.path, message: "Core ML cannot load it: \(oneLine(error))")
        }
        initMs = Double(nanoseconds() - start) / 1e6
        let description = model.modelDescription
        let inputs = description.inputDescriptionsByName.values.sorted { $0.name < $1.name }
        self.inputs = inputs
        outputNames = description.outputDescriptionsByName.keys.sorted()
        do {
            features = try source.golden.map { try goldenFeatures($0, inputs, 0) } ?? randomFeatures(inputs, seed)
            start = nanoseconds()
            _ = try model.prediction(from: features)
        } catch {
            let what = source.golden == nil ? "Core ML cannot run it" : "its golden inputs do not fit it"
            throw Refused(path: source.path, message: "\(what): \(oneLine(error))")
        }
        firstMs = Double(nanoseconds() - start) / 1e6
        estimateS = firstMs / 1e3
    }

    func warmUp(_ runs: Int) throws {
        for _ in 0..<runs {
            try autoreleasepool {
                let start = nanoseconds()
                _ = try model.prediction(from: features)
                estimateS = min(estimateS, Double(nanoseconds() - start) / 1e9)
            }
        }
    }

    /// Time single predictions until both minima are reached.
    func timeBlock(minRuns: Int, minSeconds: Double) throws {
        let minNs = UInt64(minSeconds * 1e9)
        var samples: [UInt64] = []
        let start = nanoseconds()
        var end = start
        while samples.count < minRuns || end - start < minNs {
            try autoreleasepool {  // emptied outside the clock, as an app's run loop would
                let begin = nanoseconds()
                _ = try model.prediction(from: features)
                end = nanoseconds()
                samples.append(end - begin)
            }
        }
        blocksNs.append(samples)
        wallNs += end - start
    }

    func has(runs: Int, seconds: Double) -> Bool {
        Double(wallNs) >= seconds * 1e9 && blocksNs.reduce(0) { $0 + $1.count } >= runs
    }

    func result() throws -> [String: Any] {
        [
            "init_ms": initMs,
            "first_ms": firstMs,
            "blocks": blocksNs.map { $0.map { Double($0) / 1e6 } },
            "wall_s": Double(wallNs) / 1e9,
            "golden_error": try goldenError() ?? NSNull(),
            "delegate": NSNull(),
            "missing": [String: String](),
        ]
    }

    /// [operations that Core ML plans on the accelerator, all that it plans]; nil where it does not say.
    func plan(_ accelerator: String) -> Any? {
        guard accelerator != "cpu", #available(macOS 14.4, iOS 17.4, *) else { return nil }
        guard let plan = loadPlan(URL(fileURLWithPath: source.compiled), configuration),
            case .program(let program) = plan.modelStructure,
            let operations = program.functions["main"]?.block.operations
        else { return nil }
        // Constants run nowhere, and have no device.
        let devices = operations.compactMap { plan.deviceUsage(for: $0)?.preferred }
        let chosen = devices.filter { device in
            switch device {
            case .gpu: return accelerator == "gpu"
            case .neuralEngine: return accelerator == "ane"
            default: return false
            }
        }
        return [chosen.count, devices.count]
    }

    /// JSON knows no infinity: it goes as a word that every reader takes for the number.
    private func goldenError() throws -> Any? {
        guard let golden = source.golden else { return nil }
        var worst = 0.0
        for number in 0..<max(1, golden.inputs.count / max(1, inputs.count)) {
            let answer = try model.prediction(from: goldenFeatures(golden, inputs, number))
            let first = number * outputNames.count
            guard first + outputNames.count <= golden.outputs.count else {
                throw Refused(path: source.path, message: "its golden arrays do not make whole examples")
            }
            for (i, name) in outputNames.enumerated() {
                guard let output = answer.featureValue(for: name)?.multiArrayValue else {
                    throw Refused(path: source.path, message: "its output \(name) is no multi-array to compare")
                }
                worst = max(worst, try relativeError(output, golden.outputs[first + i]))
            }
        }
        return worst.isFinite ? worst : "Infinity"
    }
}

private func computeUnits(_ accelerator: String) throws -> MLComputeUnits {
    switch accelerator {
    case "cpu": return .cpuOnly
    case "gpu": return .cpuAndGPU
    case "ane": return .cpuAndNeuralEngine
    default: throw Damaged(reason: "accelerator \(accelerator) is not known to Core ML")
    }
}

private func randomFeatures(_ inputs: [MLFeatureDescription], _ seed: Int) throws -> MLFeatureProvider {
    var generator = SeededGenerator(seed: seed)
    var values: [String: Any] = [:]
    for input in inputs where !input.isOptional {
        values[input.name] = try randomFeature(input, &generator)
    }
    return try MLDictionaryFeatureProvider(dictionary: values)
}

/// Golden inputs of one example; with k inputs, each k arrays in a row are one example.
private func goldenFeatures(_ golden: Golden, _ inputs: [MLFeatureDescription], _ number: Int) throws
    -> MLFeatureProvider
{
    var values: [String: Any] = [:]
    for (i, input) in inputs.enumerated() {
        guard let constraint = input.multiArrayConstraint else {
            throw Damaged(reason: "input \(input.name) is no multi-array, and golden inputs are arrays")
        }
        let place = number * inputs.count + i
        guard place < golden.inputs.count else { throw Damaged(reason: "fewer golden arrays than inputs") }
        let tensor = golden.inputs[place]
        values[input.name] = MLFeatureValue(multiArray: try array(tensor.values(), tensor.shape, constraint.dataType))
    }
    return try MLDictionaryFeatureProvider(dictionary: values)
}

private func oneLine(_ error: Error) -> String {
    let text = (error as? Damaged)?.reason ?? error.localizedDescription
    return text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
}

/// The runner itself stays on the main thread, whose class of service is known; it has nothing else to do meanwhile.
@available(macOS 14.4, iOS 17.4, *)
private func loadPlan(_ url: URL, _ configuration: MLModelConfiguration) -> MLComputePlan? {
    final class Box { var plan: MLComputePlan? }
    let box = Box()
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        box.plan = try? await MLComputePlan.load(contentsOf: url, configuration: configuration)
        done.signal()
    }
    done.wait()
    return box.plan
}
