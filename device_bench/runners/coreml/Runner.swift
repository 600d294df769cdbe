// Times Core ML models: `runner JOB.json [PID_FILE]`.
//
// Runs on a Mac or in an iOS simulator, in a process of its own, so that its memory figures mean something. The last
// line of its output is the result: the sentinel, then one JSON object. A model that Core ML refuses is a result too:
// {"refused": {"path", "message"}}. Its figures have the form of those of litert_runner.py, and the models take turns
// as they do there.

import CoreML
import Foundation

let sentinel = "POCKETPRUNE-RESULT "
let minRounds = 10  // of turns, when several models are timed: a ratio's interval needs some

@main
enum Runner {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count == 2 || arguments.count == 3 else { fail("usage: runner JOB.json [PID_FILE]") }
        do {
            if arguments.count == 3 {  // whoever started us through simctl cannot see our process otherwise
                try String(getpid()).write(toFile: arguments[2], atomically: true, encoding: .utf8)
            }
            let job = try Job.read(arguments[1])
            alarm(UInt32(job.timeoutS.rounded(.up)) + 5)  // nobody may be left to kill us: end by ourselves
            askForFastCores()
            try say(run(job).json())
        } catch let refused as Refused {
            try? say(["refused": ["path": refused.path, "message": refused.message]])
        } catch {
            fail("\(error)")
        }
    }

    static func say(_ answer: [String: Any]) throws {
        let json = try JSONSerialization.data(withJSONObject: answer)
        print("\n" + sentinel + String(decoding: json, as: UTF8.self))
        fflush(stdout)
    }

    static func fail(_ message: String) -> Never {
        FileHandle.standardError.write(Data("\(message)\n".utf8))
        exit(1)
    }
}

struct Answer {
    let memoryBefore: Memory?
    let memoryAfter: Memory?
    let thermal: [String]
    let loopS: [Double]
    let models: [LoadedModel]
    let accelerator: String

    func json() throws -> [String: Any] {
        [
            "coreml_version": coreMLVersion() ?? NSNull(),
            "os": ProcessInfo.processInfo.operatingSystemVersionString,
            "translated": isTranslated(),
            "baseline_bytes": memoryBefore.map { $0.now } ?? NSNull(),
            "peak_bytes": memoryAfter.map { $0.peak } ?? NSNull(),
            "thermal_states": thermal,
            "loop_s": loopS,
            "models": try models.map { try $0.result() },
            "plans": models.map { $0.plan(accelerator) ?? NSNull() },
        ]
    }
}

func run(_ job: Job) throws -> Answer {
    let memoryBefore = Memory.read()
    let models = try job.models.map { try LoadedModel($0, accelerator: job.accelerator, seed: job.seed) }
    for model in models {
        try model.warmUp(job.warmupRuns)
    }
    let thermalBefore = thermalState()
    let started = nanoseconds()
    try timeModels(models, job)
    let ended = nanoseconds()
    return Answer(
        memoryBefore: memoryBefore,
        memoryAfter: Memory.read(),
        thermal: [thermalBefore, thermalState()],
        loopS: [Double(started) / 1e9, Double(ended) / 1e9],
        models: models,
        accelerator: job.accelerator
    )
}

/// One model in one go; several in turns, each round in a random order and the next in its reverse.
func timeModels(_ models: [LoadedModel], _ job: Job) throws {
    if models.count == 1 {
        try models[0].timeBlock(minRuns: job.timedRuns, minSeconds: job.minSeconds)
        return
    }
    let turns = models.map { turnLength($0.estimateS, job) }
    var generator = SeededGenerator(seed: job.seed)
    var order = Array(models.indices)
    var round = 0
    while round < minRounds || !models.allSatisfy({ $0.has(runs: job.timedRuns, seconds: job.minSeconds) }) {
        if round % 2 == 1 {
            order.reverse()
        } else {
            order.shuffle(using: &generator)
        }
        for i in order {
            try models[i].warmUp(1)  // the neighbour's turn has emptied the caches
            try models[i].timeBlock(minRuns: turns[i], minSeconds: 0)
        }
        round += 1
    }
}

/// Runs of one turn: `block_s` seconds of them, but few enough that `minRounds` rounds are not too many.
func turnLength(_ estimateS: Double, _ job: Job) -> Int {
    let wanted = max(Double(job.timedRuns), job.minSeconds / estimateS)
    return max(1, min(Int((job.blockS / estimateS).rounded(.up)), Int((wanted / Double(minRounds)).rounded(.up))))
}
