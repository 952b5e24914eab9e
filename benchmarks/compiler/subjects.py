"""What the compiler is measured on: generated projects, traces and streams of calls, all from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler

WORDS = (
    *("report", "revenue", "cost", "margin", "table", "quarter", "company", "growth"),
    *("debt", "asset", "market", "plan", "risk", "unit", "price"),
)
AGENT_EVERY = 4
"""Of the modules of a generated project, one in so many calls a model; the rest is plain code that is read too."""


def write_project(folder: Path, modules: int, seed: int) -> Path:
    """A package of ``modules`` modules: agents that import helpers and prompts of others, and code without a model."""
    random_ = random.Random(seed)
    package = folder / f"project{modules}"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    for number in range(modules):
        source = _agent if number % AGENT_EVERY == 0 else _plain
        (package / f"m{number}.py").write_text(source(number, random_), encoding="utf-8")
    return package


def _sentence(random_: random.Random, words: int = 12) -> str:
    return " ".join(random_.choice(WORDS) for _ in range(words)).capitalize() + "."


def _agent(number: int, random_: random.Random) -> str:
    known = f"m{random_.randrange(0, max(number, 1)) // AGENT_EVERY * AGENT_EVERY}"
    imported = f"from .{known} import SYSTEM as BASE\n" if number else "BASE = ''\n"
    return f'''"""{_sentence(random_)}"""
from openai import OpenAI
{imported}
SYSTEM = BASE + "{_sentence(random_)}\\n{_sentence(random_)}"
client = OpenAI()


def ask(prompt: str, limit: int = 200) -> str:
    """{_sentence(random_)}"""
    answer = client.chat.completions.create(
        model="m",
        max_tokens=limit,
        messages=[{{"role": "system", "content": SYSTEM}}, {{"role": "user", "content": prompt}}],
    )
    return answer.choices[0].message.content


class Analyst{number}:
    def __init__(self, style: str) -> None:
        self.style = style

    def run(self, document: str) -> str:
        facts = ask(f"{_sentence(random_)} {{self.style}}\\n\\n{{document}}")
        for section in document.split("\\n\\n"):
            facts = ask(f"{_sentence(random_)}\\nFacts: {{facts}}\\nSection: {{section}}", 100)
        if len(facts) > {number}:
            return ask("{_sentence(random_)} " + facts)
        return facts
'''


def _plain(number: int, random_: random.Random) -> str:
    functions = "\n\n".join(
        f"def f{index}(rows: list[dict[str, float]], limit: int = {random_.randrange(9)}) -> float:\n"
        f'    """{_sentence(random_)}"""\n    total = 0.0\n    for row in rows:\n'
        f"        if row['{random_.choice(WORDS)}'] > limit:\n"
        f"            total += row['{random_.choice(WORDS)}'] * {index + 1}\n"
        f"    return total / max(len(rows), 1)"
        for index in range(5)
    )
    return f'"""{_sentence(random_)}"""\nimport math\n\nSIZE = math.pi * {number}\n\n\n{functions}\n'


def trace_lines(requests: int, seed: int, block_size: int = 16) -> list[bytes]:
    """Requests in the form of ``charter simulate``: paths in a tree, so that prefixes of many lengths are shared."""
    random_ = random.Random(seed)
    lines = []
    for number in range(requests):
        group, branch, blocks = random_.randrange(40), random_.randrange(12), random_.randrange(12, 48)
        ids = [group * 1000 + n for n in range(8)] + [50_000 + (group * 12 + branch) * 100 + n for n in range(8)]
        ids += [10_000_000 + number * 100 + n for n in range(blocks - len(ids))]
        length = len(ids) * block_size
        lines.append(
            json.dumps({"timestamp": number, "input_length": length, "output_length": 16, "hash_ids": ids}).encode()
            + b"\n"
        )
    return lines


def schedule_calls(items: int, mode: Mode, concurrency: int = 64, capacity: int = 8192) -> int:
    """Three calls an item through the scheduler of a mode, with a target that answers at once; returns the calls."""
    scheduler = make_scheduler(mode, concurrency, capacity)
    coming: Iterator[int] = iter(range(items))
    left = items
    done = key = 0
    stage: dict[int, int] = {}
    owner: dict[int, int] = {}

    def submit(item: int) -> None:
        nonlocal key
        key += 1
        owner[key] = item
        blocks = (*range(2), *(100 + item * 40 + n for n in range(28)))
        scheduler.submit(ScheduledCall(key, item, blocks, 2, stage[item]))

    while left:
        while scheduler.may_start() and (item := next(coming, None)) is not None:
            scheduler.start_item(item)
            stage[item] = 0
            submit(item)
        for call in scheduler.ready():
            scheduler.on_first_token(call.key)
            scheduler.on_done(call.key)
            done += 1
            item = owner.pop(call.key)
            stage[item] += 1
            if stage[item] < 3:
                submit(item)
            else:
                scheduler.finish_item(item)
                left -= 1
    return done
