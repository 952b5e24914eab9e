"""Clients that are passed in: recognised by the name of the parameter or attribute, and of the method."""

from __future__ import annotations

import re

from charter_compiler.parser.sdk.signature import Signature

SIGNATURE = Signature(
    api="injected",
    callees=(),
    prompt=("prompt", "messages", "input", "inputs", "text", "query", "question", 0),
    form="either",
    max_tokens=("max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens"),
    texts=("", ".text", ".content"),
)

CLIENT_NAMES = frozenset({"llm", "llm_client", "language_model", "chat_model", "lm", "llm_model", "model_client"})
"""Names that say "language model"; any method of ``METHODS`` and a plain call of the object is a model call."""

VAGUE_NAMES = frozenset({"client", "model", "chat", "agent", "engine", "api"})
"""Names that may mean something else (an HTTP client, a classifier): the prompt must be visibly text as well."""

CLEAR_METHODS = frozenset(
    {"generate", "agenerate", "generate_text", "complete", "acomplete", "completion", "acompletion", "chat_completion"}
)
"""Methods that say "generate text" whatever their object is called."""

METHODS = CLEAR_METHODS | frozenset(
    {
        "__call__", "invoke", "ainvoke", "chat", "achat", "infer", "ainfer", "predict", "apredict", "run",
        "arun", "ask", "query", "prompt", "call", "acall", "stream", "astream", "send", "respond", "create",
        "infer_with_cache",
    }
)  # fmt: skip


_METHOD = re.compile(r"(?:(?:.*\.)?(?P<receiver>\w+)|.*)\.(?P<method>\w+)", re.DOTALL)
"""The last two names of ``self.llms.chat.generate``; the receiver is empty where it is an item or a result."""


def is_client_name(name: str) -> bool:
    """Whether a parameter or attribute of that name is taken for a language model."""
    bare = name.lstrip("_")
    return bare in CLIENT_NAMES or bare.endswith(("_llm", "_lm"))


def is_model_call(name: str, path: str, prompt_is_text: bool) -> bool:
    """Whether calling ``path`` (``.generate``; empty: the object itself) of the injected ``name`` is a model call.

    ``prompt_is_text``: what stands where the prompt would stand is visibly a text or a list of messages.
    """
    match = _METHOD.fullmatch(name + path) if path else None
    if match is not None:
        receiver, method = match["receiver"] or "", match["method"]
    elif path:
        return False
    else:
        receiver, method = name, "__call__"
    if is_client_name(receiver):
        return method in METHODS
    if receiver.lstrip("_") in VAGUE_NAMES:
        return prompt_is_text and method in METHODS
    return prompt_is_text and method in CLEAR_METHODS
