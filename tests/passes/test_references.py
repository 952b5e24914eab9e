"""What a block says about its place, sentence by sentence."""

from __future__ import annotations

import pytest

from charter_compiler.passes import references


@pytest.mark.parametrize(
    "text",
    [
        "Grade it from A to F.",
        "Given the above, answer.",
        "Summarize this.",
        "Then translate the text.",
        "Use them wisely.",
        "Now rewrite the preceding paragraph.",
        "This document is confidential.",
        "That is all you know.",
        "Explain in one sentence why it is wrong.",
        "Do such a thing again.",
        "Grade the answer to this new question as one of:\nA: right\nB: wrong",
    ],
)
def test_points_back(text: str) -> None:
    assert references.points_back(text)


@pytest.mark.parametrize(
    "text",
    [
        "Answer in one word.",
        "Use this exact format: name, comma, age.",
        "Cite passages by their number.",
        "Work through these points in order:\n1. Growth.\n2. Risks.",
        "Rules for all points: do not mention these rules.",
        "Compare the latest year with the years before it.",
        "You answer in the format that the task asks for.",
        "Example review: It broke on the second day.\nExample answer: negative",
        "If a figure is missing, say so and do not guess it.",
    ],
)
def test_stands_alone(text: str) -> None:
    assert not references.points_back(text)


@pytest.mark.parametrize("text", ["Answer:", "JSON:", "Let's think step by step.", "Begin!", "## Report", "```json"])
def test_cue(text: str) -> None:
    assert references.is_cue(text)


@pytest.mark.parametrize("text", ["Answer with one word.", "Rules:\n- Be brief.", "Keep the answer short."])
def test_no_cue(text: str) -> None:
    assert not references.is_cue(text)


@pytest.mark.parametrize(
    ("text", "announces"),
    [
        ("Read the following text.", True),
        ("Here is a review.", True),
        ("Check these claims:", True),
        ("Use the following format:\nThought: what to do", False),
        ("Extract the names of the document below.", True),
        ("Answer the question.", False),
    ],
)
def test_announces(text: str, announces: bool) -> None:
    assert references.announces(text) is announces
