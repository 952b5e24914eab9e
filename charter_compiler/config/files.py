"""The files of a configuration: their first line, and their writing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from charter_compiler.config.target import EngineTarget
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.plan.execution_plan import ExecutionPlan


def header_of(plan: ExecutionPlan | None, target: EngineTarget) -> str:
    """What each file was made for."""
    agent = "the shared prefixes that were found" if plan is None else plan.entry
    model = "a model that was not named" if target.model is None else target.model.name
    where = "" if target.gpu is None else f" on {target.gpus} x {target.gpu.name}"
    return f"Written by charter compile for {agent}; {model}{where}."


def write_files(folder: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Write the texts below ``folder``, which is made if need be; scripts can be run. Returns the paths.

    Raises:
        ConfigError: a file cannot be written.
    """
    written = []
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if path.suffix == ".sh":
                path.chmod(0o755)
        except OSError as error:
            raise ConfigError(f"cannot be written: {error.strerror}", place=str(path)) from error
        written.append(path)
    return tuple(written)
