"""LangChain and its partner packages (https://reference.langchain.com/python, releases 0.0 to 1)."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Carrier, Role, Sdk, Signature, Template, Transparent, methods

PACKAGES = frozenset(
    {
        *("langchain", "langchain_core", "langchain_classic", "langchain_community", "langchain_experimental"),
        *("langchain_openai", "langchain_anthropic", "langchain_google_genai", "langchain_google_vertexai"),
        *("langchain_google_community", "langchain_aws", "langchain_azure_ai", "langchain_cohere", "langchain_ollama"),
        *("langchain_groq", "langchain_mistralai", "langchain_together", "langchain_fireworks", "langchain_deepseek"),
        *("langchain_xai", "langchain_huggingface", "langchain_nvidia_ai_endpoints", "langchain_ibm", "langchain_ai21"),
        *(
            "langchain_perplexity",
            "langchain_openrouter",
            "langchain_cerebras",
            "langchain_sambanova",
            "langchain_upstage",
        ),
        *("langchain_gigachat", "langchain_databricks", "langchain_qwq", "langchain_litellm", "langchain_writer"),
        *("langchain_snowflake", "langchain_cloudflare", "langchain_prompty", "langchain_hub", "langchainhub"),
    }
)
"""Import names that are known to hold models or templates; the patterns match others of the same form as well."""

MODELS = (
    # Any class of these modules, and what makes one of them (`init_chat_model`, `HuggingFacePipeline.from_model_id`).
    "langchain*.**.chat_models.**.*",
    "langchain*.**.llms.**.*",
    "langchain_core.language_models.**.*",
    # The packages of single makers export the classes at the top.
    "langchain_*.Chat*",
    "langchain_*.AzureChat*",
    "langchain_*.AzureAIChat*",
    "langchain_*.AzureAIOpenAI*Chat*",
    "langchain_*.BedrockChat",
    "langchain_*.GigaChat",
    "langchain_*.*LLM",
    "langchain_openai.OpenAI",
    "langchain_openai.AzureOpenAI",
    "langchain_openai.**.base.OpenAI",
    "langchain_google_vertexai.VertexAI",
    "langchain_google_vertexai.VertexAIModelGarden",
    "langchain_google_genai.GoogleGenerativeAI",
    "langchain_cohere.Cohere",
    "langchain_fireworks.Fireworks",
    "langchain_together.Together",
    "langchain_nvidia_ai_endpoints.NVIDIA",
    "langchain_huggingface.HuggingFacePipeline",
    "langchain_huggingface.HuggingFacePipeline.from_model_id",
    "langchain_huggingface.HuggingFaceEndpoint",
    # The first releases exported them from the root.
    "langchain.OpenAI",
    "langchain.Anthropic",
    "langchain.Cohere",
    "langchain.AI21",
    "langchain.LlamaCpp",
    "langchain.HuggingFaceHub",
    "langchain.HuggingFacePipeline",
    "langchain.HuggingFacePipeline.from_model_id",
    "langchain.HuggingFaceTextGenInference",
    # Names of the base classes, for annotations.
    "langchain*.**.BaseLanguageModel",
    "langchain*.**.BaseChatModel",
    "langchain*.**.BaseLLM",
)
_CHAIN_NAMES = (
    "*LLM*Chain",
    "*QA*Chain",
    "RetrievalQA",
    "VectorDBQA",
    "*Documents*Chain",
    "*Retrieval*Chain",
    "Conversation*Chain",
    "ChatVectorDBChain",
    "*SequentialChain",
    "MapReduceChain",
    "MultiPromptChain",
    "MultiRouteChain",
    "SQLDatabaseChain",
    "ConstitutionalChain",
    "APIChain",
    "OpenAPIEndpointChain",
    "QAGenerationChain",
    "QAEvalChain",
    "*CriteriaEvalChain",
    "FlareChain",
    "NatBotChain",
    "PALChain",
)
_CHAIN_CLASSES = tuple(f"langchain*.**.{name}" for name in _CHAIN_NAMES)
_CHAIN_MAKERS = (
    "langchain*.**.load_*_chain",
    "langchain*.**.create_*_chain",
    "langchain*.**.create_*_runnable",
    *(f"{name}.from_*" for name in _CHAIN_CLASSES),
)
_RUNNABLES = (
    "langchain*.**.runnables.**.Runnable",
    "langchain*.**.runnables.**.RunnableSequence",
    "langchain*.**.runnables.**.RunnableSerializable",
    "langchain*.**.runnables.**.RunnableParallel",
    "langchain*.**.runnables.**.RunnableBranch",
    "langchain*.**.runnables.**.RunnableWithMessageHistory",
)
_CHAINS = (*_CHAIN_CLASSES, *_CHAIN_MAKERS, *_RUNNABLES)
_EXECUTORS = (
    "langchain*.**.AgentExecutor",
    "langchain*.**.AgentExecutor.from_agent_and_tools",
    "langchain*.**.initialize_agent",
    "langchain*.**.PlanAndExecute",
    "langchain*.**.OpenAIAssistantRunnable",
    "langchain*.**.OpenAIAssistantRunnable.create_assistant",
)
_AGENTS = ("langchain*.**.create_*_agent", "langchain*.**.create_agent", "langchain*.**.*Agent.from_llm_and_tools")
_DATA_AGENTS = tuple(
    f"langchain*.**.create_{kind}_agent"
    for kind in ("*dataframe", "csv", "sql", "spark_sql", "json", "openapi", "pbi", "python", "vectorstore*")
)
_CHAIN_PARTS = (
    *("prompt", "chain_type_kwargs", "combine_docs_chain_kwargs", "condense_question_prompt", "map_prompt"),
    *("combine_prompt", "question_prompt", "refine_prompt", "system_message", "chains", "llm_chain"),
    *("combine_documents_chain", "combine_docs_chain"),
)
"""Arguments of chains that hold prompts, or chains that do."""
_RUN = (".invoke", ".ainvoke", ".stream", ".astream", ".astream_events", ".astream_log")
_BATCH = (".batch", ".abatch", ".batch_as_completed", ".abatch_as_completed")
_PROMPTS = "langchain*.**"

_MODEL = Signature(
    api="langchain.model",
    callees=methods(
        MODELS,
        *_RUN,
        *(".predict", ".apredict", ".predict_messages", ".apredict_messages", ".call_as_llm", ".acall", ""),
    ),
    prompt=("input", "messages", "message", "text", "prompt", 0),
    form="either",
    texts=("", ".content", ".text", ".text()", "['parsed']", "['raw'].content"),
)
_CHAIN = Signature(
    api="langchain.chain",
    callees=methods(_CHAINS, *_RUN, ".acall", ""),
    prompt=("input", "inputs", 0),
    form="either",
    texts=(
        *("", ".content", "['text']", "['output_text']", "['result']", "['answer']", "['response']", "['output']"),
        *("['messages'][-1].content",),
    ),
)
_OPTIONS = ("callbacks", "tags", "metadata", "config", "include_run_info", "return_only_outputs")

_ROLES: dict[str, Role] = {"SystemMessage": "system", "HumanMessage": "user", "AIMessage": "assistant"}
MESSAGES: dict[str, Role] = {
    **{f"langchain*.**.{name}": role for name, role in _ROLES.items()},
    "langchain*.**.FunctionMessage": "raw",
    "langchain*.**.ToolMessage": "raw",
    "langchain*.**.ChatMessage": "raw",
}
"""Classes of messages; what is ``raw`` has its role in an argument or stands for a tool."""

UNCHANGED = (
    *(".with_structured_output", ".bind", ".bind_tools", ".bind_functions", ".with_retry", ".with_config"),
    *(".with_fallbacks", ".with_types", ".with_listeners", ".with_alisteners", ".configurable_fields"),
    *(".configurable_alternatives",),
)
"""Methods of everything that runs; what they return sends the same text."""

SDK = Sdk(
    signatures=(
        _MODEL,
        replace(
            _MODEL,
            callees=methods(MODELS, *_BATCH, ".generate", ".agenerate", ".generate_prompt", ".agenerate_prompt"),
            prompt=("inputs", "messages", "prompts", 0),
            many=True,
            texts=("[0]", "[0].content", ".generations[0][0].text", ".generations[0][0].message.content"),
        ),
        _CHAIN,
        replace(
            _CHAIN,
            callees=methods(_CHAINS, *_BATCH, ".apply", ".aapply", ".apply_and_parse", ".generate", ".agenerate"),
            prompt=("inputs", "input_list", 0),
            many=True,
            texts=("[0]", "[0].content", "[0]['text']", ".generations[0][0].text"),
        ),
        replace(
            _CHAIN,
            callees=methods(_CHAINS, ".run", ".arun", ".predict", ".apredict", ".predict_and_parse"),
            prompt=(0,),
            form="fields",
            options=_OPTIONS,
        ),
        replace(
            _CHAIN,
            api="langchain.agent",
            callees=methods((*_EXECUTORS, *_AGENTS), *_RUN, ".acall", ".iter", ""),
        ),
        replace(
            _CHAIN,
            api="langchain.agent",
            callees=methods((*_EXECUTORS, *_AGENTS), *_BATCH, ".apply"),
            prompt=("inputs", "input_list", 0),
            many=True,
        ),
        replace(
            _CHAIN,
            api="langchain.agent",
            callees=methods((*_EXECUTORS, *_AGENTS), ".run", ".arun"),
            prompt=(0,),
            form="fields",
            options=_OPTIONS,
        ),
        Signature(
            api="langchain.output_parser",
            callees=methods(
                ("langchain*.**.OutputFixingParser.from_llm", "langchain*.**.Retry*OutputParser.from_llm"),
                *(".parse", ".aparse", ".parse_with_prompt", ".aparse_with_prompt"),
            ),
            prompt=("completion", 0),
            form="text",
        ),
    ),
    carriers=(
        Carrier(("langchain*.**.LLMChain.from_string",), ("template", 1), role="raw"),
        Carrier(("langchain*.**.create_*_chain", "langchain*.**.create_*_runnable"), (*_CHAIN_PARTS, 1), role="raw"),
        Carrier(_CHAINS, _CHAIN_PARTS, role="raw"),
        Carrier(("langchain*.**.RunnableWithMessageHistory",), ("runnable", 0)),
        Carrier(("langchain*.**.AgentExecutor", "langchain*.**.AgentExecutor.from_agent_and_tools"), ("agent", 0)),
        Carrier(("langchain*.**.initialize_agent",), ("agent_kwargs",)),
        Carrier(("langchain*.**.create_agent",), ("system_prompt", "prompt")),
        # Agents for data take other arguments in the place of the prompt.
        Carrier(_DATA_AGENTS, ("prefix", "prompt", "suffix")),
        Carrier(("langchain*.**.create_*_agent",), ("system_prompt", "prompt", 2)),
        Carrier(("langchain*.**.FewShot*Template",), ("prefix", "example_prompt", "examples", "suffix"), role="raw"),
    ),
    transparent=(Transparent(methods((*MODELS, *_CHAINS, *_EXECUTORS, *_AGENTS), *UNCHANGED)),),
    templates=(
        Template((f"{_PROMPTS}.PromptTemplate", f"{_PROMPTS}.PromptTemplate.from_template"), ("template", 0)),
        Template((f"{_PROMPTS}.Prompt", f"{_PROMPTS}.Prompt.from_template"), ("template", 0)),
        Template((f"{_PROMPTS}.ChatPromptTemplate.from_messages",), ("messages", 0), chat=True),
        Template((f"{_PROMPTS}.ChatPromptTemplate",), ("messages", 0), chat=True),
        Template((f"{_PROMPTS}.ChatPromptTemplate.from_template",), ("template", 0), role="user"),
        *(
            Template(
                (f"{_PROMPTS}.{name}PromptTemplate", f"{_PROMPTS}.{name}PromptTemplate.from_template"),
                ("template", "prompt", 0),
                role=role,
            )
            for name, role in _ROLES.items()
        ),
        Template(
            (f"{_PROMPTS}.ChatMessagePromptTemplate", f"{_PROMPTS}.ChatMessagePromptTemplate.from_template"),
            ("template", "prompt", 0),
        ),
    ),
    models=(*MODELS, *_CHAINS, *_EXECUTORS, *_AGENTS),
    messages=tuple(MESSAGES.items()),
)
