"""How long the front end takes for whole repositories, beside ``ast.parse`` over the same files.

    python benchmarks/frontend/speed.py CHECKOUT [CHECKOUT ...] [--repeat N] [--json OUT]

For each checkout, in one process and in turn, ``--repeat`` times: read and ``ast.parse`` every Python file, then
``AgentASTParser().parse_paths``, which reads and parses them too. The minimum of each counts, and their ratio. Memory
is the peak of a process of its own. With ``--halves`` the same for half and a quarter of the files, to see the growth.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.parser.files import python_files, read_source


def parse_all(files: list[Path]) -> int:
    """Parse the files as Python does; returns how many could be."""
    done = 0
    for file in files:
        try:
            ast.parse(read_source(file))
            done += 1
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return done


def measure(folder: Path, repeat: int) -> dict[str, object]:
    """Seconds of both, the best of ``repeat`` in turn."""
    files = [path for path, _ in python_files([folder])]
    plain: list[float] = []
    front: list[float] = []
    calls = failed = 0
    for _ in range(repeat):
        start = time.perf_counter()
        parse_all(files)
        plain.append(time.perf_counter() - start)
        start = time.perf_counter()
        parsed = AgentASTParser().parse_paths([folder])
        front.append(time.perf_counter() - start)
        calls, failed = len(parsed.calls), len(parsed.failed)
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    return {
        "repository": folder.name,
        "files": len(files),
        "lines": lines,
        "calls": calls,
        "failed": failed,
        "ast_parse_s": round(min(plain), 4),
        "front_end_s": round(min(front), 4),
        "ratio": round(min(front) / min(plain), 2),
        "peak_mib": peak(folder),
    }


def peak(folder: Path) -> int:
    """Peak memory of a process that does nothing else, in MiB."""
    # VmHWM begins anew with the program; ru_maxrss would begin with that of this process.
    code = (
        "import sys;from charter_compiler.parser.ast_parser import AgentASTParser;"
        "AgentASTParser().parse_paths([sys.argv[1]]);"
        "print(next(int(l.split()[1])//1024 for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return int(result.stdout)


def part(folder: Path, share: int, into: Path) -> Path:
    """A copy of every ``share``-th file, under its name."""
    target = into / f"{folder.name}-1-of-{share}"
    for index, (path, label) in enumerate(python_files([folder])):
        if index % share == 0:
            copy = target / label
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--halves", action="store_true", help="also half and a quarter of the files of each")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = list(args.checkouts)
        if args.halves:
            folders = [
                each for one in folders for each in (part(one, 4, Path(scratch)), part(one, 2, Path(scratch)), one)
            ]
        for folder in folders:
            row = measure(folder, args.repeat)
            rows.append(row)
            print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    if args.json:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "platform": platform.platform()}
        with args.json.open("w", encoding="utf-8") as out:
            for row in rows:
                out.write(json.dumps({**row, **machine}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
