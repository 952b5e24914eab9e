"""BENCHMARKS.md, from the raw data below ``benchmarks/`` (``make benchmarks-page``).

Every committed file of raw data is on the page: in a table of its own, or in the list at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cache_sections
import comparison_sections
import compiler_sections
import endpoints_sections
import engine_sections
import gpu_sections
import ray_sections
import schedule_sections
import vllm_sections
from page_parts import Rows

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "benchmarks"
PAGE = ROOT / "BENCHMARKS.md"
SECTIONS = (
    *gpu_sections.SECTIONS,
    *vllm_sections.SECTIONS,
    *comparison_sections.SECTIONS,
    *engine_sections.SECTIONS,
    *endpoints_sections.SECTIONS,
    *ray_sections.SECTIONS,
    *cache_sections.SECTIONS,
    *schedule_sections.SECTIONS,
    *compiler_sections.SECTIONS,
)
HEAD = """\
# Benchmarks

Made by `make benchmarks-page` from the raw data in `benchmarks/`; not edited by hand. Each section says what was
expected, what was found and why they differ. Wall times were taken on two shared cores and are noisy; counts and hit
rates are exact. How each was measured stands in the README beside its data.
"""


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def raw_files() -> list[str]:
    """Files of raw data that git tracks, below ``benchmarks/``."""
    command = ["git", "ls-files", "-z", "--", "*.jsonl"]
    listed = subprocess.run(command, cwd=DATA, check=True, capture_output=True, text=True, timeout=60).stdout
    return sorted(name for name in listed.split("\0") if name)


def page() -> str:
    """The whole page; the same data give the same text."""
    parts = [HEAD]
    for section in SECTIONS:
        files = ", ".join(f"[{name}](benchmarks/{name})" for name in section.files)
        parts.append(
            f"## {section.title}\n\n`{section.command}`; raw data: {files}\n\n**Expected:** {section.expected}\n\n"
            f"**Found:**\n\n{section.body(*(read(DATA / name) for name in section.files))}\n\n**Why:** {section.why}\n"
        )
    named = {name for section in SECTIONS for name in section.files}
    others = [name for name in raw_files() if name not in named]
    if others:
        listed = "\n".join(f"- [{name}](benchmarks/{name})" for name in others)
        parts.append(f"## Raw data without a table here\n\nTheir README says what they hold.\n\n{listed}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("BENCHMARKS.md is not what the raw data say: make benchmarks-page")
