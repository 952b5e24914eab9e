"""The text of TensorRT-LLM's configuration files: settings with their reasons as comments."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from charter_compiler.config.retention import CallRetention

WIDTH = 100
Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and why it is what it is. ``name`` is dotted where the file nests."""

    name: str
    value: Scalar
    reason: str


def comment(text: str, indent: str = "") -> str:
    """``text`` as lines that begin with ``#``; the syntax of all three formats."""
    lead = f"{indent}# "
    return textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False) + "\n"


def build_arguments(header: str, settings: Iterable[Setting]) -> str:
    """Arguments of ``trtllm-build``, one option a line."""
    return comment(header) + "".join(f"\n{comment(s.reason)}--{s.name} {s.value}\n" for s in settings)


def model_parameters(header: str, settings: Iterable[Setting], *, decoupled_reason: str) -> str:
    """A piece of a Triton ``config.pbtxt`` in protobuf's text format: parameters, and decoupled transactions."""
    text = comment(header) + f"\n{comment(decoupled_reason)}model_transaction_policy {{\n  decoupled: true\n}}\n"
    for setting in settings:
        value = json.dumps(_word(setting.value))
        text += f"\n{comment(setting.reason)}parameters {{\n"
        text += f"  key: {json.dumps(setting.name)}\n  value {{\n    string_value: {value}\n  }}\n}}\n"
    return text


def yaml_settings(header: str, settings: Iterable[Setting]) -> str:
    """YAML with one level of nesting: settings ``a.b`` and ``a.c`` stand together under ``a``."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.name.rpartition(".")[0], []).append(setting)
    text = comment(header)
    for group, members in groups.items():
        indent = "  " if group else ""
        text += f"\n{group}:\n" if group else "\n"
        for setting in members:
            key = setting.name.rpartition(".")[2]
            text += f"{comment(setting.reason, indent)}{indent}{key}: {_word(setting.value)}\n"
    return text


def retention_inputs(retention: Iterable[CallRetention]) -> str:
    """By call, the tensors of the inner ``tensorrt_llm`` model that carry its retention ranges, as JSON."""
    calls = {
        one.call: {
            "retention_token_range_starts": [part.start for part in one.ranges],
            "retention_token_range_ends": [part.end for part in one.ranges],
            "retention_token_range_priorities": [part.priority for part in one.ranges],
        }
        for one in retention
    }
    return json.dumps(calls, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _word(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
