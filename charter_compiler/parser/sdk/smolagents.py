"""smolagents (https://huggingface.co/docs/smolagents), and the agents of older releases of transformers."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, methods

_AGENTS = (
    *("smolagents.**.CodeAgent", "smolagents.**.ToolCallingAgent", "smolagents.**.MultiStepAgent"),
    *("smolagents.**.ManagedAgent", "smolagents.**.CodeAgent.from_*", "smolagents.**.ToolCallingAgent.from_*"),
    *("transformers.**.ReactCodeAgent", "transformers.**.ReactJsonAgent", "transformers.**.CodeAgent"),
    *("transformers.**.HfAgent", "transformers.**.OpenAiAgent", "transformers.**.LocalAgent"),
)
_MODELS = ("smolagents.**.*Model", "transformers.**.HfApiEngine", "transformers.**.HfEngine")

SDK = Sdk(
    signatures=(
        Signature(
            api="smolagents.agent",
            callees=methods(_AGENTS, ".run", ".chat", ""),
            prompt=("task", "request", 0),
            form="text",
            texts=("", ".output"),
        ),
        Signature(
            api="smolagents.model",
            callees=methods(_MODELS, ".generate", ".generate_stream", ""),
            prompt=("messages", 0),
            form="messages",
            texts=("", ".content"),
        ),
    ),
    carriers=(Carrier(_AGENTS, ("system_prompt", "prompt_templates", "instructions", "agent", "managed_agents")),),
    models=(*_AGENTS, *_MODELS),
    messages=(("smolagents.**.ChatMessage", "raw"),),
)
