"""Local models: Ollama, vLLM, SGLang, TensorRT-LLM, llama.cpp, MLX, LMDeploy, GPT4All (their API references)."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.openai import chat_completions
from charter_compiler.parser.sdk.signature import Sdk, Signature, methods

_OLLAMA = ("ollama.**.Client", "ollama.**.AsyncClient")
_ENGINES = (
    *("vllm.**.LLM", "vllm.**.AsyncLLMEngine", "vllm.**.AsyncLLMEngine.from_*", "vllm.**.AsyncLLM.from_*"),
    *("sglang.**.Engine", "tensorrt_llm.**.LLM", "mii.**.pipeline", "exllamav2.**.ExLlamaV2DynamicGenerator"),
)
_LLAMA = ("llama_cpp.**.Llama", "llama_cpp.**.Llama.from_pretrained")
_OTHERS = (
    *("lmdeploy.**.pipeline", "gpt4all.**.GPT4All", "ctransformers.**.AutoModelForCausalLM.from_pretrained"),
    "ctransformers.**.LLM",
)
_CHAT = Signature(
    api="ollama.chat",
    callees=("ollama.chat", *methods(_OLLAMA, ".chat")),
    prompt=("messages", 1),
    form="messages",
    max_tokens=("num_predict",),
    texts=("['message']['content']", ".message.content", ".message['content']", "['message'].content"),
)
_GENERATE = Signature(
    api="vllm.generate",
    callees=methods(_ENGINES, ".generate", ".generate_async", ".async_generate"),
    prompt=("prompts", "prompt", "inputs", 0),
    form="either",
    many=True,
    texts=("[0].outputs[0].text", "[0]['text']", "['text']", ".outputs[0].text", "[0].generated_text", "[0]"),
)

SDK = Sdk(
    signatures=(
        _CHAT,
        replace(
            _CHAT,
            api="ollama.generate",
            callees=("ollama.generate", *methods(_OLLAMA, ".generate")),
            prompt=("prompt", 1),
            form="text",
            system="system",
            texts=("['response']", ".response"),
        ),
        _GENERATE,
        replace(
            _GENERATE,
            api="vllm.chat",
            callees=methods(_ENGINES, ".chat"),
            prompt=("messages", 0),
            form="messages",
        ),
        replace(_GENERATE, api="mii", callees=methods(("mii.**.pipeline",), "")),
        Signature(
            api="llama_cpp.completion",
            callees=methods(_LLAMA, "", ".create_completion"),
            prompt=("prompt", 0),
            form="text",
            texts=("['choices'][0]['text']",),
        ),
        Signature(
            api="llama_cpp.chat_completion",
            callees=methods(_LLAMA, ".create_chat_completion", ".create_chat_completion_openai_v1"),
            tails=(".create_chat_completion",),
            prompt=("messages", 0),
            form="messages",
            texts=("['choices'][0]['message']['content']", ".choices[0].message.content"),
        ),
        Signature(
            api="mlx_lm.generate",
            callees=("mlx_lm.**.generate", "mlx_lm.**.stream_generate"),
            prompt=("prompt", 2),
            form="either",
            texts=("", ".text"),
        ),
        Signature(
            api="local.generate",
            callees=methods(_OTHERS, "", ".generate", ".stream_infer", ".chat"),
            prompt=("prompts", "prompt", 0),
            form="either",
            many=True,
            texts=("", ".text", "[0].text"),
        ),
        chat_completions("gpt4all.chat_completion", (), "gpt4all.GPT4All().chat_completion"),
    ),
    models=(*_OLLAMA, *_ENGINES, *_LLAMA, *_OTHERS),
)
