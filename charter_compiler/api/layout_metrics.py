"""How alike an agent's outputs are as written and laid out: built-in metrics, and a function of the user's."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from charter_compiler.diagnostics.errors import UsageError

Metric: TypeAlias = Callable[[Any, Any, Mapping[str, Any]], float]
"""``metric(as_written, laid_out, row)``: outputs of one row both ways, and the row; 1 for as good, 0 for useless."""

EXACT, SIMILARITY, ACCURACY = "exact", "similarity", "accuracy"
BUILT_IN = f"{EXACT}, {SIMILARITY}, {ACCURACY}:KEY or file.py:function"
_WORD = re.compile(r"\w+(?:[.,]\d+)*")


def load_metric(name: str) -> Metric:
    """A metric by its name.

    ``exact``: 1 where the outputs are equal, else 0. ``similarity``: of the words, case and punctuation aside, the part
    that both have in the same order. ``accuracy:KEY``: against answers in the row, which ``KEY`` names, through lists
    and objects with dots (``questions.answer``): 1 less what the part of right answers lost. ``file.py:function``: a
    function of the user's; the file is executed.

    Raises:
        UsageError: there is no such metric, file or function.
    """
    if name == EXACT:
        return lambda written, laid_out, row: float(written == laid_out)
    if name == SIMILARITY:
        return lambda written, laid_out, row: similarity(text_of(written), text_of(laid_out))
    kind, _, key = name.partition(":")
    if kind == ACCURACY and key:
        return lambda written, laid_out, row: 1 + accuracy(laid_out, row, key) - accuracy(written, row, key)
    file, colon, function = name.rpartition(":")
    if not colon or not Path(file).is_file():
        raise UsageError(f"there is no metric {name!r}", remedy=f"--metric takes {BUILT_IN}")
    spec = importlib.util.spec_from_file_location("_charter_metric", file)
    assert spec is not None and spec.loader is not None, "a file that exists has both"  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"it raised {type(error).__name__}: {error}", place=file, remedy="mend the file") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise UsageError(f"there is no function {function}", place=file, remedy=f"--metric takes {BUILT_IN}")
    metric: Metric = found
    return metric


def text_of(output: Any) -> str:
    """The texts of an output, one after the other."""
    return "\n".join(_texts(output))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield str(value)


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def similarity(one: str, other: str) -> float:
    """From 0 to 1: twice the words in common, in the same order, over all words of both."""
    return difflib.SequenceMatcher(None, words(one), words(other), autojunk=False).ratio()


def accuracy(output: Any, row: Mapping[str, Any], key: str) -> float:
    """The part of a row's answers that the output gives. Where the output is a list as long as the answers, each is
    looked for in its own entry, else in all of the text; an answer of several texts needs all of them.

    Raises:
        UsageError: the row has no such key.
    """
    answers = answers_of(row, key)
    entries = output if isinstance(output, list) and len(output) == len(answers) else [output] * len(answers)
    right = [_holds(text_of(entry), answer) for entry, answer in zip(entries, answers, strict=True)]
    return sum(right) / len(right)


def answers_of(row: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The answers that ``key`` names; at least one."""
    found: list[Any] = [row]
    for part in key.split("."):
        below: list[Any] = []
        for value in found:
            values = value if isinstance(value, list) else [value]
            below += [inner[part] for inner in values if isinstance(inner, Mapping) and part in inner]
        found = below
    if not found:
        raise UsageError(f"a row has no answers at {key!r}", remedy=f"name the key of the answers: {ACCURACY}:KEY")
    return found


def _holds(text: str, answer: Any) -> bool:
    wanted = answer if isinstance(answer, list) else [answer]
    given = f" {' '.join(words(text))} "
    return all(f" {' '.join(words(str(each)))} " in given for each in wanted)
