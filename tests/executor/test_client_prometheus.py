"""The text format of metrics, read strictly."""

from __future__ import annotations

import math

import pytest

from charter_compiler.diagnostics.errors import TargetProtocolError
from charter_compiler.executor.prometheus import label_value, parse_metrics

TEXT = r"""# HELP nv_inference_count Number of inferences
# TYPE nv_inference_count counter
nv_inference_count{model="a",version="1"} 3
plain 1.5e3
with_time{ a = "b" , } 2 1700000000000
escaped{path="C:\\x \"y\" }\n{"} -Inf

nan_value NaN
"""


def test_samples_by_name_and_labels() -> None:
    samples = parse_metrics(TEXT, place="x")
    assert samples.pop("nan_value") != 0
    assert samples == {
        'nv_inference_count{model="a",version="1"}': 3.0,
        "plain": 1500.0,
        'with_time{a="b"}': 2.0,
        r'escaped{path="C:\\x \"y\" }\n{"}': -math.inf,
    }


def test_a_label_is_found_by_its_name() -> None:
    key = 'n{kv_cache_block_type="tokens_per",model="tensorrt_llm"}'
    assert label_value(key, "kv_cache_block_type") == "tokens_per"
    assert label_value(key, "type") is None
    assert label_value("n", "type") is None


@pytest.mark.parametrize(
    "line",
    [
        "name",
        "name x",
        "1name 2",
        'name{a="b" 2',
        "name{a=b} 2",
        'name{a="b"c="d"} 2',
        'name{a="\\x"} 2',
        "name 1 2 3",
        "<html>",
    ],
)
def test_a_line_that_is_no_sample_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(TargetProtocolError, match="here: line 2"):
        parse_metrics(f"ok 1\n{line}\n", place="here")


def test_a_repeated_sample_is_refused() -> None:
    with pytest.raises(TargetProtocolError, match=r'repeats a\{b="c"\}'):
        parse_metrics('a{b="c"} 1\na{ b="c"} 2\n', place="x")
