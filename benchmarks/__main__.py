"""Runs the benchmarks: every file of this folder that can be run is one, and its name is the file's.

    python -m benchmarks                       all of them
    python -m benchmarks --only NAME [NAME..]  some
    python -m benchmarks NAME [ARGUMENT ...]   one, with its own arguments
    python -m benchmarks --list                the names, each with its first line

Each runs in a process of its own, so that no benchmark's threads or memory weigh on the next one.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def known() -> dict[str, str]:
    """Names of the benchmarks, each with the first line of its docstring; nothing is imported."""
    names = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        runs = any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)
        if runs and not path.name.startswith("_"):
            names[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return names


def run(name: str, arguments: list[str]) -> int:
    print(f"== {name} {' '.join(arguments)}".rstrip(), flush=True)
    start = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    code = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
    outcome = "done" if code == 0 else f"FAILED with exit code {code}"
    print(f"== {name}: {outcome} in {time.perf_counter() - start:.0f} s\n", flush=True)
    return code


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these, not all")
    parser.add_argument("one", nargs=argparse.REMAINDER, metavar="NAME [ARGUMENT ...]", help="one, with its arguments")
    options = parser.parse_args(argv)
    names = known()
    if options.list:
        for name, summary in names.items():
            print(f"{name:16} {summary}")
        return 0
    chosen = options.one[:1] or options.only or list(names)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(names) or 'none'}", file=sys.stderr)
        return 2
    codes = [run(name, options.one[1:]) for name in chosen]
    return max(codes, key=abs, default=0) and 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
