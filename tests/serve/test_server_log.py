"""Reasons found in logs of tritonserver 2.51."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.serve.log import PORT_TAKEN, TAIL_BYTES, reason, tail

LOADING = (
    'I1123 22:13:52.470673 11136 model_lifecycle.cc:472] "loading: bad:1"\n'
    "E1123 22:13:54.108423 11136 model_lifecycle.cc:642] \"failed to load 'tensorrt_llm' version 1: Internal: "
    'ModelError: /m.gguf: llama.cpp cannot load it (give a whole file)\\n\\nAt:\\n  /tmp/model.py(4): initialize\\n"\n'
    "error: creating server: Internal - failed to load all models\n"
)
PORT = (
    'E1123 22:13:55.680445 11206 main.cc:257] "failed to start HTTP service: Unavailable - '
    "Socket '127.0.0.1:18000' already in use \"\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOADING, "model tensorrt_llm: /m.gguf: llama.cpp cannot load it (give a whole file)"),
        (PORT, "failed to start HTTP service: Unavailable - Socket '127.0.0.1:18000' already in use"),
        (
            "tritonserver: error while loading shared libraries: libcudart.so.12: cannot open shared object file\n",
            "error while loading shared libraries: libcudart.so.12: cannot open shared object file",
        ),
        ("error: creating server: Invalid argument - x\n", "error: creating server: Invalid argument - x"),
        ("I1123 22:13:52 all is well\n", None),
        ("", None),
    ],
)
def test_the_reason_is_one_line(text: str, expected: str | None) -> None:
    assert reason(text) == expected


def test_the_port_that_is_taken_is_found() -> None:
    match = PORT_TAKEN.search(PORT)
    assert match is not None
    assert match["port"] == "18000"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * TAIL_BYTES + "end", encoding="utf-8")
    assert tail(log).endswith("end")
    assert len(tail(log)) == TAIL_BYTES
    assert tail(tmp_path / "missing") == ""
