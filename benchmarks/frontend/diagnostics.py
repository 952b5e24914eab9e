"""Precision of the findings of ``charter inspect`` on public repositories.

    diagnostics.py run owner/name=FOLDER@COMMIT ... [-o benchmarks/frontend/diagnostics/findings.jsonl]
    diagnostics.py score [benchmarks/frontend/diagnostics/verdicts.jsonl]

``run`` inspects each folder and writes every finding as one JSON object a line, with the source lines around it, so
that it can be judged. What ``verdicts.jsonl`` holds already keeps its verdict; other findings have ``null``. ``score``
prints how many of the findings were judged true, by code and by repository.

A verdict is for one finding: repository, code, file and the text of its message, which stay when lines above it move.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from charter_compiler.analysis.checks import check
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.tokens.tokenizer import default_tokenizer

HERE = Path(__file__).parent / "diagnostics"
VERDICTS = HERE / "verdicts.jsonl"
AROUND = 3
"""Source lines that are shown before and after the first line of a finding."""


def findings(repo: str, commit: str, folder: Path) -> list[dict[str, Any]]:
    """Every finding of a checkout."""
    start = time.perf_counter()
    parsed = AgentASTParser().parse_paths([folder])
    found = check(parsed.agent, parsed.sources, default_tokenizer)
    took = time.perf_counter() - start
    sys.stderr.write(f"{repo}: {parsed.files} files, {len(parsed.calls)} calls, {len(found)} findings, {took:.1f} s\n")
    rows = []
    for each in found:
        lines = (folder / each.span.file).read_text(encoding="utf-8", errors="replace").split("\n")
        first = max(0, each.span.line - 1 - AROUND)
        rows.append(
            {
                "repo": repo,
                "commit": commit,
                "code": each.code,
                "file": each.span.file,
                "line": each.span.line,
                "message": each.message,
                "tokens": each.tokens,
                "source": "\n".join(lines[first : each.span.line + AROUND]),
            }
        )
    return rows


def key(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["repo"], row["code"], row["file"], row["message"]


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def score(rows: Iterable[dict[str, Any]]) -> str:
    """A table: findings judged true, of all that were judged, by code and by repository."""
    rows = list(rows)
    lines = []
    for title, field in (("code", "code"), ("repository", "repo")):
        counts: dict[str, list[bool]] = defaultdict(list)
        for row in rows:
            if row["verdict"] is not None:
                counts[row[field]].append(row["verdict"])
        lines += [f"| {title} | true | of | precision |", "|---|---|---|---|"]
        lines += [f"| {name} | {sum(c)} | {len(c)} | {sum(c) / len(c):.2f} |" for name, c in sorted(counts.items())]
        lines.append("")
    judged = [row["verdict"] for row in rows if row["verdict"] is not None]
    missing = len(rows) - len(judged)
    rate = f"{sum(judged) / len(judged):.3f}" if judged else "none judged"
    lines.append(f"true: {sum(judged)} of {len(judged)}, precision {rate}; without a verdict: {missing}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="inspect checkouts")
    run.add_argument("checkouts", nargs="+", metavar="OWNER/NAME=FOLDER@COMMIT")
    run.add_argument("-o", "--output", type=Path, default=HERE / "findings.jsonl")
    run.add_argument("--verdicts", type=Path, default=VERDICTS)
    scored = commands.add_parser("score", help="print the precision")
    scored.add_argument("verdicts", nargs="?", type=Path, default=VERDICTS)
    args = parser.parse_args(arguments)
    if args.command == "score":
        print(score(load(args.verdicts)))
        return 0
    known = {key(row): row for row in load(args.verdicts)}
    rows = []
    for checkout in args.checkouts:
        repo, _, rest = checkout.partition("=")
        folder, _, commit = rest.rpartition("@")
        for row in findings(repo, commit, Path(folder)):
            verdict = known.get(key(row), {})
            rows.append({**row, "verdict": verdict.get("verdict"), "reason": verdict.get("reason")})
    args.output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(score(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
