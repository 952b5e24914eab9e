"""A report of the shape that `charter demo` makes, with figures that are plainly made up."""

from __future__ import annotations

from charter_compiler.analysis.patterns import Pattern, PatternKind
from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.diagnostics.span import Span
from charter_compiler.executor.budget import Prices
from charter_compiler.executor.metrics import Percentiles
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown
from charter_compiler.predict.capacity import CapacityPoint
from charter_compiler.predict.explain import CallExplanation, Difference, SiteExplanation
from charter_compiler.predict.origin import Origin
from charter_compiler.predict.prompt_view import Fate, PromptPart, PromptView
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import (
    CallTiming,
    OutputDifference,
    PassSaving,
    ReportData,
    RunTimeline,
    SiteRates,
)
from charter_compiler.report.savings import Pricing

FILE = "examples/agents/document_processor.py"
FUNCTION = "DocumentProcessor.process"
SYSTEM = "You are a careful document analyst.\nYou never invent a fact.\n\n"


def prefix(
    text: str, nodes: tuple[str, ...], *, tokens: int = 22, template: tuple[Segment, ...] | None = None
) -> PrefixOpportunity:
    return PrefixOpportunity(
        pattern=PatternKind.SHARED_PREFIX,
        prefix=text,
        priority=90,
        cache_id=123456789,
        nodes=nodes,
        shared_prefix_length=tokens,
        aligned_length=tokens // 16 * 16,
        saved_tokens=tokens // 16 * 16 * len(nodes),
        tokens=tuple(range(tokens)),
        template=template,
    )


def span(line: int) -> Span:
    return Span(FILE, line, 13, line, 40)


def call_id(number: int) -> str:
    return f"{FILE}:{FUNCTION}#{number}"


def call(number: int, line: int, *segments: object, depends_on: tuple[str, ...] = (), **more: object) -> Call:
    return Call(
        id=call_id(number),
        span=span(line),
        function=FUNCTION,
        kind="root",
        api="injected",
        callee="self.llm.generate",
        messages=(Message("raw", tuple(segments)),),  # type: ignore[arg-type]
        max_tokens=200,
        depends_on=depends_on,
        **more,  # type: ignore[arg-type]
    )


def calls() -> tuple[Call, ...]:
    first = call(1, 27, Const(SYSTEM + "Task: extract the named entities.\n", span(28)), Param("document", span(34)))
    second = call(
        2,
        40,
        Const(SYSTEM + "Task: compare the entities with the source.\n", span(41)),
        CallRef(call_id(1), span(47)),
        Const("\n\nSource document:\n", span(48)),
        Param("document", span(50)),
        depends_on=(call_id(1),),
    )
    third = call(
        3,
        58,
        Const(SYSTEM + "Task: classify the document.\n", span(59)),
        Param("document", span(65)),
        Choice(((Const("Short answer.", span(66)),), ()), span(66)),
        Repeat((Const("- ", span(67)), Param("hint", span(67), "loop")), span(67)),
        Unknown("text from a decorator", span(68)),
        CallRef(call_id(2), span(69)),
        depends_on=(call_id(2),),
    )
    return first, second, third


def timings(scale: float, items: int) -> tuple[CallTiming, ...]:
    result = []
    clock = 0.0
    for item in range(items):
        for number in (1, 2, 3):
            wait, write = 0.9 * scale / number, 0.5
            result.append(
                CallTiming(
                    item, call_id(number), max(0.0, clock - 0.1), clock, clock + wait, clock + wait + write, 900, 500
                )
            )
            clock += wait + write
    return tuple(result)


def view(site: str) -> PromptView:
    """One prompt that is cached, computed again, and computed, in this order."""
    document = Origin("input document", FILE, 34, 0)
    call = CallExplanation(
        3, 0, site, 1000, 300, 0, 0, 20, 680, Difference(320, " April\n", " May", 2, call_id(1), document), repeated=400
    )
    return PromptView(
        call,
        (
            PromptPart(Fate.CACHED, 0, 300, SYSTEM, Origin("constant text", FILE, 28, 0)),
            PromptPart(Fate.ROUNDING, 300, 20, "Report of", document),
            PromptPart(Fate.REPEATED, 320, 400, " April\n" + "profit and loss " * 120, document),
            PromptPart(Fate.NEW, 720, 280, "the rest of it", Origin("a value", None, None, 0)),
        ),
    )


def sample_report() -> ReportData:
    all_calls = calls()
    return ReportData(
        title="document_processor: baseline against optimized",
        entry=f"{FILE}:{FUNCTION}",
        target="local",
        model="SmolLM2-135M-Instruct Q4_1",
        environment=(("processor", "2 cores"), ("engine", "llama.cpp behind Triton"), ("seed", "0")),
        runs=(
            RunFigures(
                "as written (baseline)",
                items=16,
                failed=0,
                calls=48,
                prompt_tokens=44_118,
                cached_tokens=3_088,
                hit_rate=0.07,
                predicted_hit_rate=0.071,
                attainable_hit_rate=0.09,
                output_tokens=1_152,
                wall_s=77.3,
                items_per_s=0.207,
                latency_s=Percentiles(4.1, 6.2),
                ttft_s=Percentiles(2.31, 3.9),
            ),
            RunFigures(
                "optimized (exact passes)",
                items=16,
                failed=0,
                calls=48,
                prompt_tokens=44_118,
                cached_tokens=27_794,
                hit_rate=0.63,
                predicted_hit_rate=0.64,
                attainable_hit_rate=0.652,
                output_tokens=1_152,
                wall_s=38.4,
                items_per_s=0.417,
                latency_s=Percentiles(2.0, 3.3),
                ttft_s=Percentiles(0.087, None),
            ),
        ),
        pricing=Pricing(per_hour=2.5, tokens=Prices(0.5, 0.05, 2.0)),
        passes=(PassSaving("warm-up", 3_000), PassSaving("item-order", 12_345)),
        misses=tuple(
            SiteExplanation(
                each.id, 16, 1000, 300, 20, 10, 70, 600, (("input document at " + FILE + ":34", 15, 600),), repeated=400
            )
            for each in all_calls
        ),
        views=tuple(view(each.id) for each in all_calls),
        curve=(CapacityPoint(64, None, 0.2), CapacityPoint(128, 0.07, 0.5), CapacityPoint(256, 0.07, 0.64)),
        block_size=32,
        capacity_blocks=256,
        sites=(
            SiteRates("as written (baseline)", call_id(1), 16, 14_000, 1_000, 0.07),
            SiteRates("optimized (exact passes)", call_id(2), 16, 14_000, None, None),
        ),
        calls=all_calls,
        count_tokens=lambda text: len(text.split()),
        opportunities=(
            prefix(SYSTEM, tuple(c.id for c in all_calls)),
            prefix(SYSTEM + "Task: c", (call_id(2), call_id(3)), tokens=25),
            prefix(SYSTEM, (call_id(1),), tokens=31, template=calls()[0].messages[0].segments),
        ),
        patterns=(
            Pattern(
                PatternKind.SEQUENTIAL_CHAIN,
                tuple(c.id for c in all_calls),
                "each result flows on",
                (span(47), span(69)),
            ),
        ),
        differences=(OutputDifference("as written (baseline)", "optimized (exact passes)", 40, 8, 0, 3),),
        timelines=(
            RunTimeline("as written (baseline)", timings(2.0, 8)),
            RunTimeline("optimized (exact passes)", timings(0.5, 8)),
        ),
        notes=("Figures of 16 documents; one run each.",),
    )
