"""The arguments for llama.cpp's server, checked with llama.cpp's own parser (of the pinned ``xllamacpp``)."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from config_cases import CASES, files_of, known

from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import KNOWN_VERSIONS, EngineName

PARSER = Path(__file__).with_name("llamacpp_parser.py")


def parse(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PARSER), *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.server
@pytest.mark.parametrize("case", [*CASES, "with host memory"])
def test_the_options_are_llama_cpps(case: str) -> None:
    if case in CASES:
        text = files_of(case, EngineName.LLAMACPP)["serve.args"]
    else:
        config = known()
        by_hand = Overrides({"host_memory_bytes": 3 << 30})
        text = type(config)(config.plan, config.target, config.evidence, by_hand).files(EngineName.LLAMACPP)[
            "serve.args"
        ]
        assert "--cache-ram 3072" in text
    words = shlex.split(text, comments=True)
    ended = parse(words)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == sum(word.startswith("--") for word in words)


@pytest.mark.server
def test_the_parser_refuses_what_it_does_not_know() -> None:
    ended = parse(["--model", "m.gguf", "--tokens-per-block", "32"])
    assert ended.returncode != 0
    assert "invalid argument: --tokens-per-block" in ended.stderr


@pytest.mark.server
def test_the_known_build_is_the_pinned_one() -> None:
    import xllamacpp

    assert xllamacpp.__version__.split(".")[-1] in KNOWN_VERSIONS[EngineName.LLAMACPP]
