"""The section on linters and routers of the Python index."""

from __future__ import annotations

from page_parts import Rows, Section, table


def peers(rows: Rows) -> str:
    """Linters and routers of the Python index."""
    facts, *found = rows
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    head = ("peer", "on", "files", "files with findings", "findings", "rules")
    lines = [
        (row["peer"], row["what"], row.get("files", ""), row.get("files_with_findings", ""), row.get("findings", ""),
         row.get("error") or (f"runs ({row['version']})" if row.get("runs") else ", ".join(row.get("rules", ()))))
        for row in found
    ]  # fmt: skip
    return f"{versions}.\n\n{table(head, lines)}"


SECTIONS = (
    Section(
        "Peers on the same files",
        "make bench-peers",
        ("peers/results.jsonl",),
        "each peer runs on the files that Charter reads; one that cannot is named with the reason",
        peers,
        "*Bad* and *good* are the examples on the pages of Charter's own findings, so that the counts favour Charter: "
        "pcdlint looks for other things (values of the clock, JSON with unsorted keys). sglang-router reads no files: "
        "how it places calls is [a section of its own](#sglang-router-before-the-same-replicas). So are the order of "
        "tables beside GGR, and the cache model beside vLLM's own manager.",
    ),
)
