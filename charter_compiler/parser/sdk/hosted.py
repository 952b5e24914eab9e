"""Hosted models: Mistral, Cohere, Groq, Together, xAI, Zhipu, Azure, Hugging Face and more (their API references)."""

from __future__ import annotations

from charter_compiler.parser.sdk.openai import chat_completions, text_completions
from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Transparent, methods

_GROQ = ("groq.**.Groq", "groq.**.AsyncGroq", "groq.Client", "groq.AsyncClient")
_TOGETHER = ("together.**.Together", "together.**.AsyncTogether")
_ZHIPU = ("zhipuai.**.ZhipuAI", "zai.**.ZaiClient", "zai.**.ZhipuAiClient")
_COMPATIBLE = (
    *("cerebras.**.Cerebras", "cerebras.**.AsyncCerebras", "fireworks.**.Fireworks", "fireworks.**.AsyncFireworks"),
    *("volcenginesdkarkruntime.**.Ark", "volcenginesdkarkruntime.**.AsyncArk", "aisuite.**.Client"),
    *("portkey_ai.**.Portkey", "portkey_ai.**.AsyncPortkey", "perplexity.**.Perplexity", "sambanova.**.SambaNova"),
    *("ai21.**.AI21Client", "ai21.**.AsyncAI21Client", "g4f.**.Client", "g4f.**.AsyncClient", "mlc_llm.**.MLCEngine"),
    *("llama_api_client.**.LlamaAPIClient", "llama_api_client.**.AsyncLlamaAPIClient"),
)
_INFERENCE = ("huggingface_hub.**.InferenceClient", "huggingface_hub.**.AsyncInferenceClient")
_MISTRAL = ("mistralai.**.Mistral", "mistralai_azure.**.MistralAzure", "mistralai_gcp.**.Mistral*")
_OLD_MISTRAL = ("mistralai.**.MistralClient", "mistralai.**.MistralAsyncClient")
_COHERE = ("cohere.**.Client", "cohere.**.AsyncClient", "cohere.**.BedrockClient", "cohere.**.SagemakerClient")
_COHERE_V2 = ("cohere.**.ClientV2", "cohere.**.AsyncClientV2")
_AZURE = ("azure.ai.inference.**.ChatCompletionsClient",)
_XAI = ("xai_sdk.**.Client", "xai_sdk.**.AsyncClient")
_REPLICATE = ("replicate.**.Client",)
_TEXT_MODELS = (
    r"(?i)llama|mi[sx]tral|gpt|claude|gemma|gemini|qwen|deepseek|falcon|vicuna|mpt|dolly|phi-|granite|yi-|t5|solar|nous"
)
"""Names of models that write text; Replicate runs all kinds."""
_TEXTS = (".choices[0].message.content", "['choices'][0]['message']['content']")

