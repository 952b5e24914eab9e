"""Semantic Kernel (https://learn.microsoft.com/semantic-kernel) and the Microsoft Agent Framework that follows it."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_KERNEL = ("semantic_kernel.**.Kernel",)
_CHAT = tuple(f"semantic_kernel.**.{name}" for name in ("*ChatCompletion", "ChatCompletionClientBase"))
_TEXT = tuple(f"semantic_kernel.**.{name}" for name in ("*TextCompletion", "TextCompletionClientBase"))
_AGENTS = (
    *("semantic_kernel.**.ChatCompletionAgent", "semantic_kernel.**.OpenAIAssistantAgent"),
    *("semantic_kernel.**.AzureAssistantAgent", "semantic_kernel.**.OpenAIResponsesAgent"),
    "semantic_kernel.**.AzureResponsesAgent",
)
_FRAMEWORK = (
    *("agent_framework.**.ChatAgent", "agent_framework.**.Agent", "agent_framework.**.*Client().create_agent"),
    "agent_framework.**.*Client().as_agent",
)

SDK = Sdk(
    signatures=(
        Signature(
            api="semantic_kernel.invoke_prompt",
            callees=methods(_KERNEL, ".invoke_prompt", ".invoke_prompt_stream"),
            tails=(".invoke_prompt", ".invoke_prompt_stream"),
            prompt=("prompt", 0),
            form="text",
        ),
        Signature(
            api="semantic_kernel.chat",
            callees=methods(
                _CHAT,
                *(".get_chat_message_content", ".get_chat_message_contents"),
                *(".get_streaming_chat_message_content", ".get_streaming_chat_message_contents"),
            ),
            prompt=("chat_history", 0),
            form="messages",
            texts=("", ".content", "[0].content", "[0]"),
        ),
        Signature(
            api="semantic_kernel.text",
            callees=methods(
                _TEXT,
                *(".get_text_content", ".get_text_contents"),
                *(".get_streaming_text_content", ".get_streaming_text_contents"),
            ),
            prompt=("prompt", 0),
            form="text",
            texts=("", ".text", "[0].text", "[0]"),
        ),
        Signature(
            api="semantic_kernel.agent",
            callees=methods(_AGENTS, ".get_response", ".invoke", ".invoke_stream"),
            prompt=("messages", 0),
            form="either",
            texts=("", ".content", ".message.content"),
        ),
        Signature(
            api="agent_framework.agent",
            callees=methods(_FRAMEWORK, ".run", ".run_stream"),
            prompt=("messages", 0),
            form="either",
            texts=("", ".text"),
        ),
        Signature(
            api="agent_framework.client",
            callees=methods(("agent_framework.**.*ChatClient",), ".get_response", ".get_streaming_response"),
            prompt=("messages", 0),
            form="either",
            texts=("", ".text"),
        ),
    ),
    carriers=(
        Carrier((*_AGENTS, *_FRAMEWORK), ("instructions",)),
        Carrier(("semantic_kernel.**.ChatHistory",), ("system_message", "messages")),
    ),
    models=(*_KERNEL, *_CHAT, *_TEXT, *_AGENTS, *_FRAMEWORK, "agent_framework.**.*ChatClient"),
)
