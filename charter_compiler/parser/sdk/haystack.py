"""Haystack (https://docs.haystack.deepset.ai/reference): generators, agents, and pipelines that are given a prompt."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Carrier, Role, Sdk, Signature, Template, methods

_NAMES = (
    *("*ChatGenerator", "OpenAIGenerator", "AzureOpenAIGenerator", "HuggingFace*Generator", "OllamaGenerator"),
    *("AnthropicGenerator", "CohereGenerator", "MistralGenerator", "AmazonBedrockGenerator", "NvidiaGenerator"),
    *("VertexAITextGenerator", "VertexAIGeminiGenerator", "GoogleAIGeminiGenerator", "LlamaCppGenerator"),
)
_GENERATORS = tuple(
    f"{package}.**.generators.**.{name}" for package in ("haystack", "haystack_integrations") for name in _NAMES
)
_OLD = ("haystack.**.PromptNode", "haystack.**.Agent")
_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_PIPELINE = ("haystack.**.Pipeline", "haystack.**.AsyncPipeline")
_CALL = Signature(
    api="haystack.generator",
    callees=methods(_GENERATORS, ".run", ".run_async"),
    prompt=("messages", "prompt", "parts", 0),
    form="either",
    texts=("['replies'][0]", "['replies'][0].text", "['replies'][0].content"),
)

SDK = Sdk(
    signatures=(
        _CALL,
        replace(
            _CALL,
            api="haystack.agent",
            callees=methods(_OLD, ".run", ".run_async", "", ".prompt"),
            prompt=("messages", "query", "prompt_template", 0),
            texts=("", "['messages'][-1].text", "['last_message'].text", "[0]"),
        ),
        *(
            replace(
                _CALL,
                api="haystack.pipeline",
                callees=methods(_PIPELINE, ".run", ".run_async", ".run_async_generator"),
                prompt=("data", 0),
                # Pipelines that index or retrieve have no such component.
                where=((data, r"(?i)prompt|llm|generator|agent"),),
                texts=("['llm']['replies'][0]", "['llm']['replies'][0].text", "['generator']['replies'][0]"),
            )
            for data in ("data", 0)
        ),
    ),
    carriers=(Carrier(_OLD, ("system_prompt", "user_prompt", "default_prompt_template")),),
    templates=(
        Template(("haystack.**.PromptBuilder",), ("template", 0), syntax="jinja"),
        Template(("haystack.**.ChatPromptBuilder",), ("template", 0), syntax="jinja", chat=True),
        Template(("haystack.**.PromptTemplate",), ("prompt", "prompt_text", 0)),
    ),
    models=(*_GENERATORS, *_OLD),
    messages=tuple((f"haystack.**.ChatMessage.from_{role}", role) for role in _ROLES),
)
