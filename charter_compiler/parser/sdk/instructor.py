"""Wrappers of clients: instructor (https://python.useinstructor.com), LangSmith, Braintrust, Opik, Judgeval."""

from __future__ import annotations

from charter_compiler.parser.sdk.openai import chat_completions
from charter_compiler.parser.sdk.signature import Sdk, Transparent, methods

_OF_CLIENT = tuple(
    f"instructor.**.from_{name}"
    for name in (
        *("openai", "anthropic", "gemini", "genai", "groq", "mistral", "cohere", "together", "anyscale", "databricks"),
        *("deepseek", "fireworks", "cerebras", "openrouter", "perplexity", "vertexai", "writer", "bedrock", "xai"),
    )
)
# `from_litellm` takes a function, and `from_provider` the name of a model.
_MADE = (
    *("instructor.**.from_provider", "instructor.**.from_litellm"),
    *("instructor.**.Instructor", "instructor.**.AsyncInstructor"),
)
_CREATE = (".create", ".create_with_completion", ".create_partial", ".create_iterable")
_WRAPPERS = (
    *("langsmith.**.wrap_openai", "langsmith.**.wrap_anthropic", "langsmith.**.wrap_gemini"),
    *("braintrust.**.wrap_openai", "braintrust.**.wrap_anthropic", "braintrust.**.wrap_litellm"),
    *("opik.**.track_openai", "opik.**.track_anthropic", "opik.**.track_bedrock", "opik.**.track_genai"),
    "judgeval.**.wrap",
)

SDK = Sdk(
    signatures=(
        chat_completions(
            "instructor.create",
            _MADE,
            *methods(_MADE, *_CREATE),
            *methods(_MADE, *(".messages" + name for name in _CREATE)),
        ),
    ),
    transparent=(
        Transparent((*_OF_CLIENT, "instructor.**.patch", "instructor.**.apatch"), of=("client", 0)),
        Transparent(_WRAPPERS, of=("client", "openai_client", "anthropic_client", 0)),
    ),
    models=_MADE,
)
