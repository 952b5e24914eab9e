"""AutoGen: releases to 0.2 and AG2 (https://docs.ag2.ai), and 0.4 on (https://microsoft.github.io/autogen)."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_OLD_NAMES = (
    *("ConversableAgent", "AssistantAgent", "UserProxyAgent", "GroupChatManager", "GPTAssistantAgent"),
    *("RetrieveAssistantAgent", "RetrieveUserProxyAgent", "MathUserProxyAgent", "SocietyOfMindAgent", "CaptainAgent"),
    *("MultimodalConversableAgent", "TeachableAgent", "CompressibleAgent", "Agent"),
)
_OLD = tuple(f"{package}.**.{name}" for package in ("autogen", "pyautogen", "ag2") for name in _OLD_NAMES)
_NEW_AGENTS = ("autogen_agentchat.agents.**.*Agent", "autogen_ext.agents.**.*")
_TEAMS = (
    *(f"autogen_agentchat.teams.**.{name}" for name in ("*GroupChat", "Swarm", "GraphFlow")),
    "autogen_ext.teams.**.*",
)
_CLIENTS = (
    "autogen_ext.models.**.*Client",
    "autogen_ext.models.**.SKChatCompletionAdapter",
    "autogen_core.models.ChatCompletionClient",
    "autogen_core.models.ChatCompletionClient.load_component",
    "autogen_core.components.models.*Client",
)
_CHAT = Signature(
    api="autogen.chat",
    callees=methods(_OLD, ".initiate_chat", ".a_initiate_chat", ".run", ".a_run"),
    tails=(".initiate_chat", ".a_initiate_chat"),
    prompt=("message", "problem"),
    form="either",
    also=("recipient", 0),
    texts=("", ".summary", ".chat_history[-1]['content']"),
)
_RUN = Signature(
    api="autogen_agentchat.run",
    callees=methods((*_NEW_AGENTS, *_TEAMS), ".run", ".run_stream"),
    prompt=("task",),
    form="either",
    texts=("", ".messages[-1].content"),
)

SDK = Sdk(
    signatures=(
        _CHAT,
        replace(
            _CHAT, callees=methods(_OLD, ".send", ".a_send"), tails=(), prompt=("message", 0), also=("recipient", 1)
        ),
        replace(
            _CHAT,
            callees=(
                *methods(_OLD, ".initiate_chats", ".a_initiate_chats"),
                *("autogen.initiate_chats", "autogen.a_initiate_chats"),
            ),
            tails=(),
            prompt=("chat_queue", 0),
            also=(),
        ),
        Signature(
            api="autogen.reply",
            callees=methods(
                _OLD, ".generate_reply", ".a_generate_reply", ".generate_oai_reply", ".a_generate_oai_reply"
            ),
            prompt=("messages", 0),
            form="messages",
            texts=("", "['content']"),
        ),
        Signature(
            api="autogen.oai",
            callees=(
                *methods(("autogen.**.OpenAIWrapper", "pyautogen.**.OpenAIWrapper"), ".create"),
                *(f"autogen.**.{name}Completion.create" for name in ("", "Chat")),
            ),
            prompt=("messages", "prompt"),
            form="either",
            texts=(".choices[0].message.content", "['choices'][0]['message']['content']"),
        ),
        _RUN,
        replace(
            _RUN,
            callees=methods(_NEW_AGENTS, ".on_messages", ".on_messages_stream"),
            prompt=("messages", 0),
            form="messages",
            texts=(".chat_message.content", ".chat_message.to_text()"),
        ),
        Signature(
            api="autogen_core.models",
            callees=methods(_CLIENTS, ".create", ".create_stream"),
            prompt=("messages", 0),
            form="messages",
            texts=(".content",),
        ),
    ),
    carriers=(
        Carrier(
            tuple(f"{package}.**.GroupChatManager" for package in ("autogen", "pyautogen", "ag2")),
            ("system_message", "groupchat", 0),
        ),
        Carrier(tuple(f"{package}.**.GroupChat" for package in ("autogen", "pyautogen", "ag2")), ("agents", 0)),
        Carrier(_OLD, ("system_message", 1, "instructions")),
        Carrier(_NEW_AGENTS, ("system_message", "instructions")),
        Carrier(_TEAMS, ("selector_prompt", "participants", 0)),
    ),
    models=(*_OLD, *_NEW_AGENTS, *_TEAMS, *_CLIENTS),
    messages=(
        ("autogen_core.**.SystemMessage", "system"),
        ("autogen_core.**.UserMessage", "user"),
        ("autogen_core.**.AssistantMessage", "assistant"),
        ("autogen_agentchat.messages.TextMessage", "user"),
    ),
)
