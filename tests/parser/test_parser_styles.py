"""One workflow in several styles gives one graph; the flow of state through LangGraph's graphs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import networkx as nx
import pytest
from parser_show import parse, prompt, prompts

from charter_compiler.analysis.prompt_text import engine_calls, engine_edges
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.ir.nodes import Call, Const, walk
from charter_compiler.ir.text import parse_agent, print_agent
from charter_compiler.parser.ast_parser import AgentASTParser

STYLES = Path(__file__).parents[1] / "fixtures" / "parser" / "styles"
RELEASE_NOTES = (
    "plain_loop", "functions", "gathered", "task_group", "methods", "thread_pool", "state_graph",
)  # fmt: skip
RETRIES = ("retry_while", "retry_graph", "retry_command")


def constants(call: Call) -> str:
    """What is constant in a prompt, in order; where values stand between, a bar."""
    text = ""
    for message in call.messages:
        for segment in walk(message.segments):
            text += segment.text if isinstance(segment, Const) else "|"
    return text.replace("||", "|").rstrip("|")


def graph_of(style: str) -> dict[str, set[str]]:
    """The engine calls by their constant texts, each with those whose results its prompt holds."""
    parsed = AgentASTParser().parse_file(STYLES / f"{style}.py")
    assert parse_agent(print_agent(parsed.agent)) == parsed.agent
    edges = engine_edges(parsed.calls)
    texts = {call.id: constants(call).split("|")[0] for call in engine_calls(parsed.calls)}
    assert set(texts) == set(edges)
    return {texts[call]: {texts[other] for other in others} for call, others in edges.items()}


def test_the_plain_loop_has_the_edges_of_the_workflow() -> None:
    graph = graph_of("plain_loop")
    draft, facts, style, revise = graph
    assert draft.startswith("You write release notes")
    assert graph == {draft: set(), facts: {draft}, style: {draft}, revise: {draft, facts, style}}


@pytest.mark.parametrize("style", RELEASE_NOTES[1:])
def test_every_style_gives_the_graph_of_the_plain_loop(style: str) -> None:
    assert graph_of(style) == graph_of("plain_loop")


def test_the_prompts_have_the_same_constants_in_every_style() -> None:
    found = {}
    for style in RELEASE_NOTES:
        calls = engine_calls(AgentASTParser().parse_file(STYLES / f"{style}.py").calls)
        found[style] = sorted(constants(call) for call in calls)
    assert all(each == found["plain_loop"] for each in found.values()), found


@pytest.mark.parametrize("style", RETRIES)
def test_retrying_until_good_is_one_graph(style: str) -> None:
    graph = graph_of(style)
    write, judge, retry = (
        next(text for text in graph if text.startswith(start)) for start in ("You write", "You are", "The duty editor")
    )
    assert graph == {write: set(), judge: {write, retry}, retry: {write, judge, retry}}


@pytest.mark.parametrize("style", RETRIES)
def test_what_comes_from_an_earlier_turn_is_carried(style: str) -> None:
    calls = AgentASTParser().parse_file(STYLES / f"{style}.py").calls
    graph = DAGBuilder().build_from_calls(calls)
    carried = [(one, other) for one, other in graph.graph.edges if graph.is_carried(one, other)]
    retry = engine_calls(calls)[-1].id
    assert [one for one, _ in carried] == [retry, retry]
    assert nx.is_directed_acyclic_graph(graph.within_turn)


HEAD = """
from typing import Annotated, TypedDict
from functools import partial
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Send

class State(TypedDict):
    topic: str
    draft: str
    note: str
    messages: Annotated[list, add_messages]

llm = ChatOpenAI()
def one(state):
    return {"draft": llm.invoke(f"one {state['topic']}").content}
