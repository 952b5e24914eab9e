"""More agent frameworks: Agno, CAMEL, Strands, Claude Agent SDK, Swarm, Langroid, Aider (their API references)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_AGNO = tuple(f"{package}.**.{name}" for package in ("agno", "phi") for name in ("Agent", "Team", "Assistant"))
_CAMEL = ("camel.**.ChatAgent", "camel.**.CriticAgent", "camel.**.TaskPlannerAgent", "camel.**.TaskSpecifyAgent")
_STRANDS = ("strands.**.Agent",)
_SWARM = ("swarm.**.Swarm",)
_LANGROID = ("langroid.**.ChatAgent", "langroid.**.OpenAIGPT")

_AIDER = ("aider.coders.Coder.create", "aider.**.Coder.create")

SDK = Sdk(
    signatures=(
        Signature(api="aider.Coder", callees=methods(_AIDER, ".run"), prompt=("with_message", 0), form="text"),
        Signature(
            api="agno.Agent",
            callees=methods(_AGNO, ".run", ".arun", ".print_response", ".aprint_response"),
            prompt=("input", "message", 0),
            form="either",
            texts=("", ".content"),
        ),
        Signature(
            api="camel.ChatAgent",
            callees=methods(_CAMEL, ".step", ".astep"),
            prompt=("input_message", 0),
            form="either",
            texts=("", ".msg.content", ".msgs[0].content"),
        ),
        Signature(
            api="strands.Agent",
            callees=methods(_STRANDS, "", ".invoke_async", ".stream_async", ".structured_output"),
            prompt=("prompt", 0),
            form="either",
            texts=("", ".message['content'][0]['text']"),
        ),
        Signature(
            api="claude_agent_sdk.query",
            callees=tuple(f"{package}.**.query" for package in ("claude_agent_sdk", "claude_code_sdk")),
            prompt=("prompt",),
            form="text",
            also=("options",),
        ),
        Signature(
            api="claude_agent_sdk.client",
            callees=methods(("claude_agent_sdk.**.ClaudeSDKClient", "claude_code_sdk.**.ClaudeSDKClient"), ".query"),
            prompt=("prompt", 0),
            form="text",
        ),
        Signature(
            api="swarm.run",
            callees=methods(_SWARM, ".run", ".run_and_stream"),
            prompt=("messages", 1),
            form="messages",
            also=("agent", 0),
            texts=(".messages[-1]['content']",),
        ),
        Signature(
            api="langroid",
            callees=methods(
                _LANGROID, ".llm_response", ".llm_response_async", ".chat", ".achat", ".generate", ".agenerate"
            ),
            prompt=("message", "messages", "prompt", 0),
            form="either",
            texts=("", ".content", ".message"),
        ),
    ),
    carriers=(
        Carrier(_AGNO, ("system_message", "description", "introduction", "instructions", "expected_output")),
        Carrier(_CAMEL, ("system_message", 0)),
        Carrier(_STRANDS, ("system_prompt",)),
        Carrier(("swarm.**.Agent",), ("instructions",)),
        Carrier(("claude_agent_sdk.**.ClaudeAgentOptions", "claude_code_sdk.**.ClaudeCodeOptions"), ("system_prompt",)),
        Carrier(("claude_agent_sdk.**.ClaudeSDKClient",), ("options", 0)),
        Carrier(("langroid.**.ChatAgentConfig",), ("system_message", "user_message")),
        Carrier(("langroid.**.ChatAgent",), ("config", 0)),
    ),
    models=(*_AGNO, *_CAMEL, *_STRANDS, *_SWARM, *_LANGROID),
)
