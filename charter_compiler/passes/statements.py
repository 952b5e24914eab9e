"""What LibCST's statements read and write, and which of their expressions do nothing but compute.

Conservative by table: what is not listed counts as an effect. LibCST is given as ``cst``, since the core installs
without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_COMPUTING = """
str repr len int float bool round range enumerate zip sorted reversed list tuple dict set min max sum
"""
_READING = """
format strip lstrip rstrip lower upper title capitalize split splitlines removeprefix removesuffix items keys values
"""
_CHANGING = """
append extend insert pop clear remove add update setdefault discard sort reverse
"""
FUNCTIONS, METHODS = frozenset(_COMPUTING.split()), frozenset(_READING.split())
"""Built-in functions and methods of built-in types that only compute; names that other objects give to what acts on
the outside (``get``, ``replace``) are left out."""
_THROUGH = "list tuple dict set sorted sum min max enumerate zip reversed join extend"
_CONSUMING = frozenset(_THROUGH.split())
"""Functions and methods that go through an iterator, or hold one that does."""
MUTATORS = frozenset(_CHANGING.split())
"""Methods of built-in types that change their object."""
_LEAVES = ("Name", "SimpleString", "Integer", "Float", "Ellipsis")
_WHOLES = (
    *("FormattedString", "FormattedStringExpression", "ConcatenatedString", "Tuple", "List"),
    *("Dict", "Set", "DictElement", "StarredDictElement", "Element", "StarredElement", "BinaryOperation"),
    *("BooleanOperation", "UnaryOperation", "Comparison", "ComparisonTarget", "IfExp", "Subscript"),
    *("SubscriptElement", "Index", "Slice", "Attribute", "ListComp", "GeneratorExp", "SetComp", "DictComp", "CompFor"),
    *("CompIf", "Arg"),
)
"""Expressions that compute if their parts do."""


def walk(node: Any) -> Iterator[Any]:
    """A node and all below it, in source order."""
    yield node
    for child in node.children:
        yield from walk(child)


def names(cst: Any, node: Any) -> list[Any]:
    """The nodes of the names of an expression, without those of attributes and keywords, and without those that a
    comprehension binds for itself."""
    skip = {id(each.attr) for each in walk(node) if isinstance(each, cst.Attribute)}
    skip |= {id(each.keyword) for each in walk(node) if isinstance(each, cst.Arg) and each.keyword is not None}
    for comp in walk(node):
        if isinstance(comp, cst.BaseComp):
            loops = [each for each in walk(comp.for_in) if isinstance(each, cst.CompFor)]
            bound = {name.value for loop in loops for name in walk(loop.target) if isinstance(name, cst.Name)}
            skip |= {id(name) for name in walk(comp) if isinstance(name, cst.Name) and name.value in bound}
    return [each for each in walk(node) if isinstance(each, cst.Name) and id(each) not in skip]


def reads(cst: Any, node: Any) -> set[str]:
    """Names that stand in an expression or statement, those that it binds included."""
    return {each.value for each in names(cst, node)}


def attributes(cst: Any, node: Any) -> set[str]:
    """Names of the attributes that an expression takes."""
    return {each.attr.value for each in walk(node) if isinstance(each, cst.Attribute)}


def computes(cst: Any, node: Any) -> bool:
    """Whether an expression only computes: it makes no call but those of the tables, waits for nothing and binds
    nothing outside itself."""
    kind = type(node).__name__
    if kind in _LEAVES:
        return True
    if kind == "Call":
        parts = [arg.value for arg in node.args]
        match node.func:
            case cst.Name(value=name) if name in FUNCTIONS:
                return not _has_key(cst, node) and all(computes(cst, part) for part in parts)
            case cst.Attribute(value=value, attr=cst.Name(value=name)):
                joins = name == "join" and isinstance(value, cst.SimpleString)
                return (joins or name in METHODS) and all(computes(cst, part) for part in (value, *parts))
        return False
    if kind not in _WHOLES or (kind == "CompFor" and node.asynchronous is not None):
        return False
    parts = [
        child for child in node.children if isinstance(child, cst.BaseExpression) or type(child).__name__ in _WHOLES
    ]
    return all(computes(cst, part) for part in parts)


def _has_key(cst: Any, node: Any) -> bool:
    """Whether a call gives ``key=``, a function that ``sorted``, ``min`` and ``max`` call."""
    return any(arg.keyword is not None and arg.keyword.value == "key" for arg in node.args)


def consumes(cst: Any, node: Any) -> bool:
    """Whether an expression may take items out of an iterator, which is empty afterwards."""
    return any(
        isinstance(each, cst.BaseComp | cst.StarredElement | cst.StarredDictElement)
        or (isinstance(each, cst.Arg) and bool(each.star))
        or (
            isinstance(each, cst.Comparison)
            and any(isinstance(part.operator, cst.In | cst.NotIn) for part in each.comparisons)
        )
        or (isinstance(each, cst.Call) and _last_name(cst, each.func) in _CONSUMING)
        for each in walk(node)
    )


def _last_name(cst: Any, node: Any) -> str:
    return str(node.attr.value if isinstance(node, cst.Attribute) else getattr(node, "value", ""))


def is_still(cst: Any, node: Any, local: frozenset[str]) -> bool:
    """Whether an expression that computes comes to the same whenever it does: it reads nothing but literals and the
    names of ``local``, and takes no attribute but methods of built-in types."""
    methods = {id(each.func) for each in walk(node) if isinstance(each, cst.Call)}
    taken = any(isinstance(each, cst.Attribute) and id(each) not in methods for each in walk(node))
    return not taken and reads(cst, node) <= local | FUNCTIONS | {"True", "False", "None"}


def local_names(cst: Any, function: Any) -> set[str]:
    """The names that a function binds, or is given, and that no function within it mentions."""
    inner = inner_names(cst, function)
    found = {each.name.value for each in walk(function.params) if isinstance(each, cst.Param)}
    for node in walk(function.body):
        if isinstance(node, cst.AssignTarget | cst.AnnAssign | cst.AugAssign | cst.For):
            found |= plain_targets(cst, node.target) or set()
    return found - inner


def plain_targets(cst: Any, target: Any) -> set[str] | None:
    """The names that a target binds; ``None`` if it sets anything else than names."""
    match target:
        case cst.Name(value=name):
            return {name}
        case cst.Tuple(elements=elements) | cst.List(elements=elements):
            found = [plain_targets(cst, each.value) for each in elements]
            return None if None in found else {name for each in found if each is not None for name in each}
    return None


def inner_names(cst: Any, function: Any) -> set[str]:
    """The names that stand in functions and classes within a function."""
    return {name for each in _inner(cst, function) for name in _all_names(cst, each)}


def _inner(cst: Any, function: Any) -> list[Any]:
    return [each for each in walk(function.body) if isinstance(each, cst.FunctionDef | cst.Lambda | cst.ClassDef)]


def _all_names(cst: Any, node: Any) -> set[str]:
    return {each.value for each in walk(node) if isinstance(each, cst.Name)}


def constants(cst: Any, module: Any) -> set[str]:
    """Names that the module binds once, at its top, to a text or number."""
    bound: list[str] = []
    for node in walk(module):
        match node:
            case cst.AssignTarget() | cst.AnnAssign() | cst.AugAssign() | cst.For() | cst.NamedExpr() | cst.Del():
                bound += sorted(_all_names(cst, node.target))
            case cst.AsName() | cst.NameItem() | cst.FunctionDef() | cst.ClassDef():
                bound += sorted(_all_names(cst, node.name))
            case cst.ImportAlias():
                bound.append(node.evaluated_alias or node.evaluated_name)
    found = set()
    for statement in module.body:
        match statement:
            case cst.SimpleStatementLine(
                body=[
                    cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))], value=value)
                    | cst.AnnAssign(target=cst.Name(value=name), value=value)
                ]
            ) if isinstance(value, cst.BaseString | cst.Integer | cst.Float):
                found.add(name)
    return {name for name in found if bound.count(name) == 1}


def shadowed_names(cst: Any, module: Any) -> set[str]:
    """The built-in functions whose names the module gives to something else."""
    bound: set[str] = set()
    for node in walk(module):
        match node:
            case cst.FunctionDef(name=cst.Name(value=name)) | cst.ClassDef(name=cst.Name(value=name)):
                bound.add(name)
            case cst.Param(name=cst.Name(value=name)) | cst.AssignTarget(target=cst.Name(value=name)):
                bound.add(name)
            case cst.ImportAlias():
                bound.add(node.evaluated_alias or node.evaluated_name)
    return bound & FUNCTIONS


def changing_names(cst: Any, module: Any) -> set[str]:
    """Names that other code may change while a function waits: attributes that are assigned or changed outside a
    constructor, prefixed with a dot; what is declared global or nonlocal; and what a function within a function
    changes."""
    found: set[str] = set()
    for function, depth, node in _with_function(cst, module, "", 0):
        if isinstance(node, cst.NameItem):
            found.add(node.name.value)
        if function in ("__init__", "__post_init__"):
            continue
        if isinstance(node, cst.AssignTarget | cst.AnnAssign | cst.AugAssign | cst.For | cst.CompFor | cst.AsName):
            target = node.name if isinstance(node, cst.AsName) else node.target
            found |= {f".{name}" for name in attributes(cst, target)}
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in MUTATORS:
            found |= {f".{name}" for name in attributes(cst, node.func.value)}
            if depth > 1:
                found |= reads(cst, node.func.value)
    return found


def _with_function(cst: Any, node: Any, function: str, depth: int) -> Iterator[tuple[str, int, Any]]:
    """Every node with the name of the innermost function that it stands in, and in how many it does."""
    yield function, depth, node
    if isinstance(node, cst.FunctionDef):
        function, depth = node.name.value, depth + 1
    for child in node.children:
        yield from _with_function(cst, child, function, depth)


def first_use(cst: Any, statements: Iterable[Any], name: str) -> str:
    """What the statements do first with a name: "read", "written", or nothing for sure (empty)."""
    for statement in statements:
        found = _first_use(cst, statement, name)
        if found:
            return found
    return ""


def _first_use(cst: Any, node: Any, name: str) -> str:
    if name not in reads(cst, node):
        return ""
    match node:
        case cst.SimpleStatementLine(body=body) | cst.IndentedBlock(body=body):
            return first_use(cst, body, name)
        case cst.Assign(targets=targets, value=value):
            plain = all(isinstance(each.target, cst.Name) for each in targets)
            return "written" if plain and name not in reads(cst, value) else "read"
        case cst.For(target=target, iter=items, body=body, orelse=None) if name not in reads(cst, items):
            # A loop may have no turn, so that nothing is written for sure.
            inside = "" if name in reads(cst, target) else _first_use(cst, body, name)
            return "read" if inside == "read" else ""
    return "read"
