"""LlamaIndex (https://developers.llamaindex.ai/python/framework-api-reference)."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Template, Transparent, methods

_LLMS = (
    "llama_index.**.llms.**.*",
    "llama_index.**.multi_modal_llms.**.*",
    "llama_index.**.LLMPredictor",
)
_SETTINGS = ("llama_index.**.Settings.llm", "llama_index.**.Settings._llm")
_INDEXES = (
    "llama_index.**.*Index",
    "llama_index.**.*Index.from_*",
    "llama_index.**.load_index_from_storage",
)
_ENGINES = (
    *methods(_INDEXES, ".as_query_engine"),
    "llama_index.**.*QueryEngine",
    "llama_index.**.*QueryEngine.from_*",
)
_CHAT_ENGINES = (
    *methods(_INDEXES, ".as_chat_engine"),
    "llama_index.**.*ChatEngine",
    "llama_index.**.*ChatEngine.from_*",
)
_OLD_AGENTS = (
    "llama_index.**.*Agent.from_tools",
    "llama_index.**.*Agent.from_llm",
    "llama_index.**.*AgentWorker.from_tools().as_agent",
    "llama_index.**.AgentRunner",
    "llama_index.**.OpenAIAssistantAgent.from_new",
)
_AGENTS = (
    "llama_index.**.FunctionAgent",
    "llama_index.**.ReActAgent",
    "llama_index.**.CodeActAgent",
    "llama_index.**.AgentWorkflow",
    "llama_index.**.AgentWorkflow.from_tools_or_functions",
    "llama_index.**.OpenAIAgent",
)
_PROGRAMS = ("llama_index.**.*Program.from_defaults", "llama_index.**.*Program")
_SYNTHESIZERS = (
    "llama_index.**.get_response_synthesizer",
    "llama_index.**.TreeSummarize",
    "llama_index.**.Refine",
    "llama_index.**.CompactAndRefine",
    "llama_index.**.SimpleSummarize",
    "llama_index.**.Accumulate",
)


def _llm(*names: str) -> tuple[str, ...]:
    return (*methods(_LLMS, *names), *(setting + name for setting in _SETTINGS for name in names))


_COMPLETE = Signature(
    api="llama_index.llm",
    callees=_llm(".complete", ".acomplete", ".stream_complete", ".astream_complete"),
    prompt=("prompt", 0),
    form="text",
    texts=("", ".text", ".message.content"),
)
_ENGINE = Signature(
    api="llama_index.query_engine",
    callees=methods(_ENGINES, ".query", ".aquery", ".custom_query", ".acustom_query"),
    tails=(".as_query_engine().query", ".as_query_engine().aquery"),
    prompt=("str_or_query_bundle", "query_str", 0),
    form="text",
    texts=("", ".response"),
)

SDK = Sdk(
    signatures=(
        _COMPLETE,
        replace(
            _COMPLETE,
            callees=_llm(".chat", ".achat", ".stream_chat", ".astream_chat"),
            prompt=("messages", 0),
            form="either",
            texts=("", ".message.content", ".content"),
        ),
        replace(
            _COMPLETE,
            callees=_llm(".predict", ".apredict", ".stream", ".astream"),
            prompt=("prompt", 0),
            form="fields",
        ),
        replace(
            _COMPLETE,
            callees=_llm(
                *(".structured_predict", ".astructured_predict"),
                *(".stream_structured_predict", ".astream_structured_predict"),
            ),
            prompt=("prompt", 1),
            form="fields",
            options=("output_cls", "llm_kwargs"),
        ),
        replace(
            _COMPLETE,
            callees=_llm(
                *(".predict_and_call", ".apredict_and_call", ".chat_with_tools", ".achat_with_tools"),
                *(".stream_chat_with_tools", ".astream_chat_with_tools"),
            ),
            prompt=("user_msg", 1),
            form="either",
        ),
        _ENGINE,
        Signature(
            api="llama_index.index",
            # Before 0.6 an index was asked itself.
            callees=methods(("llama_index.**.GPT*Index", "llama_index.**.GPT*Index.*"), ".query"),
            prompt=("query_str", 0),
            form="text",
            texts=("", ".response"),
        ),
        replace(
            _ENGINE,
            api="llama_index.response_synthesizer",
            callees=methods(_SYNTHESIZERS, ".synthesize", ".asynthesize", ".get_response", ".aget_response"),
            tails=(),
            prompt=("query", "query_str", 0),
            also=("nodes", "text_chunks", 1),
        ),
        replace(
            _ENGINE,
            api="llama_index.chat_engine",
            callees=methods(
                (*_CHAT_ENGINES, *_OLD_AGENTS, "llama_index.**.*Agent"),
                *(".chat", ".achat", ".stream_chat", ".astream_chat", ".query", ".aquery"),
            ),
            tails=(".as_chat_engine().chat", ".as_chat_engine().achat", ".as_chat_engine().stream_chat"),
            prompt=("message", "str_or_query_bundle", 0),
        ),
        Signature(
            api="llama_index.agent",
            callees=methods(_AGENTS, ".run"),
            prompt=("user_msg", 0),
            form="either",
            texts=("", ".response.content", ".response"),
        ),
        Signature(
            api="llama_index.program",
            callees=methods(_PROGRAMS, "", ".acall", ".stream_call", ".astream_call"),
            prompt=(),
            form="fields",
            options=("llm_kwargs",),
            texts=("", ".*"),
        ),
    ),
    carriers=(
        Carrier(_AGENTS, ("system_prompt", "agents")),
        Carrier(_OLD_AGENTS, ("system_prompt", "prefix_messages", "instructions", "context")),
        Carrier(
            _ENGINES,
            ("system_prompt", "text_qa_template", "refine_template", "summary_template", "qa_prompt"),
            role="raw",
        ),
        Carrier(_CHAT_ENGINES, ("system_prompt", "prefix_messages", "context_prompt", "context_template")),
        Carrier(_SYNTHESIZERS, ("text_qa_template", "refine_template", "summary_template"), role="raw"),
        Carrier(_PROGRAMS, ("prompt", "prompt_template_str"), role="raw"),
        Carrier(_LLMS, ("system_prompt",)),
    ),
    transparent=(Transparent(methods(_LLMS, ".as_structured_llm")),),
    templates=(
        Template(
            ("llama_index.**.PromptTemplate", "llama_index.**.Prompt", "llama_index.**.QuestionAnswerPrompt"),
            ("template", 0),
        ),
        Template(("llama_index.**.RefinePrompt", "llama_index.**.SummaryPrompt"), ("template", 0)),
        Template(("llama_index.**.RichPromptTemplate",), ("template_str", 0), syntax="jinja"),
        Template(
            ("llama_index.**.ChatPromptTemplate", "llama_index.**.ChatPromptTemplate.from_messages"),
            ("message_templates", 0),
            chat=True,
        ),
    ),
    models=(*_LLMS, *_ENGINES, *_CHAT_ENGINES, *_AGENTS, "llama_index.**.Base*Engine", "llama_index.**.LLM"),
    messages=(("llama_index.**.ChatMessage", "raw"), ("llama_index.**.ChatMessage.from_str", "raw")),
)
