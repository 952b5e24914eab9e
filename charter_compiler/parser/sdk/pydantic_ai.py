"""Pydantic AI (https://ai.pydantic.dev/api/agent)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_AGENT = ("pydantic_ai.**.Agent",)

SDK = Sdk(
    signatures=(
        Signature(
            api="pydantic_ai.Agent",
            callees=methods(
                _AGENT,
                *(".run", ".run_sync", ".run_stream", ".run_stream_sync", ".run_stream_events", ".iter"),
            ),
            prompt=("user_prompt", 0),
            form="either",
            also=("message_history", "instructions"),
            texts=("", ".output", ".data", ".get_output()"),
        ),
        Signature(
            api="pydantic_ai.direct",
            callees=tuple(f"pydantic_ai.**.model_request{end}" for end in ("", "_sync", "_stream", "_stream_sync")),
            prompt=("messages", 1),
            form="messages",
            texts=(".parts[0].content",),
        ),
    ),
    carriers=(Carrier(_AGENT, ("system_prompt", "instructions")),),
    models=_AGENT,
    messages=(
        ("pydantic_ai.**.SystemPromptPart", "system"),
        ("pydantic_ai.**.UserPromptPart", "user"),
        ("pydantic_ai.**.ModelRequest.user_text_prompt", "user"),
    ),
)
