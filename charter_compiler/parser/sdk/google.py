"""Google's google-genai (https://googleapis.github.io/python-genai), google.generativeai, vertexai, and the ADK."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_CLIENT = ("google.genai.**.Client",)
_CHATS = ("google.genai.**.Client().chats.create", "google.genai.**.Client().aio.chats.create")
_MODEL = (
    "google.generativeai.**.GenerativeModel",
    "google.generativeai.**.GenerativeModel.from_cached_content",
    "vertexai.**.GenerativeModel",
    "vertexai.**.GenerativeModel.from_cached_content",
)
_OLD = ("vertexai.**.TextGenerationModel.from_pretrained", "vertexai.**.CodeGenerationModel.from_pretrained")
_OLD_CHAT = ("vertexai.**.ChatModel.from_pretrained", "vertexai.**.CodeChatModel.from_pretrained")
_AGENT = ("google.adk.**.Agent", "google.adk.**.LlmAgent")
_RUNNER = ("google.adk.**.Runner", "google.adk.**.InMemoryRunner")
_TEXTS = (".text", ".parsed", ".candidates[0].content.parts[0].text", ".candidates[0].text")

SDK = Sdk(
    signatures=(
        Signature(
            api="google.genai.generate_content",
            callees=methods(
                _CLIENT,
                ".models.generate_content",
                ".models.generate_content_stream",
                ".aio.models.generate_content",
                ".aio.models.generate_content_stream",
            ),
            tails=(".models.generate_content", ".models.generate_content_stream"),
            prompt=("contents",),
            form="either",
            also=("config",),
            max_tokens=("max_output_tokens",),
            texts=_TEXTS,
        ),
        Signature(
            api="google.genai.interactions",
            callees=methods(_CLIENT, ".interactions.create", ".aio.interactions.create"),
            prompt=("input",),
            form="either",
            system="system_instruction",
            texts=(".outputs[0].text", ".output_text"),
        ),
        Signature(
            api="google.genai.chats",
            callees=methods(_CHATS, ".send_message", ".send_message_stream"),
            prompt=("message", 0),
            form="either",
            also=("config",),
            texts=_TEXTS,
        ),
        Signature(
            api="google.generativeai",
            callees=methods(_MODEL, ".generate_content", ".generate_content_async"),
            tails=(".generate_content", ".generate_content_async"),
            prompt=("contents", 0),
            form="either",
            max_tokens=("max_output_tokens",),
            texts=_TEXTS,
        ),
        Signature(
            api="google.generativeai.chat",
            callees=methods(methods(_MODEL, ".start_chat"), ".send_message", ".send_message_async"),
            tails=(".start_chat().send_message", ".start_chat().send_message_async"),
            prompt=("content", 0),
            form="either",
            texts=_TEXTS,
        ),
        Signature(
            api="google.generativeai.palm",
            callees=("google.generativeai.generate_text", "google.generativeai.chat"),
            prompt=("prompt", "messages", 0),
            form="either",
            max_tokens=("max_output_tokens",),
            texts=(".result", ".last", ".candidates[0]['output']"),
        ),
        Signature(
            api="vertexai.language_models",
            callees=(
                *methods(_OLD, ".predict", ".predict_async", ".predict_streaming"),
                *methods(methods(_OLD_CHAT, ".start_chat"), ".send_message", ".send_message_async"),
            ),
            prompt=("prompt", "message", "prefix", 0),
            form="text",
            max_tokens=("max_output_tokens",),
            texts=_TEXTS,
        ),
        Signature(
            api="google.adk",
            callees=methods(_RUNNER, ".run", ".run_async", ".run_live", ".run_debug"),
            prompt=("new_message", "user_messages"),
            form="either",
        ),
    ),
    carriers=(
        Carrier(("google.genai.**.GenerateContentConfig",), ("system_instruction",)),
        Carrier(_CHATS, ("config", "history"), role="user"),
        Carrier(_MODEL, ("system_instruction",)),
        Carrier(methods(_MODEL, ".start_chat"), ("history", 0), role="user"),
        Carrier(methods(_OLD_CHAT, ".start_chat"), ("context", "examples", "message_history")),
        Carrier(_AGENT, ("global_instruction", "static_instruction", "instruction")),
        Carrier(_RUNNER, ("agent", 0)),
    ),
    models=(
        *_CLIENT,
        *_MODEL,
        *_OLD,
        *_OLD_CHAT,
        *_RUNNER,
        *_AGENT,
        "google.genai.**.Chat",
        "google.genai.**.AsyncChat",
    ),
    messages=(
        ("google.genai.types.Content", "raw"),
        ("google.genai.types.UserContent", "user"),
        ("google.genai.types.ModelContent", "assistant"),
        ("vertexai.**.Content", "raw"),
        ("google.genai.types.Part.from_text", "user"),
        ("google.genai.types.Part", "user"),
        ("vertexai.**.Part.from_text", "user"),
    ),
)
