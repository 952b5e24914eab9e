"""The five patterns: found where they are, not found where they are not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from charter_compiler.analysis.pattern_detector import DETECTORS, SequencePatternDetector
from charter_compiler.analysis.patterns import Pattern, PatternKind
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.parser.ast_parser import AgentASTParser

RULES = "RULES = 'You answer briefly, and only from the text.'\n"
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "agents"


def patterns(source: str, kind: PatternKind | None = None) -> list[Pattern]:
    parsed = AgentASTParser().parse_source(RULES + textwrap.dedent(source), "a.py")
    found = SequencePatternDetector().detect(DAGBuilder().build_from_calls(parsed.calls))
    return [pattern for pattern in found if kind is None or pattern.kind is kind]


def numbers(pattern: Pattern) -> list[int]:
    return [int(node.rpartition("#")[2]) for node in pattern.nodes]


CASES = {
    "two prompts begin alike": (
        """
        def run(llm, a, b):
            llm.generate(f"{RULES} First: {a}")
            llm.generate(f"{RULES} Second: {b}")
            llm.generate(f"Something else entirely: {a}")
        """,
        PatternKind.SHARED_PREFIX,
        [[1, 2]],
    ),
    "a few words do not count": (
        """
        def run(llm, a, b):
            llm.generate(f"Sum up {a}")
            llm.generate(f"Sum up {b}")
        """,
        PatternKind.SHARED_PREFIX,
        [],
    ),
    "the role must be the same": (
        """
        def run(llm, a):
            llm.chat([{"role": "system", "content": RULES}])
            llm.chat([{"role": "user", "content": RULES}])
        """,
        PatternKind.SHARED_PREFIX,
        [],
    ),
    "a chain": (
        """
        def run(llm, a):
            one = llm.generate(a)
            two = llm.generate(f"{one} {a}")
            llm.generate(f"{one} {two}")
            llm.generate("alone")
        """,
        PatternKind.SEQUENTIAL_CHAIN,
        [[1, 2, 3]],
    ),
    "a branching is no chain": (
        """
        def run(llm, a):
            one = llm.generate(a)
            llm.generate(f"x {one}")
            llm.generate(f"y {one}")
        """,
        PatternKind.SEQUENTIAL_CHAIN,
        [],
    ),
    "a branching": (
        """
        def run(llm, a):
            one = llm.generate(a)
            two = llm.generate(f"x {one}")
            three = llm.generate(f"y {one}")
            llm.generate(f"{one} {two} {three}")
        """,
        PatternKind.BRANCHING,
        [[1, 2, 3]],
    ),
    "calls that wait for each other do not branch": (
        """
        def run(llm, a):
            one = llm.generate(a)
            two = llm.generate(f"x {one}")
            llm.generate(f"{one} {two}")
        """,
        PatternKind.BRANCHING,
        [],
    ),
    "a whole prompt that does not change in the loop": (
        """
        def run(llm, a, docs):
            for doc in docs:
                llm.generate(f"Who wrote {a}?")
        """,
        PatternKind.LOOP_INVARIANT,
        [[1]],
    ),
    "a beginning that does not change in the loop": (
        """
        def run(llm, a, docs):
            note = llm.generate(a)
            for doc in docs:
                llm.generate(f"{RULES} {note} {doc}")
        """,
        PatternKind.LOOP_INVARIANT,
        [[2]],
    ),
    "what varies stands first": (
        """
        def run(llm, docs):
            for doc in docs:
                llm.generate(f"{doc} {RULES}")
        """,
        PatternKind.LOOP_INVARIANT,
        [],
    ),
    "a result of the same loop varies": (
        """
        def run(llm, docs):
            for doc in docs:
                note = llm.generate(doc)
                llm.generate(note)
        """,
        PatternKind.LOOP_INVARIANT,
        [],
    ),
    "a long template": (
        """
        def run(llm, a):
            llm.generate(a + RULES * 40)
            llm.generate(f"{a} {RULES}")
        """,
        PatternKind.DELTA_MATCHING,
        [[1]],
    ),
    "a template with a result in it differs by more": (
        """
        def run(llm, a):
            one = llm.generate(a)
            llm.generate(RULES * 40 + one)
        """,
        PatternKind.DELTA_MATCHING,
        [],
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_pattern(title: str) -> None:
    source, kind, expected = CASES[title]
    found = patterns(source, kind)
    assert [numbers(pattern) for pattern in found] == expected
    assert all(pattern.evidence and pattern.description for pattern in found)


def test_one_detector_for_each_kind() -> None:
    assert len(DETECTORS) == len(PatternKind)


def test_the_examples() -> None:
    given = ("delta_processor.py", "document_processor.py", "report_analyst.py")
    parsed = AgentASTParser().parse_paths([EXAMPLES / name for name in given])
    found = SequencePatternDetector().detect(DAGBuilder().build_from_calls(parsed.calls))
    names = [(str(each.kind), [node.rpartition(".")[2] for node in each.nodes]) for each in found]
    assert names == [
        ("shared_prefix", ["process#1", "batch_process#1", "process#1"]),
        ("shared_prefix", ["process#1", "process#2", "process#3"]),
        ("sequential_chain", ["process#1", "process#2", "process#3"]),
        ("loop_invariant", ["batch_process#1"]),
        ("delta_matching", ["process#1"]),
        ("delta_matching", ["batch_process#1"]),
        ("delta_matching", ["process#1"]),
    ]
