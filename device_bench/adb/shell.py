"""Command lines for a device's shell, and how a command's exit status, stdout and stderr come back over one stream.

Quoting happens here and nowhere else. What is written here must mean the same to dash, bash, mksh (Android's sh) and
BusyBox. adb's first shell protocol, which every adbd speaks, gives one stream of bytes and no exit status; so a
command is wrapped in a line that prints its stdout as it comes, then a marker, then the end of its stderr and its exit
status. No file is written for it: a device's storage may be full.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from device_bench.errors import TransientDeviceError, UsageError
from device_bench.records import Record

MAX_LINE_BYTES = 60_000
"""Of a wrapped command; an adb server takes 65,535 (its length is four hexadecimal digits)."""
MAX_STDERR_BYTES = 65_536
CALL_VARIABLE = "POCKETPRUNE_CALL"

# Undecodable bytes of a file name stand in Python's text as lone surrogates (PEP 383).
_RAW_BYTES = re.compile("[\udc80-\udcff]+")

_WRAPPER = (
    "exec 3>&1 2>/dev/null; export {variable}={call}; "
    "err=$({{ ( {command} ) 2>&1 >&3 3>&- </dev/null; printf '\\n%s' $?; }} | tail -c {limit}); "
    "printf '\\n%s%s\\n%s\\n' {left} {right} \"$err\""
)


class RawFinished(Record):
    """A command that ended; of stderr the end, without NUL bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def quote(text: str) -> str:
    """One word of a command line that stands for `text`, whatever is in it.

    `shlex.quote` will not do: it leaves `A=b` and `if` bare, which as a first word are an assignment and a keyword.

    Raises:
        UsageError: the text has a NUL byte, which no argument can hold, or half a character.
    """
    if "\0" in text:
        raise UsageError(f"{text!r}: a NUL byte cannot be in an argument of a command; remove it")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"{text!r}: half a character (a lone surrogate) cannot be sent; remove it") from error
    # The command line travels as UTF-8; a byte that is none is printed by the device's shell itself.
    return "'" + _RAW_BYTES.sub(_printed, text.replace("'", "'\"'\"'")) + "'"


def _printed(match: re.Match[str]) -> str:
    octal = "".join(f"\\{byte:03o}" for byte in match.group().encode("utf-8", "surrogateescape"))
    return f"'\"$(printf '{octal}')\"'"


def command_line(argv: Sequence[str]) -> str:
    if not argv:
        raise UsageError("an empty list is no command; its first item is the program")
    return " ".join(map(quote, argv))


class Call:
    """One command on its way: the line to send, and what to make of the bytes that come back.

    Everything that the command starts carries `variable` in its environment, by which it can be found and killed.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        call = secrets.token_hex(8)
        # The halves are apart in the line: a listing of processes, which shows it, does not hold the marker.
        left, right = secrets.token_hex(8), secrets.token_hex(8)
        self.variable = f"{CALL_VARIABLE}={call}"
        self._marker = f"\n{left}{right}\n".encode()
        self.line = _WRAPPER.format(
            variable=CALL_VARIABLE,
            call=call,
            command=command_line(argv),
            limit=MAX_STDERR_BYTES,
            left=left,
            right=right,
        )
        n_bytes = len(self.line.encode())
        if n_bytes > MAX_LINE_BYTES:
            raise UsageError(
                f"{argv[0]}: its command line takes {n_bytes} bytes and at most {MAX_LINE_BYTES} can be sent; "
                "hand large arguments over in a file"
            )

    def finish(self, output: bytes) -> RawFinished:
        """Take the parts of the output apart.

        Raises:
            TransientDeviceError: the end is missing, so the link or the shell went away in the middle.
        """
        stdout, marker, end = output.rpartition(self._marker)
        stderr, newline, status = end.removesuffix(b"\n").rpartition(b"\n")
        if not marker or not newline or not re.fullmatch(rb"[0-9]{1,3}", status):
            raise TransientDeviceError("the device's answer ends in the middle: link broken, or shell killed")
        return RawFinished(exit_code=int(status), stdout=stdout, stderr=stderr)
