"""Where the example agents and their data lie."""

from __future__ import annotations

from pathlib import Path

from charter_compiler.diagnostics.errors import UsageError


def examples_folder() -> Path:
    """The examples: those of the checkout, or those that the wheel carries. Relative to the current folder where they
    lie below it, so that a plan made from them names no path of this machine.

    Raises:
        UsageError: there are none.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / "data").is_dir():
            return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    raise UsageError("the examples are missing from this installation", remedy="install charter-compiler again")
