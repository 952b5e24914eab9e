"""Whether a call asks a model and does nothing else, so that leaving it out or asking twice changes nothing."""

from __future__ import annotations

import ast

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.syntax import MUTATORS, FunctionNode, Syntax, changes, dotted, own_nodes
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Segment

STATELESS = (
    "openai.", "anthropic.", "litellm.", "langchain.model", "google.genai.generate_content", "groq.", "together.",
    "mistralai.chat", "cohere.generate", "ollama.", "azure.ai.inference", "bedrock.converse", "bedrock.invoke_model",
    "vllm.", "huggingface_hub.", "llama_cpp.", "transformers.", "llama_index.llm", "dspy.LM", "smolagents.model",
    "autogen_core.models", "injected", "http",
)  # fmt: skip
"""APIs of a model itself: a request in, an answer out. Agents, chats and chains may keep a memory."""

_TALKING = frozenset({"run", "arun", "send", "chat", "achat", "respond", "ask", "query", "step", "send_message"})
"""Methods of injected objects that may belong to a conversation."""

_KEYS_OF_STATE = frozenset(
    {
        *("tools", "functions", "session", "session_id", "thread_id", "conversation", "conversation_id"),
        *("previous_response_id", "memory", "stream", "callbacks", "config", "tool_choice"),
    }
)
"""Arguments by which a call depends on, or does, more than its prompt says."""


def asks_only(call: Call, context: Context) -> bool:
    """Whether the call is known to ask a model and do nothing else."""
    if call.effects:
        return False
    syntax = context.syntax(call.span.file)
    node = None if syntax is None else syntax.call(call.span)
    if syntax is None or node is None or any(keyword.arg in _KEYS_OF_STATE for keyword in node.keywords):
        return False
    if any(keyword.arg is None for keyword in node.keywords):
        return False  # **kwargs may hold any of them
    if call.kind == "wrapper":
        return _is_plain_wrapper(call, context)
    if not call.api.startswith(STATELESS):
        return False
    return call.api != "injected" or call.callee.rpartition(".")[2] not in _TALKING


def _is_plain_wrapper(call: Call, context: Context) -> bool:
    """Whether every function that the callee may be makes stateless calls from its parameters, and changes nothing."""
    inner = context.reached(call)
    functions = {(each.span.file, each.function) for each in inner}
    if not inner or len(functions) > 1:
        return False
    for each in inner:
        if each.kind == "wrapper" or not asks_only(each, context):
            return False
        if not all(_is_of_parameters(segment) for message in each.messages for segment in message.segments):
            return False
        syntax = context.syntax(each.span.file)
        node = None if syntax is None else syntax.call(each.span)
        function = None if syntax is None or node is None else syntax.function(node)
        if function is None or not _changes_nothing(function):
            return False
    return True


def _is_of_parameters(segment: Segment) -> bool:
    match segment:
        case Const() | CallRef():
            return True
        case Param(name=name):
            return name.isidentifier()
        case Choice(options=options):
            return all(_is_of_parameters(each) for option in options for each in option)
        case Repeat(segments=inner):
            return all(_is_of_parameters(each) for each in inner)
    return False


def _changes_nothing(function: FunctionNode) -> bool:
    """Whether a function binds only names of its own, and calls no method that changes what it did not make."""
    body = [function.body] if isinstance(function, ast.Lambda) else function.body
    own = {
        each.id
        for node in body
        for each in own_nodes(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    for root in body:
        for node in own_nodes(root):
            match node:
                case ast.Global() | ast.Nonlocal() | ast.Yield() | ast.YieldFrom():
                    return False
                case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store(), value=ast.Attribute()):
                    return False
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in MUTATORS:
                    if dotted(value) not in own:
                        return False
    return True


def is_fixed(
    segment: Segment,
    call: Call,
    region: list[ast.stmt],
    inside: frozenset[str],
    syntax: Syntax,
    outer: frozenset[str] = frozenset(),
) -> bool:
    """Whether a part of a prompt is the same whenever the statements of ``region`` run again: constant text, plain
    variables and attributes that they do not change, results of calls that are not in it (``inside``). ``outer`` are
    the items of loops around the region."""
    match segment:
        case Const():
            return True
        case CallRef(id=source):
            return source not in inside
        case Param(name=name, scope="loop") if name not in outer:
            return False
        case Param(name=name, scope="agent" | "item" | "loop"):
            plain = name.replace("self.", "", 1)
            if not plain.isidentifier() or changes(region, name):
                return False
            return name == plain or not _changed_elsewhere(name, call, syntax)
        case Choice():
            return False
    return False


def _changed_elsewhere(name: str, call: Call, syntax: Syntax) -> bool:
    """Whether a method other than the constructor changes an attribute of ``self``."""
    node = syntax.call(call.span)
    owner = None if node is None else syntax.owner(node)
    if owner is None:
        return True
    methods = [
        each
        for each in owner.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name not in ("__init__", "__post_init__")
    ]
    return changes(methods, name)