"""

GRAPHS = {
    "a sequence, a chain that is filled from the state": (
        """
        chain = ChatPromptTemplate.from_template("two {draft} of {topic}") | llm
        def two(state: State):
            return {"note": chain.invoke(state)}
        def three(state: State):
            return {"note": llm.invoke(f"three {state['note'].content}")}
        app = StateGraph(State).add_sequence([one, ("second", two), three]).set_entry_point("one").compile()
        """,
        ["user: one {topic}", "user: two <1> of {topic}", "user: three <1>"],
    ),
    "lambdas and partials": (
        """
        def two(tone, state):
            return {"note": llm.invoke(f"two {tone} {state['draft']}").content}
        g = StateGraph(State)
        g.add_node("one", one)
        g.add_node("two", partial(two, "kind"))
        g.add_node("three", lambda s: {"topic": llm.invoke(f"three {s['note']}").content})
        g.add_edge(START, "one")
        g.add_edge("one", "two")
        g.add_edge("two", "three")
        """,
        ["user: one {topic}", "user: two {tone} <1>", "user: three <1>"],
    ),
    "a node that changes the state and returns it": (
        """
        def change(state):
            state["draft"] = "Draft: " + state["draft"]
            return state
        def two(state):
            llm.invoke(f"two {state['draft']} {state['topic']}")
            return {}
        g = StateGraph(State)
        g.add_node(one)
        g.add_node(change)
        g.add_node(two)
        g.set_entry_point("one")
        g.add_edge("one", "change")
        g.add_edge("change", "two")
        """,
        ["user: one {topic}", "user: two Draft: <1> {topic}"],
    ),
    "messages are added": (
        """
        def ask(state):
            return {"messages": [llm.invoke([SystemMessage("ask"), *state["messages"]])]}
        def answer(state):
            return {"messages": [llm.invoke([SystemMessage("answer"), *state["messages"]])]}
        def judge(state):
            return {"note": llm.invoke("judge " + state["messages"][-1].content).content}
        g = StateGraph(State)
        g.add_sequence([ask, answer, judge])
        g.add_edge(START, "ask")
        """,
        [
            "user: one {state['topic']}",
            "system: ask / unknown: ({messages})*",
            "system: answer / unknown: ({messages})* / unknown: <1>",
            "user: judge <1>",
        ],
    ),
    "a branch that is not always taken": (
        """
        def two(state):
            return {"draft": llm.invoke(f"two {state['draft']}").content}
        def three(state):
            return {"note": llm.invoke(f"three {state['draft']}").content}
        def choose(state):
            return "again" if len(state["draft"]) < 10 else "done"
        g = StateGraph(State)
        g.add_node(one)
        g.add_node(two)
        g.add_node(three)
        g.add_edge(START, "one")
        g.add_conditional_edges("one", choose, {"again": "two", "done": "three"})
        g.add_edge("two", "three")
        """,
        ["user: one {topic}", "user: two <1>", "user: three [<1>|<1>]"],
    ),
    "what is sent in the place of the state": (
        """
        def two(state):
            return {"note": llm.invoke(f"two {state['part']} {state['draft']}").content}
        def spread(state):
            return [Send("two", {"part": part, "draft": state["draft"]}) for part in state["topic"]]
        g = StateGraph(State)
        g.add_node(one)
        g.add_node(two)
        g.add_edge(START, "one")
        g.add_conditional_edges("one", spread, ["two"])
        """,
        ["user: one {topic}", "user: two {part@call} <1>"],
    ),
    "a result that the graph is run with": (
        """
        g = StateGraph(State)
        g.add_node(one)
        g.set_entry_point("one")
        app = g.compile()
        def run(doc):
            outline = llm.invoke(f"outline {doc}")
            app.invoke({"topic": outline.content})
        """,
        ["user: one <1>", "user: outline {doc}", "user: ?<1>?"],
    ),
    "nodes whose names are not seen: nothing is known of the state": (
        """
        def two(state):
            return {"note": llm.invoke(f"two {state['draft']}").content}
        def build(names):
            g = StateGraph(State)
            g.add_node(one)
            g.add_node(two)
            for name in names:
                g.add_node(name, two)
            g.add_edge("one", "two")
            g.set_entry_point("one")
            return g.compile()
        """,
        ["user: one {state['topic']}", "user: two {state['draft']}"],
    ),
    "a node that returns something unknown": (
        """
        import elsewhere
        def two(state):
            return elsewhere.change(state)
        def three(state):
            return {"note": llm.invoke(f"three {state['draft']}").content}
        g = StateGraph(State)
        g.add_sequence([one, two, three])
        g.set_entry_point("one")
        """,
        ["user: one {topic}", "user: three [<1>|?]"],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_state_flows_between_nodes(name: str) -> None:
    source, expected = GRAPHS[name]
    assert prompts(HEAD + textwrap.dedent(source)) == expected


def test_two_graphs_keep_their_states_apart() -> None:
    source = HEAD + (
        "def two(state):\n    return {'note': llm.invoke(f\"two {state['draft']}\").content}\n"
        "def first():\n    g = StateGraph(State)\n    g.add_node(one)\n    g.set_entry_point('one')\n"
        "def second():\n    g = StateGraph(State)\n    g.add_node(two)\n    g.set_entry_point('two')\n"
    )
    calls = parse(source).calls
    assert [prompt(call) for call in calls] == ["user: one {topic}", "user: two {draft}"]
    assert calls[1].depends_on == ()
