"""Peers from the Python index on the same files, in an environment of their own; what does not run is a row too.

    python benchmarks/peers/measure.py -o benchmarks/peers/results.jsonl --python .venv-tools/bin/python

`make bench-peers` sets the environment up. How sglang-router places calls is `routing.py`'s.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charter_compiler.bench.conditions import conditions

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ROOT / "examples" / "agents"
PAGES = ROOT / "docs" / "diagnostics"
CODE = re.compile(r"```python\n(.*?)```", re.S)
LIMIT = 120


def write_snippets(folder: Path) -> None:
    """Of each page of a finding the first example, which has it, and the second, which has not."""
    for page in sorted(PAGES.glob("CH*.md")):
        bad, good = CODE.findall(page.read_text(encoding="utf-8"))[:2]
        for kind, text in (("bad", bad), ("good", good)):
            (folder / kind).mkdir(exist_ok=True)
            (folder / kind / f"{page.stem.lower()}.py").write_text(text, encoding="utf-8")


def output(*command: str | Path) -> str:
    """What a program prints; findings are no failure.

    Raises:
        RuntimeError: it does not run, with the last line that it printed.
    """
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LIMIT, check=False)
    if run.returncode not in (0, 1) or (run.returncode and not run.stdout):
        last = (run.stderr.strip() or f"exit status {run.returncode}").splitlines()[-1]
        raise RuntimeError(last.removeprefix(f"{command[0]}: "))  # no path of this machine in the results
    return run.stdout


def pcdlint(python: Path, folder: Path) -> list[tuple[str, str]]:
    """Files and rules of its findings."""
    found = json.loads(output(python.parent / "pcdlint", "--format", "json", folder))
    return [(Path(each["file_path"]).name, str(each["rule_id"])) for each in found]


def charter(folder: Path) -> list[tuple[str, str]]:
    """The same of `charter inspect`."""
    text = output(sys.executable, "-m", "charter_compiler.cli.main", "inspect", folder, "--format", "json")
    return [(Path(each["file"]).name, each["code"]) for each in json.loads(text)["diagnostics"]]


def linters(python: Path) -> Iterator[dict[str, Any]]:
    """Findings on the example agents, and on the pages' examples with a finding and without."""
    with tempfile.TemporaryDirectory() as name:
        write_snippets(Path(name))
        for what, folder in (("example agents", AGENTS), *((kind, Path(name) / kind) for kind in ("bad", "good"))):
            for peer, find in (("pcdlint", lambda folder=folder: pcdlint(python, folder)),
                               ("charter inspect", lambda folder=folder: charter(folder))):  # fmt: skip
                row = {"peer": peer, "what": what, "files": len(list(folder.glob("*.py")))}
                try:
                    found = find()
                except (OSError, RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
                    yield row | {"error": f"{type(error).__name__}: {error}"}
                else:
                    yield row | {"findings": len(found), "files_with_findings": len({file for file, _ in found}),
                                 "rules": sorted({rule for _, rule in found})}  # fmt: skip


def router(python: Path) -> dict[str, Any]:
    """Whether `sglang-router` starts here at all."""
    row = {"peer": "sglang-router", "what": "its launcher, --help", "version": versions(python).get("sglang-router")}
    try:
        output(python, "-m", "sglang_router.launch_router", "--help")
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        return row | {"error": f"{type(error).__name__}: {error}"}
    return row | {"runs": True}


def versions(python: Path) -> dict[str, str]:
    listed = json.loads(output(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    return {each["name"]: each["version"] for each in listed if each["name"] in ("pcdlint", "sglang-router")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, help="of the environment with the peers")
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as file:
        facts = conditions(seed=0, engine=None) | {"versions": versions(args.python)}
        for row in (facts, *linters(args.python), router(args.python)):
            print(json.dumps(row), file=file, flush=True)
            print(json.dumps(row)[:300], file=sys.stderr)


if __name__ == "__main__":
    main()
