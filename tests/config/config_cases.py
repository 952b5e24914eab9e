"""Plans and targets that the configuration tests share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from charter_compiler.analysis.gpu_memory import gpu_named
from charter_compiler.config.engines import EngineConfigs, Evidence
from charter_compiler.config.model_facts import ModelFacts, load_model_facts
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import read_inputs
from charter_compiler.plan.execution_plan import ExecutionPlan, make_plan
from charter_compiler.predict.control_flow import trace_agent
from charter_compiler.predict.evidence import evidence_of
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.tokens.tokenizer import load_tokenizer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "fixtures" / "models"
ENTRY = "examples/agents/document_processor.py:DocumentProcessor.process"
ROWS = 4


def facts(name: str) -> ModelFacts:
    return load_model_facts(MODELS / name, name)


@cache
def plan_and_evidence() -> tuple[ExecutionPlan, Evidence]:
    """The document processor over a few documents, with SmolLM2's tokenizer in place of Llama's, whose use is gated."""
    tokenizer = load_tokenizer()
    entry = f"{ROOT}/{ENTRY}"
    calls = calls_of_entry(entry)
    analysis = analyse(calls, tokenizer, 32)
    plan = make_plan(
        entry=ENTRY,
        target="triton://localhost:8001/ensemble",
        model="m",
        tokenizer=tokenizer.fingerprint,
        block_size=32,
        capacity_blocks=256,
        sources=[],
        root=ROOT,
        opportunities=analysis.opportunities,
        hints=plan_entry(
            entry, analysis, target="local", model="m", tokenizer=tokenizer, block_size=32, capacity_blocks=None
        ).hints,
    )
    rows = list(read_inputs(ROOT / "examples" / "data" / "documents.jsonl"))[:ROWS]
    traces = trace_agent(load_entry(entry), rows, SyntheticOutputs(tokenizer), calls=calls)
    return plan, evidence_of(traces, plan, tokenizer, concurrency=4)


def known() -> EngineConfigs:
    """A known model on a known GPU, with inputs."""
    plan, evidence = plan_and_evidence()
    return EngineConfigs(plan, EngineTarget(model=facts("llama-3-8b"), gpu=gpu_named("h100-sxm")), evidence)


def unknown() -> EngineConfigs:
    """Nothing shared, no model, no GPU, no inputs."""
    plan, _ = plan_and_evidence()
    bare = ExecutionPlan("agent.py:run", "local", "m", plan.tokenizer, 32, None, (), ())
    return EngineConfigs(bare, EngineTarget())


@cache
def files_of(case: str, engine: EngineName) -> Mapping[str, str]:
    return CASES[case]().files(engine)


def files(engine: EngineName) -> Mapping[str, str]:
    """Of the known case."""
    return files_of("document_processor", engine)


CASES = {"document_processor": known, "nothing_known": unknown}
