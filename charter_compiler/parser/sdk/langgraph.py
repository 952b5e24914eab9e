"""LangGraph with its prebuilt agents, supervisor, swarm, and client (https://reference.langchain.com/python/langgraph)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Transparent, methods

_GRAPHS = ("langgraph.**.StateGraph", "langgraph.**.MessageGraph", "langgraph.**.Graph")
_SUPERVISOR = ("langgraph_supervisor.**.create_supervisor", "langgraph_supervisor.**.create_*_supervisor")
_SWARM = ("langgraph_swarm.**.create_swarm",)
_REACT = (
    "langgraph.**.create_react_agent",
    "langgraph.**.create_tool_calling_executor",
    "langgraph.**.create_function_calling_executor",
)
_DEEP = ("deepagents.**.create_deep_agent", "deepagents.**.async_create_deep_agent")
_COMPILED = methods((*_GRAPHS, *_SUPERVISOR, *_SWARM), ".compile")
_RUNNING = (
    "langgraph.**.CompiledGraph",
    "langgraph.**.CompiledStateGraph",
    "langgraph.**.Pregel",
    "langgraph.**.RemoteGraph",
)
_RUNS = (".invoke", ".ainvoke", ".stream", ".astream", ".astream_events", ".batch", ".abatch")
_TEXTS = ("['messages'][-1].content", "['messages'][-1]", "['structured_response']")

SDK = Sdk(
    signatures=(
        Signature(
            api="langgraph.graph",
            callees=methods((*_COMPILED, *_RUNNING), *_RUNS),
            prompt=("input", "inputs", 0),
            form="either",
            texts=_TEXTS,
        ),
        Signature(
            api="langgraph.agent",
            callees=methods((*_REACT, *_DEEP), *_RUNS),
            prompt=("input", "inputs", 0),
            form="messages",
            within=("messages",),
            texts=_TEXTS,
        ),
        Signature(
            api="langgraph_sdk.runs",
            callees=methods(
                ("langgraph_sdk.**.get_client", "langgraph_sdk.**.get_sync_client"),
                *(".runs.wait", ".runs.stream", ".runs.create"),
            ),
            prompt=("input",),
            form="either",
            texts=_TEXTS,
        ),
    ),
    carriers=(
        Carrier(_REACT, ("prompt", "state_modifier", "messages_modifier")),
        Carrier(_DEEP, ("system_prompt", "instructions", 1)),
        Carrier(_SUPERVISOR, ("prompt", "agents", 0)),
        Carrier(_SWARM, ("agents", 0)),
    ),
    transparent=(
        Transparent(
            methods(
                _GRAPHS,
                *(".add_node", ".add_edge", ".add_conditional_edges", ".add_sequence", ".set_entry_point"),
                *(".set_finish_point", ".set_conditional_entry_point"),
            )
        ),
        Transparent(methods((*_REACT, *_DEEP, *_COMPILED, *_RUNNING), ".with_config", ".with_retry", ".bind")),
        # The agents of these are compiled already; some code calls `compile` on them with a checkpointer.
        Transparent(methods((*_REACT, *_DEEP), ".compile")),
    ),
    models=(*_COMPILED, *_RUNNING, *_REACT, *_DEEP),
)
