"""The options of every command."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("grpc", "httpx", "libcst", "networkx", "openai", "rich", "starlette", "xllamacpp")
SCRIPT = """
import sys
from charter_compiler.cli.main import COMMANDS, build_parser
for command in COMMANDS:
    build_parser(command)
print(*sys.modules)
"""


def test_help_imports_nothing_that_a_command_needs_only_when_it_runs() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(ended.stdout.split())
    assert "charter_compiler.cli.options.run" in loaded
    assert loaded.isdisjoint(SLOW)
    assert not [name for name in loaded if name.startswith(("charter_compiler.parser", "charter_compiler.predict"))]
