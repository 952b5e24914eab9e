"""Guided generation: Outlines (https://dottxt-ai.github.io/outlines) and the first form of Guidance (its README)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Template, methods

_GENERATORS = ("outlines.generate.*", "outlines.**.Generator", "outlines.**.SequenceGenerator")
_MODELS = (
    *(
        f"outlines.**.from_{name}"
        for name in ("openai", "anthropic", "gemini", "ollama", "vllm", "transformers", "tgi")
    ),
    *(f"outlines.**.from_{name}" for name in ("llamacpp", "mlxlm", "mistral", "sglang", "dottxt", "vllm_offline")),
    "outlines.models.*",
)
_PROGRAMS = ("guidance", "guidance.Program")

SDK = Sdk(
    signatures=(
        Signature(
            api="outlines.generate",
            callees=(
                *methods(_GENERATORS, "", ".stream", ".batch"),
                *methods(_MODELS, "", ".stream", ".batch"),
            ),
            prompt=("prompts", "model_input", "prompt", 0),
            form="either",
            many=True,
        ),
        Signature(
            api="guidance.program",
            callees=methods(_PROGRAMS, ""),
            prompt=(),
            form="fields",
            options=("llm", "caching", "silent", "stream", "async_mode"),
            texts=("['*']",),
        ),
    ),
    carriers=(Carrier(_PROGRAMS, ("text", 0), role="raw"),),
    templates=(Template(("outlines.**.Template.from_string",), ("content", 0), syntax="jinja"),),
    models=_MODELS,
)
