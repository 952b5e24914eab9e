"""``charter config check``: does a configuration serve a plan."""

from __future__ import annotations

import argparse

from charter_compiler.api.config_check import check_config
from charter_compiler.config.check import Served


def run(args: argparse.Namespace) -> int:
    """Print what was found and what is wrong. Returns 1 if something is; raises what ``check_config`` does."""
    served, problems = check_config(args.what, args.plan)
    for one in served:
        print(_line(one))
    for problem in problems:
        print(f"problem: {problem}")
    print("1 problem" if len(problems) == 1 else f"{len(problems) or 'no'} problems")
    return 1 if problems else 0


def _line(one: Served) -> str:
    facts = {
        "KV reuse": one.reuse,
        "tokens a block": one.tokens_per_block,
        "cache tokens": one.capacity_tokens,
        "longest sequence": one.max_sequence,
    }
    words = {True: "on", False: "off", None: "not known"}
    shown = [
        f"{name} {words[value] if value is None or isinstance(value, bool) else value}" for name, value in facts.items()
    ]
    return f"{one.place}: {', '.join(shown)}"
