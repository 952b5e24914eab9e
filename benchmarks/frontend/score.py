"""How well the front end finds what people labelled: call sites, prompt constants, dependences, loops.

    python benchmarks/frontend/score.py --repos DIR LABELS.json [...] [--misses] [--json OUT]

The form of ``LABELS.json`` is described in ``README.md`` beside this script; ``DIR`` holds a checkout of each labelled
repository at the labelled commit, named ``owner+name``. The whole repository is inspected (``charter inspect --format
json`` in a process of its own), and what it says of the labelled files is compared:

* call sites: recall and precision by file and line, over root and wrapper calls together;
* prompt constants: the share of labelled literals whose text stands in a ``const`` segment of that call. A literal is
  labelled as it is written; where it is a template, its replacement fields are not in the prompt, and its constant
  pieces must be; white space is folded, since ``dedent`` and docstrings change it. ``exact`` counts those that stand
  there letter for letter;
* edges: F1 over (call, earlier call of the same function) pairs between calls that are labelled and found; an edge that
  only the next turn of a loop carries (to the same or a later line) is not scored, as the labels have none;
* loops: the share of found calls whose ``in_loop`` is the labelled one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Place = tuple[str, int]
FIELD = re.compile(r"\{\{|\}\}|\{[^{}]*\}?|%\([^)]*\)[a-z]|%[sdrf]|\$\{?\w+\}?")
"""A replacement field in a template, or an escaped brace."""
PIECE = 8
"""Characters of a constant piece between fields that count."""


@dataclass
class Score:
    """Counts of one repository, or of several."""

    repo: str
    labelled: int = 0
    found: int = 0
    reported: int = 0
    constants: int = 0
    constants_found: int = 0
    constants_exact: int = 0
    edges: int = 0
    edges_found: int = 0
    edges_reported: int = 0
    loops_right: int = 0
    misses: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        for name, value in vars(other).items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)

    def row(self) -> dict[str, float | str | int]:
        edge_recall = self.edges_found / self.edges if self.edges else 1.0
        edge_precision = self.edges_found / self.edges_reported if self.edges_reported else 1.0
        both = edge_recall + edge_precision
        return {
            "repo": self.repo,
            "calls": self.labelled,
            "recall": self.found / self.labelled if self.labelled else 1.0,
            "precision": self.found / self.reported if self.reported else 1.0,
            "constants": self.constants_found / self.constants if self.constants else 1.0,
            "exact": self.constants_exact / self.constants if self.constants else 1.0,
            "edges_f1": 2 * edge_recall * edge_precision / both if both else 0.0,
            "in_loop": self.loops_right / self.found if self.found else 1.0,
        }


def inspect(folder: Path) -> dict[str, Any]:
    """What ``charter inspect`` says of a folder."""
    command = [sys.executable, "-m", "charter_compiler.cli.main", "inspect", str(folder), "--format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(result.stdout))


def texts(segments: list[dict[str, Any]]) -> Iterator[str]:
    """The constant texts of the segments, whatever they stand in."""
    for segment in segments:
        if segment["type"] == "const":
            yield segment["text"]
        for inner in [segment.get("segments", []), *segment.get("options", [])]:
            yield from texts(inner)


def pieces(constant: str) -> list[str]:
    """The parts of a template between its replacement fields."""
    return [piece for piece in FIELD.split(constant) if len(piece.strip()) >= PIECE]


def _found(constant: str, text: list[str]) -> bool:
    """Whether the constant pieces stand in the texts, white space aside: ``dedent`` and ``cleandoc`` change it."""
    parts = [" ".join(part.split()) for part in pieces(constant)]
    folded = [" ".join(each.split()) for each in text]
    return bool(parts) and all(any(part in each for each in folded) for part in parts)


def score(labels: dict[str, Any], inspected: dict[str, Any], name: str) -> Score:
    """Compare the labels of a repository with what was found."""
    result = Score(name)
    files = set(labels["files"])
    wanted: dict[Place, list[dict[str, Any]]] = {}
    for label in labels["calls"]:
        wanted.setdefault((label["file"], label["line"]), []).append(label)
    got: dict[Place, list[dict[str, Any]]] = {}
    for call in inspected["calls"]:
        if call["file"] in files:
            got.setdefault((call["file"], call["line"]), []).append(call)
    result.labelled = len(labels["calls"])
    result.reported = sum(len(calls) for calls in got.values())
    where = {call["id"]: (call["file"], call["line"], call["function"]) for call in inspected["calls"]}
    edges: set[tuple[str, int, int]] = set()
    reported: set[tuple[str, int, int]] = set()
    for place, here in wanted.items():
        calls = got.get(place, [])
        result.found += min(len(here), len(calls))
        if len(calls) < len(here):
            result.misses.append(f"not found: {place[0]}:{place[1]} ({here[0]['kind']})")
        for label in here:
            edges.update((place[0], place[1], line) for line in label["depends_on"] if line != place[1])
        text = [each for call in calls for message in call["messages"] for each in texts(message["segments"])]
        for constant in dict.fromkeys(each for label in here for each in label["prompt_constants"]):
            result.constants += 1
            exact = any(constant in each for each in text) or constant in "".join(text)
            result.constants_exact += exact
            if exact or _found(constant, text):
                result.constants_found += 1
            elif calls:
                result.misses.append(f"constant: {place[0]}:{place[1]} {constant!r}")
        for label, call in zip(here, calls, strict=False):
            right = label["in_loop"] == call["in_loop"]
            result.loops_right += right
            if not right:
                result.misses.append(f"in_loop: {place[0]}:{place[1]} should be {label['in_loop']}")
        for call in calls:
            for dependency in call["depends_on"]:
                file, line, function = where[dependency]
                if file == place[0] and function == call["function"] and line < place[1]:
                    reported.add((place[0], place[1], line))
    spare = Counter({place: len(calls) - len(wanted.get(place, [])) for place, calls in got.items()})
    for place, count in spare.items():
        if count > 0:
            call = got[place][0]
            result.misses.append(f"not labelled: {place[0]}:{place[1]} ({call['kind']} {call['callee'][:60]})")
    reported = {edge for edge in reported if (edge[0], edge[2]) in wanted}
    result.edges, result.edges_found, result.edges_reported = len(edges), len(edges & reported), len(reported)
    result.misses.extend(f"edge missed: {file}:{line} <- {by}" for file, line, by in sorted(edges - reported))
    result.misses.extend(f"edge not labelled: {file}:{line} <- {by}" for file, line, by in sorted(reported - edges))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--repos", type=Path, required=True, help="folder of checkouts named owner+name")
    parser.add_argument("--misses", action="store_true", help="list every difference")
    parser.add_argument("--json", type=Path, help="write the rows and every difference as JSON lines")
    args = parser.parse_args()
    total = Score("all")
    scores: list[Score] = []
    for path in args.labels:
        labels = json.loads(path.read_text(encoding="utf-8"))
        name = labels["repo"]
        one = score(labels, inspect(args.repos / name.replace("/", "+")), name)
        scores.append(one)
        total.add(one)
    columns = ["calls", "recall", "precision", "constants", "exact", "edges_f1", "in_loop"]
    print(f"{'repository':42}" + "".join(f"{column:>11}" for column in columns))
    for one in [*scores, total]:
        row = one.row()
        shown = (f"{row[column]:>11.3f}" if column != "calls" else f"{row[column]:>11}" for column in columns)
        print(f"{one.repo:42}" + "".join(shown))
        if args.misses:
            print("".join(f"    {miss}\n" for miss in one.misses), end="")
    if args.json:
        with args.json.open("w", encoding="utf-8") as out:
            for one in [*scores, total]:
                out.write(json.dumps({**one.row(), "counts": asdict(one)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
