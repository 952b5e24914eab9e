"""What the tools that a model is given may do to the outside: then the run time asks before it runs the agent."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.values import ClassRef, Either, External, FunctionRef, Instance, Item, Repeated, Series

WRITES: dict[str, str] = {
    "subprocess.": "starts processes",
    "os.system": "starts processes",
    "os.popen": "starts processes",
    "os.remove": "deletes files",
    "os.unlink": "deletes files",
    "os.rename": "moves files",
    "os.makedirs": "makes folders",
    "os.rmdir": "deletes folders",
    "shutil.": "changes files",
    "requests.post": "writes to the network",
    "requests.put": "writes to the network",
    "requests.patch": "writes to the network",
    "requests.delete": "writes to the network",
    "httpx.post": "writes to the network",
    "httpx.put": "writes to the network",
    "httpx.delete": "writes to the network",
    "smtplib.": "sends mail",
    "exec": "runs code that it is given",
    "eval": "runs code that it is given",
}
"""Names of functions, or beginnings of names, that act on the outside."""

METHODS: dict[str, str] = {
    "write_text": "writes files",
    "write_bytes": "writes files",
    "unlink": "deletes files",
    "sendmail": "sends mail",
    "send_message": "sends messages",
    "commit": "writes to a database",
    "executemany": "writes to a database",
}
"""Methods that do, whatever their object is called."""


def effects_of(tools: Item | None) -> tuple[str, ...]:
    """What the functions among the tools may do to the outside, a sentence each; those of functions that are not read
    are not known."""
    found: dict[str, None] = {}
    for function in _functions(tools):
        for effect in _effects(function):
            found[f"{function.name}() {effect}"] = None
    return tuple(found)


def _functions(tools: Item | None) -> Iterator[FunctionInfo]:
    match tools:
        case FunctionRef(function=function):
            yield function
        case Series(items=items) | Repeated(items=items) | Either(options=items):
            for item in items:
                yield from _functions(item)
        case Instance(cls=cls) | ClassRef(cls=cls):
            # Tool objects: what they run is called so in the frameworks.
            for name in ("_run", "run", "forward", "__call__", "invoke", "execute"):
                if (method := cls.method(name)) is not None:
                    yield method
        case External(given=given):
            for _, value in given:
                yield from _functions(value)


def _effects(function: FunctionInfo) -> Iterator[str]:
    for node in function.parts:
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func)
        for start, effect in WRITES.items():
            if name == start or (start.endswith(".") and name.startswith(start)):
                yield effect
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield METHODS[node.func.attr]
        if name == "open" and _writes(node):
            yield "writes files"


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join((node.id, *reversed(parts))) if isinstance(node, ast.Name) else ""


def _writes(node: ast.Call) -> bool:
    modes = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "mode")]
    return any(
        isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) & set("wax+")
        for mode in modes
    )
