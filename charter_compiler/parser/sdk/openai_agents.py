"""OpenAI's Agents SDK (https://openai.github.io/openai-agents-python)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Transparent, methods

# `agents` is a frequent name for a folder too, so the modules are named.
_AGENTS = ("agents.Agent", "agents.agent.Agent", "agents.sandbox.SandboxAgent")
_RUNNER = ("agents.Runner", "agents.run.Runner")
_RUNS = (".run", ".run_sync", ".run_streamed")

SDK = Sdk(
    signatures=(
        Signature(
            api="agents.Runner",
            callees=(*(runner + name for runner in _RUNNER for name in _RUNS), *methods(_RUNNER, *_RUNS)),
            prompt=("input", 1),
            form="either",
            also=("starting_agent", 0),
            texts=("", ".final_output"),
        ),
        Signature(
            api="agents.Model",
            callees=methods(
                ("agents.**.OpenAIChatCompletionsModel", "agents.**.OpenAIResponsesModel", "agents.**.LitellmModel"),
                *(".get_response", ".stream_response"),
            ),
            prompt=("input", 1),
            form="either",
            system="system_instructions",
        ),
    ),
    carriers=(
        Carrier(_AGENTS, ("instructions",)),
        Carrier(methods(_AGENTS, ".as_tool"), ("tool_description", 1)),
    ),
    # `clone` may replace the instructions; most clones change the model or the tools.
    transparent=(Transparent(methods(_AGENTS, ".clone")),),
    models=_AGENTS,
)
