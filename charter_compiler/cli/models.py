"""``charter models``: fetch and list model weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from charter_compiler.tokens.models import KNOWN_MODELS, KnownModel, fetch_model, is_present, model_path

MEGABYTE = 1_000_000


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises ``ModelError``."""
    if args.action == "list":
        for model in KNOWN_MODELS:
            print(_describe(model))
        return 0
    print(fetch_with_progress(Console(stderr=True), args.name))
    return 0


def fetch_with_progress(console: Console, name: str) -> Path:
    """``fetch_model`` with a progress bar, on a terminal; standard output stays free. Raises ``ModelError``."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(step: str, done: int | None, total: int | None) -> None:
            bar.update(task, description=step, completed=done, total=total)

        return fetch_model(name, show)


def _describe(model: KnownModel) -> str:
    state = "present" if is_present(model) else "not fetched"
    size = f"{model.size / MEGABYTE:.0f} MB"
    return f"{model.name}: {model.title}, {size}, {model.license}, {state}\n  {model_path(model)}"
