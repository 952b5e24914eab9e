"""``import asyncio`` put where a formatter of imports would put it."""

from __future__ import annotations

import sys
from typing import Any

from charter_compiler.passes.statements import walk

_NAME = "asyncio"


def is_free(cst: Any, module: Any) -> bool:
    """Whether ``asyncio`` means the module wherever the name stands: it is nowhere in the file, or imported at the top
    and otherwise only asked for its attributes."""
    if not _is_imported(cst, module):
        return _NAME not in {each.value for each in walk(module) if isinstance(each, cst.Name)}
    owners = {id(each.value) for each in walk(module) if isinstance(each, cst.Attribute)}
    imports = {id(each.name) for line in module.body for each in walk(line) if _is_plain_import(cst, each)}
    return all(
        id(each) in owners | imports for each in walk(module) if isinstance(each, cst.Name) and each.value == _NAME
    )


def with_import(cst: Any, module: Any) -> Any:
    """The module with the import: before those that sort behind it, else behind the last, else behind the docstring."""
    if _is_imported(cst, module):
        return module
    body = list(module.body)
    new = cst.parse_statement(f"import {_NAME}\n")
    place = 0
    for index, statement in enumerate(body):
        kind, name = _import(cst, statement)
        if (kind == "import" and name > _NAME) or (kind == "from" and name != "__future__"):
            blank = [line for line in statement.leading_lines if line.comment is None]
            rest = [line for line in statement.leading_lines if line.comment is not None]
            apart = [cst.EmptyLine()] if name.partition(".")[0] not in sys.stdlib_module_names else []
            body[index : index + 1] = [
                new.with_changes(leading_lines=blank),
                statement.with_changes(leading_lines=[*apart, *rest]),
            ]
            return module.with_changes(body=body)
        if kind or (index == 0 and _is_docstring(cst, statement)):
            place = index + 1
    gap = [cst.EmptyLine()] if place and _import(cst, body[place - 1])[0] != "import" else []
    body.insert(place, new.with_changes(leading_lines=gap))
    return module.with_changes(body=body)


def _is_imported(cst: Any, module: Any) -> bool:
    lines = [line for line in module.body if isinstance(line, cst.SimpleStatementLine)]
    return any(
        _is_plain_import(cst, alias)
        for line in lines
        for part in line.body
        if isinstance(part, cst.Import)
        for alias in part.names
    )


def _is_plain_import(cst: Any, node: Any) -> bool:
    """Whether a node is the ``asyncio`` of ``import asyncio``."""
    return isinstance(node, cst.ImportAlias) and node.asname is None and node.evaluated_name == _NAME


def _import(cst: Any, statement: Any) -> tuple[str, str]:
    """ "import" or "from", and the module; nothing for another statement."""
    match statement:
        case cst.SimpleStatementLine(body=[cst.Import(names=[cst.ImportAlias(asname=None) as alias, *_])]):
            return "import", str(alias.evaluated_name)
        case cst.SimpleStatementLine(body=[cst.Import()]):
            return "import", ""
        case cst.SimpleStatementLine(body=[cst.ImportFrom(module=name)]):
            return "from", "" if name is None else cst.Module([]).code_for_node(name)
    return "", ""


def _is_docstring(cst: Any, statement: Any) -> bool:
    match statement:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString())]):
            return True
    return False
