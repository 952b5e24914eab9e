"""The tables of SDKs: which paths are model calls and with which prompt, which are not, and what carries text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from charter_compiler.parser import sdk
from charter_compiler.parser.sdk.http import ENDPOINT
from charter_compiler.parser.sdk.signature import Signature, compiled

TABLES = Path(sdk.__file__).parent
CALLS = {
    "openai.chat.completions": (
        "openai.OpenAI().chat.completions.create",
        "openai.AsyncAzureOpenAI().chat.completions.parse",
        "openai.lib.azure.AzureOpenAI().chat.completions.create",
        "openai.OpenAI().chat.completions.with_raw_response.create",
        "openai.AsyncOpenAI().beta.chat.completions.stream",
        "openai.chat.completions.create",
        "openai.ChatCompletion.create",
        "openai.ChatCompletion.acreate",
        "langfuse.openai.OpenAI().chat.completions.create",
    ),
    "openai.responses": ("openai.OpenAI().responses.create", "openai.AsyncOpenAI().responses.stream"),
    "openai.completions": ("openai.OpenAI().completions.create", "openai.Completion.acreate"),
    "anthropic.messages": (
        "anthropic.Anthropic().messages.create",
        "anthropic.AsyncAnthropicBedrock().messages.stream",
        "anthropic.Client().beta.messages.create",
        "anthropic.Anthropic().beta.messages.tool_runner",
    ),
    "anthropic.completions": ("anthropic.Anthropic().completions.create",),
    "litellm.completion": ("litellm.completion", "litellm.acompletion", "litellm.router.Router().acompletion"),
    "litellm.batch_completion": ("litellm.batch_completion",),
    "litellm.text_completion": ("litellm.text_completion",),
    "litellm.responses": ("litellm.aresponses",),
    "google.genai.generate_content": (
        "google.genai.Client().models.generate_content",
        "google.genai.Client().aio.models.generate_content_stream",
    ),
    "google.genai.chats": ("google.genai.Client().aio.chats.create().send_message",),
    "google.generativeai": (
        "google.generativeai.GenerativeModel().generate_content",
        "google.generativeai.generative_models.GenerativeModel().generate_content_async",
        "vertexai.preview.generative_models.GenerativeModel().generate_content",
    ),
    "google.generativeai.chat": ("vertexai.generative_models.GenerativeModel().start_chat().send_message",),
    "vertexai.language_models": ("vertexai.language_models.TextGenerationModel.from_pretrained().predict",),
    "google.adk": ("google.adk.runners.Runner().run_async",),
    "langchain.model": (
        "langchain_openai.ChatOpenAI().invoke",
        "langchain_openai.chat_models.base.ChatOpenAI().ainvoke",
        "langchain_openai.ChatOpenAI()",
        "langchain_openai.AzureChatOpenAI().stream",
        "langchain.chat_models.ChatOpenAI().predict_messages",
        "langchain.chat_models.openai.ChatOpenAI()",
        "langchain.chat_models.init_chat_model().invoke",
        "langchain_community.chat_models.ChatOllama().astream",
        "langchain_community.llms.ollama.Ollama().batch",
        "langchain.llms.OpenAI()",
        "langchain.OpenAI().generate",
        "langchain_ollama.OllamaLLM().invoke",
        "langchain_huggingface.HuggingFacePipeline.from_model_id().invoke",
        "langchain_core.language_models.BaseChatModel().abatch",
        "langchain_core.language_models.chat_models.BaseChatModel().invoke",
    ),
    "langchain.chain": (
        "langchain.chains.LLMChain().run",
        "langchain.LLMChain().predict",
        "langchain.chains.llm.LLMChain().apply",
        "langchain.chains.ConversationChain()",
        "langchain.chains.question_answering.load_qa_chain()",
        "langchain.chains.RetrievalQA.from_chain_type().run",
        "langchain.chains.ConversationalRetrievalChain.from_llm().invoke",
        "langchain.chains.combine_documents.create_stuff_documents_chain().invoke",
        "langchain_core.runnables.RunnableSequence().invoke",
    ),
    "langchain.agent": (
        "langchain.agents.initialize_agent().run",
        "langchain.agents.AgentExecutor().invoke",
        "langchain.agents.agent.AgentExecutor.from_agent_and_tools().arun",
        "langchain.agents.create_agent().invoke",
        "langchain.agents.create_tool_calling_agent().stream",
        "langchain_experimental.agents.create_pandas_dataframe_agent().run",
    ),
    "langgraph.agent": ("langgraph.prebuilt.create_react_agent().ainvoke", "deepagents.create_deep_agent().invoke"),
    "langgraph.graph": (
        "langgraph.graph.StateGraph().compile().invoke",
        "langgraph.graph.state.StateGraph().compile().astream",
        "langgraph_supervisor.create_supervisor().compile().invoke",
    ),
    "llama_index.llm": (
        "llama_index.llms.openai.OpenAI().complete",
        "llama_index.core.llms.LLM().achat",
        "llama_index.llms.OpenAI().stream_chat",
        "llama_index.core.Settings.llm.complete",
        "llama_index.llms.ollama.Ollama().structured_predict",
    ),
    "llama_index.query_engine": (
        "llama_index.core.VectorStoreIndex.from_documents().as_query_engine().query",
        "llama_index.core.query_engine.RetrieverQueryEngine.from_args().aquery",
    ),
    "llama_index.chat_engine": (
        "llama_index.core.VectorStoreIndex().as_chat_engine().chat",
        "llama_index.core.agent.ReActAgent.from_tools().chat",
    ),
    "llama_index.agent": ("llama_index.core.agent.workflow.FunctionAgent().run",),
    "llama_index.program": ("llama_index.core.program.LLMTextCompletionProgram.from_defaults()",),
    "dspy.module": (
        "dspy.Predict()",
        "dspy.predict.ChainOfThought()",
        "dspy.ReAct().acall",
        "dspy.ProgramOfThought()",
        "dspy.functional.TypedPredictor()",
    ),
    "dspy.LM": ("dspy.LM()", "dspy.clients.lm.LM().acall", "dspy.OpenAI()"),
    "agents.Runner": ("agents.Runner.run", "agents.Runner.run_sync", "agents.run.Runner.run_streamed"),
    "crewai.Crew": ("crewai.Crew().kickoff", "crewai.crew.Crew().kickoff_for_each_async"),
    "crewai.Agent": ("crewai.Agent().kickoff",),
    "crewai.LLM": ("crewai.LLM().call",),
    "autogen.chat": ("autogen.UserProxyAgent().initiate_chat", "autogen.agentchat.AssistantAgent().a_initiate_chat"),
    "autogen.reply": ("pyautogen.ConversableAgent().generate_reply",),
    "autogen.oai": ("autogen.OpenAIWrapper().create", "autogen.oai.ChatCompletion.create"),
    "autogen_agentchat.run": (
        "autogen_agentchat.agents.AssistantAgent().run",
        "autogen_agentchat.agents.AssistantAgent().on_messages",
        "autogen_agentchat.teams.RoundRobinGroupChat().run_stream",
    ),
    "autogen_core.models": (
        "autogen_ext.models.openai.OpenAIChatCompletionClient().create",
        "autogen_core.models.ChatCompletionClient().create_stream",
    ),
    "smolagents.agent": ("smolagents.CodeAgent().run", "smolagents.ToolCallingAgent()"),
    "smolagents.model": ("smolagents.OpenAIServerModel()", "smolagents.models.LiteLLMModel().generate"),
    "transformers.pipeline": ("transformers.pipeline()",),
    "transformers.generate": (
        "transformers.AutoModelForCausalLM.from_pretrained().generate",
        "transformers.models.llama.LlamaForCausalLM.from_pretrained().generate",
        "transformers.T5ForConditionalGeneration.from_pretrained().generate",
    ),
    "http": ("requests.post", "httpx.AsyncClient().post", "requests.Session().request", "aiohttp.ClientSession().post"),
    "pydantic_ai.Agent": ("pydantic_ai.Agent().run_sync", "pydantic_ai.agent.Agent().run"),
    "semantic_kernel.invoke_prompt": ("semantic_kernel.Kernel().invoke_prompt",),
    "semantic_kernel.agent": ("semantic_kernel.agents.ChatCompletionAgent().get_response",),
    "haystack.generator": ("haystack.components.generators.chat.OpenAIChatGenerator().run",),
    "aider.Coder": ("aider.coders.Coder.create().run",),
    "agno.Agent": ("agno.agent.Agent().run", "phi.assistant.Assistant().print_response"),
    "claude_agent_sdk.query": ("claude_agent_sdk.query",),
    "groq.chat.completions": ("groq.Groq().chat.completions.create",),
    "together.chat.completions": ("together.Together().chat.completions.create",),
    "zhipuai.chat.completions": ("zhipuai.ZhipuAI().chat.completions.create",),
    "chat.completions": (
        "aisuite.Client().chat.completions.create",
        "cerebras.cloud.sdk.Cerebras().chat.completions.create",
    ),
    "huggingface_hub.text_generation": ("huggingface_hub.InferenceClient().text_generation",),
    "huggingface_hub.chat_completion": (
        "huggingface_hub.AsyncInferenceClient().chat_completion",
        "huggingface_hub.InferenceClient().chat.completions.create",
    ),
    "mistralai.chat": ("mistralai.Mistral().chat.complete", "mistralai.client.MistralClient().chat"),
    "cohere.chat": ("cohere.Client().chat", "cohere.ClientV2().chat_stream"),
    "azure.ai.inference": ("azure.ai.inference.ChatCompletionsClient().complete",),
    "xai_sdk.chat": ("xai_sdk.Client().chat.create().sample",),
    "dashscope.generation": ("dashscope.Generation.call",),
    "replicate.run": ("replicate.run",),
    "ollama.chat": ("ollama.chat", "ollama.AsyncClient().chat"),
    "ollama.generate": ("ollama.generate",),
    "vllm.generate": ("vllm.LLM().generate", "vllm.entrypoints.llm.LLM().generate", "sglang.Engine().async_generate"),
    "vllm.chat": ("vllm.LLM().chat",),
    "llama_cpp.completion": ("llama_cpp.Llama()", "llama_cpp.Llama.from_pretrained().create_completion"),
    "llama_cpp.chat_completion": ("llama_cpp.Llama().create_chat_completion",),
    "mlx_lm.generate": ("mlx_lm.generate",),
    "bedrock.invoke_model": ("boto3.client().invoke_model", "boto3.Session().client().invoke_model"),
    "bedrock.converse": ("boto3.client().converse",),
    "instructor.create": ("instructor.from_provider().chat.completions.create", "instructor.from_provider().create"),
    "outlines.generate": ("outlines.generate.json()", "outlines.from_transformers()"),
    "guidance.program": ("guidance()",),
}
NOT_CALLS = (
    # Making a client, a model, an agent or a chain.
    *(
        "openai.OpenAI",
        "langchain_openai.ChatOpenAI",
        "langchain.chat_models.init_chat_model",
        "dspy.Predict",
        "dspy.LM",
    ),
    *("crewai.Crew", "agents.Agent", "smolagents.CodeAgent", "transformers.pipeline", "llama_cpp.Llama", "vllm.LLM"),
    *(
        "langchain.chains.LLMChain",
        "langchain.agents.create_agent",
        "langgraph.prebuilt.create_react_agent",
        "guidance",
    ),
    *("boto3.client", "google.genai.Client().chats.create", "xai_sdk.Client().chat.create", "outlines.generate.json"),
    "transformers.AutoModelForCausalLM.from_pretrained",
    # Embeddings, images, audio, moderation, counting, lists.
    *("openai.OpenAI().embeddings.create", "openai.OpenAI().images.generate", "openai.OpenAI().models.list"),
    *("openai.OpenAI().audio.transcriptions.create", "openai.OpenAI().audio.speech.create", "openai.Embedding.create"),
    *("openai.OpenAI().moderations.create", "openai.Model.list", "openai.OpenAI().files.create", "openai.Image.create"),
    *("openai.OpenAI().beta.threads.messages.create", "openai.OpenAI().chat.completions.list"),
    *("openai.OpenAI().responses.input_tokens.count", "openai.OpenAI().responses.retrieve"),
    *("anthropic.Anthropic().messages.count_tokens", "anthropic.Anthropic().messages.batches.create"),
    *("litellm.embedding", "litellm.token_counter", "litellm.image_generation", "litellm.Router().aembedding"),
    *("google.genai.Client().models.embed_content", "google.genai.Client().models.count_tokens"),
    *("google.genai.Client().models.generate_images", "google.generativeai.GenerativeModel().count_tokens"),
    *("google.generativeai.embed_content", "google.generativeai.list_models"),
    *("langchain_openai.OpenAIEmbeddings().embed_query", "langchain_openai.ChatOpenAI().get_num_tokens"),
    *("langchain_openai.OpenAIEmbeddings()", "langchain_core.prompts.ChatPromptTemplate().invoke"),
    *("langchain_core.prompts.ChatPromptTemplate()", "langchain_core.output_parsers.StrOutputParser().invoke"),
    *("langchain_community.vectorstores.FAISS.from_documents().as_retriever().invoke",),
    *("langchain.chains.TransformChain().run", "langchain.chains.OpenAIModerationChain().run"),
    *("langchain_core.runnables.RunnableLambda().invoke", "langchain_core.runnables.RunnablePassthrough().invoke"),
    *("langchain_core.tools.tool().invoke", "langchain.schema.HumanMessage()", "langchain_core.messages.AIMessage()"),
    *("langgraph.graph.StateGraph().add_node", "langgraph.graph.StateGraph().compile().get_state"),
    *("llama_index.core.VectorStoreIndex().as_retriever().retrieve", "llama_index.core.workflow.Workflow().run"),
    *("llama_index.embeddings.openai.OpenAIEmbedding().get_text_embedding", "llama_index.core.Settings.embed_model"),
    *("dspy.Signature()", "dspy.Embedder()", "dspy.retrieve.Retrieve()", "dspy.Example()", "dspy.evaluate.Evaluate()"),
    *("crewai.flow.flow.Flow().kickoff", "crewai.Task().run", "autogen.UserProxyAgent().register_function"),
    *("smolagents.tools.Tool()", "transformers.AutoModel.from_pretrained().forward"),
    *("transformers.WhisperForConditionalGeneration.from_pretrained().generate", "ollama.embeddings", "ollama.list"),
    *("transformers.AutoModelForSequenceClassification.from_pretrained()", "vllm.LLM().encode", "ollama.embed"),
    *("llama_cpp.Llama().create_embedding", "llama_cpp.Llama().tokenize", "cohere.Client().embed"),
    *("cohere.Client().rerank", "huggingface_hub.InferenceClient().text_to_image", "requests.get", "httpx.get"),
    *("huggingface_hub.InferenceClient().feature_extraction", "mistralai.Mistral().embeddings.create"),
    *("boto3.client().put_object", "boto3.client().invoke_endpoint", "dashscope.TextEmbedding.call"),
    *("haystack.components.generators.OpenAIImageGenerator().run", "haystack.components.embedders.X().run"),
    *("pydantic_ai.Agent().tool", "replicate.models.list", "myproject.OpenAI().chat", "not_langchain.LLMChain().run"),
)


def apis(path: str) -> set[str]:
    return {signature.api for signature in sdk.signature(path)}


@pytest.mark.parametrize(("api", "path"), [(api, path) for api, paths in CALLS.items() for path in paths])
def test_path_of_a_model_call_has_one_api(api: str, path: str) -> None:
    assert apis(path) == {api}


@pytest.mark.parametrize("path", NOT_CALLS)
def test_path_of_another_call_has_none(path: str) -> None:
    assert apis(path) == set()


def test_every_api_of_the_tables_is_called_here_or_alike() -> None:
    """A new SDK comes with paths above."""
    listed = {name.partition(".")[0] for name in CALLS}
    heads = {entry.api.partition(".")[0] for table in sdk.SDKS for entry in table.signatures}
    untested = {"camel", "completions", "gpt4all", "langgraph_sdk", "langroid", "local", "mii", "qianfan", "strands"}
    assert heads - listed - untested - {"agent_framework", "swarm"} == set()


def every_pattern() -> list[str]:
    found: list[str] = []
    for table in sdk.SDKS:
        for entries in (table.signatures, table.carriers, table.transparent, table.templates):
            for entry in entries:
                found.extend(entry.callees)
        found.extend(table.models)
        found.extend(pattern for pattern, _ in table.messages)
    return found


def test_patterns_compile_and_begin_with_a_package() -> None:
    for pattern in every_pattern():
        assert re.match(r"[a-z_]\w+(\*?\.|_\*\.|$|\(\))", pattern), pattern
        assert "**" not in pattern.replace("**.", ""), pattern
        compiled(pattern)


def test_callees_end_with_a_constant_name_or_a_call() -> None:
    """``METHODS`` is of use only so."""
    for table in sdk.SDKS:
        for signature in table.signatures:
            for path in (*signature.callees, *signature.tails):
                last = path.rpartition(".")[2]
                assert last.endswith("()") or last in sdk.METHODS, path
                assert "*" not in last or last.endswith("()"), path
            assert all(tail.startswith(".") for tail in signature.tails)


def test_expressions_of_conditions_compile() -> None:
    for table in sdk.SDKS:
        for signature in table.signatures:
            for _, expression in (*signature.where, *signature.made):
                re.compile(expression)


def test_two_stars_stand_for_names_without_calls() -> None:
    pattern = compiled("a.**.B().run")
    assert pattern.fullmatch("a.B().run")
    assert pattern.fullmatch("a.b.c.B().run")
    assert not pattern.fullmatch("a.X().B().run")
    assert not pattern.fullmatch("a.AB().run")
    assert compiled("a_*.B*").fullmatch("a_x.Bc")
    assert not compiled("a_*.B*").fullmatch("a_x.y.Bc")


@pytest.mark.parametrize(
    ("path", "api"),
    [
        (".chat.completions.create", "openai.chat.completions"),
        (".client.chat.completions.create", "openai.chat.completions"),
        (".beta.chat.completions.parse", "openai.chat.completions"),
        (".responses.create", "openai.responses"),
        (".messages.create", "anthropic.messages"),
        (".models.generate_content", "google.genai.generate_content"),
        (".generate_content", "google.generativeai"),
        (".crew().kickoff", "crewai.Crew"),
        (".invoke_model", "bedrock.invoke_model"),
    ],
)
def test_unmistakable_tail(path: str, api: str) -> None:
    signature = sdk.by_tail(path)
    assert signature is not None
    assert signature.api == api


@pytest.mark.parametrize(
    "path", [".create", ".embeddings.create", ".run", ".images.generate", ".completions.create", ""]
)
def test_other_tail(path: str) -> None:
    assert sdk.by_tail(path) is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("agents.Agent", ("instructions",)),
        ("dspy.ChainOfThought", ("signature", 0)),
        ("langchain.agents.create_react_agent", ("system_prompt", "prompt", 2)),
        ("langchain.agents.create_agent", ("system_prompt", "prompt")),
        ("langchain_experimental.agents.create_pandas_dataframe_agent", ("prefix", "prompt", "suffix")),
        ("langchain.chains.LLMChain.from_string", ("template", 1)),
        ("langgraph.prebuilt.create_react_agent", ("prompt", "state_modifier", "messages_modifier")),
        ("pydantic_ai.Agent", ("system_prompt", "instructions")),
        ("crewai.Task", ("agent", "description", "expected_output")),
        ("google.generativeai.GenerativeModel", ("system_instruction",)),
        ("autogen.AssistantAgent", ("system_message", 1, "instructions")),
    ],
)
def test_carrier(path: str, text: tuple[str | int, ...]) -> None:
    carrier = sdk.carrier(path)
    assert carrier is not None
    assert carrier.text == text


@pytest.mark.parametrize("path", ["openai.OpenAI", "langchain_openai.ChatOpenAI", "agents.Runner", "crewai.Process"])
def test_no_carrier(path: str) -> None:
    assert sdk.carrier(path) is None


@pytest.mark.parametrize(
    ("path", "of"),
    [
        ("langchain_openai.ChatOpenAI().with_structured_output", ()),
        ("langchain_openai.ChatOpenAI().bind_tools", ()),
        ("openai.OpenAI().with_options", ()),
        ("instructor.from_openai", ("client", 0)),
        ("langsmith.wrappers.wrap_openai", ("client", "openai_client", "anthropic_client", 0)),
        ("transformers.AutoModelForCausalLM.from_pretrained().to", ()),
        ("transformers.AutoTokenizer.from_pretrained()", ("text", 0)),
        ("transformers.AutoTokenizer.from_pretrained().apply_chat_template", ("conversation", 0)),
        ("langgraph.graph.StateGraph().add_edge", ()),
        ("agents.Agent().clone", ()),
        ("dspy.asyncify", ("module", "program", 0)),
    ],
)
def test_transparent(path: str, of: tuple[str | int, ...]) -> None:
    transparent = sdk.transparent(path)
    assert transparent is not None
    assert transparent.of == of


def test_what_makes_something_new_is_not_transparent() -> None:
    assert sdk.transparent("openai.OpenAI") is None
    assert sdk.transparent("instructor.from_provider") is None
    assert sdk.transparent("langchain_openai.ChatOpenAI().invoke") is None


@pytest.mark.parametrize(
    ("path", "chat", "syntax", "role"),
    [
        ("langchain.PromptTemplate", False, "format", "raw"),
        ("langchain_core.prompts.PromptTemplate.from_template", False, "format", "raw"),
        ("langchain.prompts.chat.ChatPromptTemplate.from_messages", True, "format", "raw"),
        ("langchain_core.prompts.ChatPromptTemplate.from_template", False, "format", "user"),
        ("langchain.prompts.SystemMessagePromptTemplate.from_template", False, "format", "system"),
        ("llama_index.core.PromptTemplate", False, "format", "raw"),
        ("haystack.components.builders.PromptBuilder", False, "jinja", "raw"),
    ],
)
def test_template(path: str, chat: bool, syntax: str, role: str) -> None:
    template = sdk.template(path)
    assert template is not None
    assert (template.chat, template.syntax, template.role) == (chat, syntax, role)


def test_models_and_messages() -> None:
    assert sdk.is_model("openai.OpenAI")
    assert sdk.is_model("langchain_core.language_models.chat_models.BaseChatModel")
    assert sdk.is_model("langchain_openai.ChatOpenAI")
    assert not sdk.is_model("langchain_openai.OpenAIEmbeddings")
    assert not sdk.is_model("llama_index.core.llms.ChatMessage")
    assert not sdk.is_model("langchain_core.prompts.ChatPromptTemplate")
    assert sdk.message_role("langchain.schema.SystemMessage") == "system"
    assert sdk.message_role("langchain_core.messages.HumanMessage") == "user"
    assert sdk.message_role("langchain_openai.ChatOpenAI") is None


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.openai.com/v1/chat/completions", "/v1/completions", "https://api.anthropic.com/v1/messages"),
        *("http://localhost:11434/api/generate", "/api/chat", "/v1beta/models/gemini:generateContent?key="),
        *("http://localhost:8000/generate", "http://localhost:8080/completion", "/v1/chat/completions/"),
        "https://api-inference.huggingface.co/models/gpt2",
        "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-02-01",
    ],
)
def test_url_of_a_completion(url: str) -> None:
    assert re.search(ENDPOINT, url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.openai.com/v1/embeddings", "/v1/images/generations", "/v1/audio/speech", "/v1/moderations"),
        *(
            "https://api.anthropic.com/v1/messages/count_tokens",
            "/api/embeddings",
            "/tokenize",
            "https://x.y/users",
            "",
        ),
        *("https://discord.com/api/v10/channels/1/messages", "/api/generate-report", "/models", "/api/pull"),
    ],
)
def test_url_of_something_else(url: str) -> None:
    assert not re.search(ENDPOINT, url)


def test_url_is_found_as_keyword_and_by_position() -> None:
    slots = {slot for signature in sdk.signature("requests.post") for slot, _ in signature.where}
    assert slots == {0, "url"}
    slots = {slot for signature in sdk.signature("requests.request") for slot, _ in signature.where}
    assert slots == {1, "url"}


def test_pipeline_is_told_by_its_task() -> None:
    signatures = sdk.signature("transformers.pipeline()")
    assert {slot for signature in signatures for slot, _ in signature.made} == {0, "task"}
    for task, text in (
        ("text-generation", True),
        ("summarization", True),
        ("image-classification", False),
        ("", False),
    ):
        assert any(re.search(signature.made[0][1], task) for signature in signatures) is text


def test_bedrock_model_that_writes_text() -> None:
    (signature,) = sdk.signature("boto3.client().invoke_model")
    ((_, expression),) = signature.where
    assert re.search(expression, "anthropic.claude-3-haiku-20240307-v1:0")
    assert re.search(expression, "")
    assert not re.search(expression, "amazon.titan-embed-text-v1")
    assert not re.search(expression, "stability.stable-diffusion-xl")


def test_methods_and_modules() -> None:
    assert {"create", "invoke", "kickoff", "generate_content", "run_sync", "post"} <= sdk.METHODS.keys()
    assert {"openai", "langchain", "langchain_openai", "dspy", "requests", "boto3", "google", "guidance"} <= sdk.MODULES
    assert sdk.is_module("langchain_something_new")
    assert not sdk.is_module("numpy")


def test_all_tables_are_listed_and_import_no_sdk() -> None:
    listed = {id(table) for table in sdk.SDKS}
    for path in sorted(TABLES.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in ("charter_compiler", "__future__", "collections", "dataclasses") or (
                    name in ("re", "functools", "typing")
                ), f"{path.name} imports {name}"
        if path.stem not in ("__init__", "signature", "injected"):
            assert id(getattr(sdk, path.stem).SDK) in listed, path.name
            docstring = ast.get_docstring(tree) or ""
            assert "\n" not in docstring, path.name


def test_a_list_of_a_signature_s_alternatives_is_in_the_order_of_the_tables() -> None:
    found: tuple[Signature, ...] = sdk.signature("requests.post")
    order = [entry for table in sdk.SDKS for entry in table.signatures]
    assert [order.index(entry) for entry in found] == sorted(order.index(entry) for entry in found)
