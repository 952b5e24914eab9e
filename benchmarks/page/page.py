"""BENCHMARKS.md, from the raw data below ``benchmarks/`` (``make benchmarks-page``).

The summary comes first: each section brings its own lines of it. Every committed file of raw data is on the page: in a
table of its own, or in the list at the end.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator

import cache_sections
import cluster_sections
import comparison_sections
import compiler_sections
import deployment_sections
import engine_sections
import front_end_sections
import gpu_sections
import peer_sections
import prediction_sections
import routing_sections
import run_sections
import simulated_sections
import vllm_sections
from page_conditions import conditions
from page_parts import DATA, Part, Rows, Section, raw_files, table

from charter_compiler.bench.arms import ALL_ARMS

PAGE = DATA.parent / "BENCHMARKS.md"
PARTS = (
    Part(
        "Charter beside its baselines",
        (*comparison_sections.SECTIONS, *vllm_sections.SECTIONS, *simulated_sections.SECTIONS),
    ),
    Part(
        "Prediction, cache model and engine",
        (*prediction_sections.SECTIONS, *cache_sections.SECTIONS, *engine_sections.SECTIONS),
    ),
    Part(
        "Runs on one server and on several",
        (*run_sections.SECTIONS, *cluster_sections.SECTIONS, *routing_sections.SECTIONS),
    ),
    Part("The compiler", (*front_end_sections.SECTIONS, *compiler_sections.SECTIONS, *peer_sections.SECTIONS)),
    Part("One GPU, with random weights", gpu_sections.SECTIONS),
    Part("Deployment and long runs", deployment_sections.SECTIONS),
)
HEAD = """\
# Benchmarks

Made by `make benchmarks-page` from the raw data in `benchmarks/`; not edited by hand: every figure of the summary and
of the tables is computed from them. What stands under *Expected* and *Why* is written.

Wall times were taken on shared cores while other work ran there and are noisy; ratios of runs side by side are less
so; counts and hit rates are exact. How each was measured stands in the README beside its data.

Commits in the rows are those of the working branches that ran; branches were rebased before they came in, so git may
not find a commit by that name: what ran is the code that came in with the raw data.
"""
TERMS = """\
- **Hit rate**: prompt tokens that the engine took from its KV cache, over all prompt tokens. **Attainable**: the hit
  rate of a cache that never evicts, for the prompts that this arm sent. *Of the attainable*: one over the other.
- **Strongest plain setting**: the agent as written, with the concurrency that a search found to be fastest.
- **Bound**: the seconds that the items would take with all repeated prefill gone and decoding as it is; computed from
  `no-cache`, `prefill` and Charter's attainable hit rate ([how](docs/bench.md)). *Of the gain that the bound allows*:
  time that Charter saves beside the agent as written, over the time that the bound saves. It may be above 100%.
- **TTFT**: time to first token, as the agent waited, queueing included. **Prefill**: computing the prompt. **Block**:
  the unit of the KV cache, so many tokens. **Peak blocks**: KV blocks that running requests held at once.
  **In flight**: items that run at once. **LRU** evicts what was used longest ago; **Belady** knows the future and is
  the best that eviction can do.
- **Round**: every arm once, one after the other; ratios are of one round. Figures are medians over the rounds, with
  the least and the most in brackets. **Load average** far above the number of cores: other work ran too.
- **Simulated**: the engine's own scheduler and cache model in place of a server; hit rates, and no times.
- The summary judges by the median of the rounds, and by the worst case where a target holds for several cases.
  *Reached where measured*: of some cases no raw row can tell. *Not measured*: of none."""


def read(name: str) -> Rows:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def anchor(title: str) -> str:
    """Where GitHub puts a heading."""
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def page() -> str:
    """The whole page; the same data give the same text."""
    data = {name: read(name) for part in PARTS for section in part.sections for name in section.files}
    parts = [
        HEAD,
        f"## Summary\n\n{summary(data)}\n",
        f"## Not timed\n\n{comparison_sections.not_timed(data)}\n",
        f"## Contents\n\n{contents()}\n",
        f"## How to read\n\n{terms()}\n",
    ]
    for part in PARTS:
        if part.sections:
            parts += [f"## {part.title}\n", *(shown(section, data) for section in part.sections)]
    others = [name for name in raw_files() if name not in data]
    if others:
        listed = "\n".join(f"- [{name}](benchmarks/{name})" for name in others)
        parts.append(f"## Raw data without a table here\n\nTheir README says what they hold.\n\n{listed}\n")
    return "\n".join(parts)


def summary(data: dict[str, Rows]) -> str:
    """A table a part, with a line a target, under a line that counts them."""
    counted: Counter[str] = Counter()
    tables = []
    for part in PARTS:
        lines = []
        for section in part.sections:
            link = f"[{section.title}]({anchor(section.title)})"
            for target in section.targets(*(data[name] for name in section.files)):
                counted[target.verdict] += 1
                lines.append((target.what, target.verdict, target.measured, target.wanted, link))
        if lines:
            tables.append(f"**{part.title}**\n\n{table(('what', 'verdict', 'measured', 'target', 'section'), lines)}")
    verdicts = ", ".join(f"{number} {verdict.strip('*')}" for verdict, number in counted.most_common())
    said = f"{counted.total()} targets: {verdicts}. The section of each has the figures behind it, and the reasons."
    return "\n\n".join([said, *tables])


def contents() -> str:
    lines = []
    for part in PARTS:
        if part.sections:
            lines.append(f"- [{part.title}]({anchor(part.title)})")
            lines += [f"  - [{section.title}]({anchor(section.title)})" for section in part.sections]
    return "\n".join(lines)


def terms() -> str:
    arms = ", ".join(f"`{arm.name}` ({arm.label})" for arm in ALL_ARMS)
    return f"- **Arm**: a way to run a workload: {arms}.\n{TERMS}"


def shown(section: Section, data: dict[str, Rows]) -> str:
    files = [data[name] for name in section.files]
    return "\n\n".join(_paragraphs(section, files)) + "\n"


def _paragraphs(section: Section, files: list[Rows]) -> Iterator[str]:
    yield f"### {section.title}"
    raw = ", ".join(f"[{name}](benchmarks/{name})" for name in section.files)
    yield f"`{section.command}`; raw data: {raw}. Measured: {conditions(files)}."
    if section.expected:
        yield f"**Expected:** {section.expected}"
    yield f"**Found:**\n\n{section.body(*files)}"
    if section.why:
        yield f"**Why:** {section.why}"


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("BENCHMARKS.md is not what the raw data say: make benchmarks-page")
