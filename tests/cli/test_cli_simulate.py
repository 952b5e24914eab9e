"""``charter simulate``: the object that it prints, sweeps, the plot, and what it says of bad input."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.cli.main import main

KEYS = ["requests", "prompt_tokens", "hit_tokens", "hit_rate", "evicted_blocks", "peak_blocks"]
ROWS = [
    {"timestamp": 0, "input_length": 10, "output_length": 3, "hash_ids": [1, 2, 3]},
    {"timestamp": 10, "input_length": 9, "output_length": 3, "hash_ids": [1, 2, 4]},
    {"timestamp": 20, "input_length": 8, "output_length": 3, "hash_ids": [5, 6]},
    {"timestamp": 30, "input_length": 10, "output_length": 3, "hash_ids": [1, 2, 3]},
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], trace: Path, *options: str, engine: str = "vllm") -> Any:
    code = main(["simulate", "--trace", str(trace), "--engine", engine, "--block-size", "4", *options])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_the_object_of_the_design(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, trace, "--capacity-blocks", "100")
    assert list(result) == KEYS
    assert result == {
        "requests": 4,
        "prompt_tokens": 37,
        "hit_tokens": 16,
        "hit_rate": 16 / 37,
        "evicted_blocks": 0,
        "peak_blocks": 5,
    }


def test_unbounded_counts_a_partial_last_block_too(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, trace, engine="unbounded")["hit_tokens"] == 8 + 10


def test_a_warm_up_is_not_counted(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, trace, "--warmup-fraction", "0.5", engine="unbounded")
    assert (result["requests"], result["prompt_tokens"], result["hit_tokens"]) == (2, 18, 10)


@pytest.mark.parametrize("engine", ["trtllm", "vllm", "sglang", "llamacpp", "unbounded"])
@pytest.mark.parametrize("policy", [[], ["--policy", "lru"], ["--policy", "priority"], ["--policy", "belady"]])
def test_every_engine_with_every_policy(
    engine: str, policy: list[str], trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(capsys, trace, "--capacity-blocks", "4", *policy, "--concurrency", "2", engine=engine)
    assert list(result) == KEYS
    assert result["requests"] == 4
    assert 0 <= result["hit_rate"] <= 18 / 37


def test_a_policy_bounds_even_the_unbounded(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, trace, "--capacity-blocks", "2", "--policy", "lru", engine="unbounded")["peak_blocks"] == 2
    code = main(
        ["simulate", "--trace", str(trace), "--engine", "unbounded", "--block-size", "4", "--capacity-blocks", "2"]
    )
    captured = capsys.readouterr()
    assert code == 0
    assert json.loads(captured.out)["peak_blocks"] == 6
    assert "--capacity-blocks was not used" in captured.err


@pytest.mark.parametrize(("engine", "capacity"), [("trtllm", "8"), ("llamacpp", "16")])
def test_host_memory_keeps_what_is_evicted(
    engine: str, capacity: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.jsonl"
    prompts = [list(range(10 * number, 10 * number + 3)) for number in range(6)]
    rows = [{"timestamp": 0, "input_length": 13, "hash_ids": prompt} for prompt in prompts * 2]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rates = [
        run(capsys, path, "--capacity-blocks", capacity, "--host-blocks", blocks, engine=engine)["hit_rate"]
        for blocks in ("0", "100")
    ]
    assert rates == [0, 12 * 6 / (13 * 12)]


def test_a_sweep_is_the_single_runs(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = run(capsys, trace, "--capacities", "5,1,3", "--policy", "lru", "--policy", "belady")
    assert (sweep["engine"], sweep["block_size"]) == ("vllm", 4)
    assert [curve["policy"] for curve in sweep["curves"]] == ["lru", "belady"]
    for curve in sweep["curves"]:
        for point, capacity in zip(curve["points"], (1, 3, 5), strict=True):
            single = run(capsys, trace, "--capacity-blocks", str(capacity), "--policy", curve["policy"])
            assert point == {"capacity_blocks": capacity, **single}
    assert sweep["attainable_hit_rate"] == 16 / 37


def test_the_default_sweep_goes_up_to_all_blocks(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = run(capsys, trace, "--sweep", engine="sglang")
    assert [curve["policy"] for curve in sweep["curves"]] == [None, "lru", "belady"]
    for curve in sweep["curves"]:
        assert [point["capacity_blocks"] for point in curve["points"]] == [1, 2, 3, 4, 5, 6]
        assert curve["points"][-1]["hit_rate"] == sweep["attainable_hit_rate"]


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_the_plot(suffix: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made" / f"curve{suffix}"
    sweep = run(capsys, trace, "--plot", str(path))
    text = path.read_text(encoding="utf-8")
    picture = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    lines = picture.findall("{*}polyline")
    assert len(lines) == len(sweep["curves"]) == 3
    for line, curve in zip(lines, sweep["curves"], strict=True):
        heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
        assert len(heights) == len(curve["points"])
        assert heights == sorted(heights, reverse=True), "more hits are further up"
    assert {"lru", "belady", "vllm's own"} <= {label.text for label in picture.findall("{*}text")}
    assert ("<table>" in text) == (suffix == ".html")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"no capacity \(give --capacity-blocks N, or --sweep\)"),
        (["--capacity-blocks", "4", "--policy", "lru", "--policy", "belady"], "several policies at one capacity"),
        (["--capacity-blocks", "4", "--sweep"], "--capacity-blocks with a sweep"),
        (["--capacity-blocks", "4", "--host-blocks", "4"], "no host memory in 'vllm'"),
        (["--plot", "curve.png"], r"curve\.png: the plot is neither \.svg nor \.html"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--trace", str(trace), "--engine", "vllm", "--block-size", "4", *options]) == 2
    assert re.match(f"charter: error: {message}", capsys.readouterr().err)


@pytest.mark.parametrize(
    "options",
    [
        ["--block-size", "0"],
        ["--capacity-blocks", "0"],
        ["--warmup-fraction", "1.5"],
        ["--warmup-fraction", "x"],
        ["--policy", "fifo"],
        ["--capacities", "4,x"],
    ],
)
def test_options_that_make_no_sense(options: list[str], trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--trace", str(trace), "--engine", "vllm", "--block-size", "4", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the trace is empty"),
        ('{"input_length": 4}\n', ":1: not a request: 'hash_ids' is missing"),
        ('{"hash_ids": [1]}\n', ":1: not a request: 'input_length' is missing"),
        ('\n{"input_length": -1, "hash_ids": [1]}\n', ":2: not a request: input_length is not a count of tokens"),
        ('{"input_length": 4, "hash_ids": 7}\n', "hash_ids is not a list"),
        ('{"input_length": 4, "hash_ids": [1.5]}\n', "a hash id is neither"),
        ('{"input_length": 4, "hash_ids": [1], "priority": 101}\n', "priority is not from 0 to 100"),
        ("[]\n", ":1: not a JSON object"),
        ("{", ":1: not JSON"),
    ],
)
def test_a_bad_trace_is_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    arguments = ["simulate", "--trace", str(path), "--engine", "unbounded", "--block-size", "4"]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("charter: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_missing_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "--trace", str(tmp_path / "no.jsonl"), "--engine", "unbounded", "--block-size", "4"]
    assert main(arguments) == 1
    assert re.search(r"no\.jsonl: cannot read the trace: No such file", capsys.readouterr().err)


def test_ids_may_be_text_and_of_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    row = {"input_length": 12, "hash_ids": ["a", 2**70, 3]}
    path.write_text((json.dumps(row) + "\n") * 2, encoding="utf-8")
    assert run(capsys, path, engine="unbounded")["hit_tokens"] == 12


def test_what_does_not_fit_is_said(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["simulate", "--trace", str(trace), "--engine", "sglang", "--block-size", "4", "--capacity-blocks", "2"]
    )
    captured = capsys.readouterr()
    assert code == 0
    assert json.loads(captured.out)["requests"] == 4
    assert "3 requests do not fit the cache even alone" in captured.err


def test_a_wrong_block_size_is_said(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--trace", str(trace), "--engine", "unbounded", "--block-size", "512"])
    assert code == 0
    assert "is --block-size that of the trace?" in capsys.readouterr().err