SDK = Sdk(
    signatures=(
        chat_completions("groq.chat.completions", _GROQ),
        chat_completions("together.chat.completions", _TOGETHER),
        text_completions("together.completions", _TOGETHER),
        Signature(
            api="together.complete",
            callees=("together.Complete.create", "together.Complete.create_streaming"),
            prompt=("prompt", 0),
            form="text",
            texts=("['output']['choices'][0]['text']", "['choices'][0]['text']"),
        ),
        chat_completions("zhipuai.chat.completions", _ZHIPU, *methods(_ZHIPU, ".chat.asyncCompletions.create")),
        Signature(
            api="zhipuai.model_api",
            callees=tuple(f"zhipuai.model_api.{name}invoke" for name in ("", "sse_", "async_")),
            prompt=("prompt",),
            form="either",
            texts=("['data']['choices'][0]['content']",),
        ),
        chat_completions(
            "chat.completions", _COMPATIBLE, "g4f.ChatCompletion.create", "g4f.ChatCompletion.create_async"
        ),
        text_completions("completions", _COMPATIBLE),
        chat_completions("huggingface_hub.chat_completion", _INFERENCE),
        Signature(
            api="huggingface_hub.chat_completion",
            callees=methods(_INFERENCE, ".chat_completion"),
            prompt=("messages", 0),
            form="messages",
            texts=_TEXTS,
        ),
        Signature(
            api="huggingface_hub.text_generation",
            callees=(
                *methods(_INFERENCE, ".text_generation", ".summarization", ".translation", ".conversational"),
                *methods(("text_generation.Client", "text_generation.AsyncClient"), ".generate", ".generate_stream"),
            ),
            prompt=("prompt", "text", 0),
            form="text",
            max_tokens=("max_new_tokens",),
            texts=("", ".generated_text", ".summary_text", ".translation_text"),
        ),
        Signature(
            api="mistralai.chat",
            callees=(
                *methods(
                    _MISTRAL,
                    *(
                        f".{part}.{name}{end}"
                        for part in ("chat", "agents")
                        for name in ("complete", "stream", "parse")
                        for end in ("", "_async")
                    ),
                    *(".chat.parse_stream", ".chat.parse_stream_async"),
                ),
                *methods(_OLD_MISTRAL, ".chat", ".chat_stream"),
            ),
            tails=(".chat.complete", ".chat.complete_async", ".chat.stream_async"),
            prompt=("messages", 0),
            form="messages",
            texts=(*_TEXTS, ".choices[0].message.parsed"),
        ),
        Signature(
            api="mistralai.fim",
            callees=methods(_MISTRAL, ".fim.complete", ".fim.complete_async", ".fim.stream", ".fim.stream_async"),
            prompt=("prompt",),
            form="text",
            texts=_TEXTS,
        ),
        Signature(
            api="mistralai.conversations",
            callees=methods(
                _MISTRAL,
                *(
                    f".beta.conversations.{name}{end}"
                    for name in ("start", "append", "start_stream", "append_stream")
                    for end in ("", "_async")
                ),
            ),
            prompt=("inputs",),
            form="either",
            system="instructions",
            texts=(".outputs[0].content", ".outputs[-1].content"),
        ),
        Signature(
            api="cohere.chat",
            callees=(
                *methods(_COHERE, ".chat", ".chat_stream", ".v2.chat", ".v2.chat_stream"),
                *methods(_COHERE_V2, ".chat", ".chat_stream"),
            ),
            prompt=("messages", "message", 0),
            form="either",
            system="preamble",
            also=("chat_history",),
            texts=(".text", ".message.content[0].text"),
        ),
        Signature(
            api="cohere.generate",
            callees=methods(_COHERE, ".generate", ".generate_stream", ".summarize"),
            prompt=("prompt", "text", 0),
            form="text",
            texts=(".generations[0].text", "[0].text", ".summary", "[0]"),
        ),
        Signature(
            api="azure.ai.inference",
            callees=methods(_AZURE, ".complete"),
            prompt=("messages", "body", 0),
            form="messages",
            within=("messages",),
            texts=_TEXTS,
        ),
        Signature(
            api="xai_sdk.chat",
            # The conversation was given to `create` and `append`.
            callees=methods(
                methods(_XAI, ".chat.create"),
                *(".sample", ".sample_batch", ".stream", ".stream_batch", ".parse", ".defer", ".defer_batch"),
            ),
            prompt=(),
            form="messages",
            texts=(".content",),
        ),
        Signature(
            api="dashscope.generation",
            callees=(
                *("dashscope.**.Generation.call", "dashscope.**.AioGeneration.call"),
                *("dashscope.**.MultiModalConversation.call", "dashscope.**.AioMultiModalConversation.call"),
            ),
            prompt=("messages", "prompt", 1),
            form="either",
            texts=(".output.text", ".output.choices[0].message.content", "['output']['text']"),
        ),
        Signature(
            api="qianfan.chat",
            callees=(
                *methods(("qianfan.**.ChatCompletion", "qianfan.**.Completion"), ".do", ".ado"),
                *("erniebot.ChatCompletion.create", "erniebot.ChatCompletion.acreate"),
            ),
            prompt=("messages", "prompt", 0),
            form="either",
            texts=("['result']", ".result", "['body']['result']", ".get_result()"),
        ),
        *(
            Signature(
                api="replicate.run",
                callees=(
                    *("replicate.run", "replicate.async_run", "replicate.stream", "replicate.async_stream"),
                    *methods(_REPLICATE, ".run", ".async_run", ".stream", ".async_stream"),
                ),
                prompt=("input", 1),
                form="either",
                where=((model, _TEXT_MODELS),),
                within=("system_prompt", "prompt", "messages"),
            )
            for model in ("ref", 0)
        ),
    ),
    carriers=(Carrier(methods(_XAI, ".chat.create"), ("messages",), role="user"),),
    transparent=(
        Transparent(methods((*_GROQ, *_TOGETHER, *_ZHIPU), ".with_options", ".copy")),
        Transparent(methods(methods(_XAI, ".chat.create"), ".append")),
    ),
    models=(
        *(*_GROQ, *_TOGETHER, *_ZHIPU, *_COMPATIBLE, *_INFERENCE, *_MISTRAL, *_OLD_MISTRAL, *_COHERE, *_COHERE_V2),
        *(*_AZURE, *_XAI, *_REPLICATE),
    ),
    messages=(
        ("azure.ai.inference.models.SystemMessage", "system"),
        ("azure.ai.inference.models.UserMessage", "user"),
        ("azure.ai.inference.models.AssistantMessage", "assistant"),
        ("mistralai.**.SystemMessage", "system"),
        ("mistralai.**.UserMessage", "user"),
        ("mistralai.**.AssistantMessage", "assistant"),
        ("mistralai.**.ChatMessage", "raw"),
        ("xai_sdk.chat.system", "system"),
        ("xai_sdk.chat.user", "user"),
        ("xai_sdk.chat.assistant", "assistant"),
        ("cohere.**.SystemChatMessageV2", "system"),
        ("cohere.**.UserChatMessageV2", "user"),
        ("cohere.**.AssistantChatMessageV2", "assistant"),
    ),
)
