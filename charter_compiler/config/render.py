"""The text of configuration files: settings with their reasons as comments, the same bytes for the same settings."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable

from charter_compiler.config.settings import Scalar, Setting
from charter_compiler.config.triton_interfaces import Interface, Step, Tensor

WIDTH = 100


def comment(text: str, indent: str = "") -> str:
    """``text`` as lines that begin with ``#``; the syntax of all the formats."""
    lead = f"{indent}# "
    return textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False) + "\n"


def arguments(header: str, settings: Iterable[Setting]) -> str:
    """Arguments of a command, one option a line. A boolean is a flag: there, or left out with its reason."""
    text = comment(header)
    for setting in settings:
        text += f"\n{comment(setting.reason)}"
        if isinstance(setting.value, bool):
            text += f"--{setting.name}\n" if setting.value else f"# without --{setting.name}\n"
        else:
            text += f"--{setting.name} {shlex.quote(str(setting.value))}\n"
    return text


def command(program: str, settings: Iterable[Setting]) -> str:
    """A command of a shell script over several lines, the reasons before it."""
    settings = tuple(settings)
    text = "".join(comment(f"--{setting.name}: {setting.reason}") for setting in settings)
    return text + " \\\n  ".join([program, *(f"--{s.name} {shlex.quote(str(s.value))}" for s in settings)]) + "\n"


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
            text += f"{comment(setting.reason, indent)}{indent}{key}: {yaml_scalar(setting.value)}\n"
    return text


def yaml_scalar(value: Scalar) -> str:
    """A text is quoted where YAML would read something else."""
    plain = word(value)
    if not isinstance(value, str):
        return plain
    return plain if plain.replace("_", "").replace("-", "").replace("/", "").isalpha() else json.dumps(value)


def model_config(
    header: str,
    interface: Interface,
    *,
    name: str,
    max_batch_size: int,
    parameters: Iterable[Setting] = (),
    decoupled: Setting | None = None,
    instances: Setting | None = None,
) -> str:
    """A Triton ``config.pbtxt`` in protobuf's text format."""
    text = f"{comment(header)}\nname: {json.dumps(name)}\n"
    text += 'platform: "ensemble"\n' if interface.steps else f"backend: {json.dumps(interface.backend)}\n"
    text += f"max_batch_size: {max_batch_size}\n"
    if decoupled is not None:
        value = word(decoupled.value)
        text += f"\n{comment(decoupled.reason)}model_transaction_policy {{\n  decoupled: {value}\n}}\n"
    for setting in parameters:
        value = json.dumps(word(setting.value))
        text += f"\n{comment(setting.reason)}parameters {{\n"
        text += f"  key: {json.dumps(setting.name)}\n  value {{\n    string_value: {value}\n  }}\n}}\n"
    if instances is not None:
        text += f"\n{comment(instances.reason)}instance_group {{\n  count: {instances.value}\n  kind: KIND_CPU\n}}\n"
    text += "\n" + "".join(_tensor("input", tensor) for tensor in interface.inputs)
    text += "".join(_tensor("output", tensor) for tensor in interface.outputs)
    if interface.steps:
        text += "ensemble_scheduling {\n" + "".join(_step(step) for step in interface.steps) + "}\n"
    return text


def _step(step: Step) -> str:
    text = f"  step {{\n    model_name: {json.dumps(step.model)}\n    model_version: -1\n"
    for kind, names in (("input_map", step.input_map), ("output_map", step.output_map)):
        for key, value in sorted(names.items()):
            text += f"    {kind} {{ key: {json.dumps(key)} value: {json.dumps(value)} }}\n"
    return text + "  }\n"


def _tensor(kind: str, tensor: Tensor) -> str:
    dims = ", ".join(str(size) for size in tensor.dims)
    optional = " optional: true" if tensor.optional and kind == "input" else ""
    return f"{kind} {{ name: {json.dumps(tensor.name)} data_type: TYPE_{tensor.type} dims: [ {dims} ]{optional} }}\n"


def word(value: Scalar) -> str:
    """As all the files spell it: ``true`` and not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
