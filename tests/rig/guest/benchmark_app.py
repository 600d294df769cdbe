"""A stand-in for the official benchmark app: it is not that app.

It runs the network as the stand-in for `benchmark_model` does, and says its lines where an Android app says them: in
the log, each message cut at 1023 bytes. When it is done it stays, as an app's process does. Which build it plays and
what goes wrong is read from beside its APK; `dies` is Android taking its memory back.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
from typing import NoReturn

import benchmark_model
from apps import APK, LOG

PRIORITIES = {"INFO": "I", "VERBOSE": "V", "WARN": "W", "ERROR": "E", "FATAL": "E"}
MAX_BYTES = 1023


class Refused(Exception):
    pass


def log(priority: str, tag: str, message: str) -> None:
    text = message.encode()[:MAX_BYTES].decode(errors="ignore")
    entry = json.dumps([time.time(), os.getpid(), priority, tag, text]) + "\n"
    with open(LOG, "a") as file:
        file.write(entry)


class ToLog(io.TextIOBase):
    """What is printed, a line a message."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            word, colon, rest = line.partition(": ")
            known = bool(colon) and word in PRIORITIES
            if line:
                log(PRIORITIES.get(word, "I") if known else "I", "tflite", rest if known else line)
        return len(text)


class App(benchmark_model.Tool):
    def info(self, text: str) -> None:
        log("I", "tflite", text.strip("\n"))

    def fail(self, text: str) -> NoReturn:
        log("E", "tflite", text)
        raise Refused

    def abort(self, text: str) -> NoReturn:
        log("E", "tflite", text)
        self.crash(signal.SIGABRT)

    def crash(self, number: signal.Signals) -> NoReturn:
        who = f"{os.getpid()} (w.lite.benchmark)"
        log("F", "libc", f"Fatal signal {number.value} ({number.name}), code 1, fault addr 0x0 in tid {who}, pid {who}")
        os.kill(os.getpid(), number)
        os._exit(1)

    def go_wrong(self) -> None:
        if self.fault == "segv":
            self.crash(signal.SIGSEGV)
        if self.fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        super().go_wrong()


def main() -> None:
    plays = json.loads(APK.with_name("plays.json").read_text())
    sys.stdout = sys.stderr = ToLog()
    log("I", "tflite_BenchmarkModelActivity", f"Running TensorFlow Lite benchmark with args: {sys.argv[1]}")
    flags, unknown = benchmark_model.parse_flags(benchmark_model.FLAGS[plays["build"]], sys.argv[1].split())
    app = App(plays["build"], plays["fault"], flags)
    if unknown:
        log("W", "tflite", "Unconsumed cmdline flags: " + " ".join(unknown))
    with contextlib.suppress(Refused):
        app.run()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
