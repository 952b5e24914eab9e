"""What was expected of each comparison (`charter bench TABLE`), and why what was found differs from it.

By the name of the file of raw rows below ``benchmarks/comparison/``, in the order of the page. A file without a text is
shown too, under its name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """``expected`` and ``why`` are left out of the page where they are empty."""

    title: str
    expected: str = ""
    why: str = ""


TEXTS = {
    "chain": Text(
        "Three dependent calls a document",
        "under pressure on the cache at least 40% less time a document than as written, first tokens of the later "
        "calls 70% sooner, 90% of the gain that the bound allows",
        "Reached in three processes, one after the other, but for one: a round's ratio lies up to 11% from the "
        "median of the three, where 10% were allowed. More is gained than the bound allows, since its prompt tokens "
        "are taken to cost the same wherever they stand, and decoding is taken to cost what it did among long "
        "prefills. The engine had one core to itself, tests and servers of other work ran on the other. The "
        "strongest plain setting is not in these rows; in an earlier search under load one, two and four items at "
        "once lay within 7%.",
    ),
    "chain-long": Text(
        "Three dependent calls on long documents", "at least 60% less time a document than without a cache"
    ),
    "delta": Text(
        "Delta matching",
        "hit rate 80% at blocks of 32 and 85% with partial reuse; first tokens 70% sooner; with prompts of about "
        "1,000 tokens and short answers 70% lower latency and twice the throughput; 30% fewer KV blocks at the peak",
        "Reached with 900 tokens: latency, first tokens, throughput, and the two rounds agree within 10%. "
        "Not reached at 8 items with 350 tokens: the hit rates, since the first item, which computes the template, "
        "weighs an eighth (40 items: simulated below; on vLLM 80.3% measured), "
        "and the two rounds, one on two busy cores and one on one core, differ by more. Layout puts the long "
        "template first. Hit rates above the attainable one are partial reuse, which the attainable rate, of whole "
        "blocks, does not count. Prompts of 350 tokens with 24 output tokens save less time than prompts of 900 with"
        " 2: decoding is not saved.",
    ),
    "pressure": Text(
        "Pressure on the cache's capacity",
        "at every capacity from 1.2 times one item's need upward at least 95% of the attainable hit rate, and never "
        "more than 2% slower than the strongest plain setting",
    ),
    "prefix": Text("Length of the shared prefix", "the longer the prefix, the more is gained"),
    "batch": Text("Items in flight", "90% of the gain that the bound allows, however many items are in flight"),
    "prepopulation": Text(
        "Prefixes computed beforehand", "first tokens come sooner where constant prefixes were computed beforehand"
    ),
    "shapes": Text(
        "The agent shapes of public systems",
        "90% of the gain that the bound allows and 95% of the attainable hit rate for each shape",
    ),
    "vllm": Text(
        "The same comparisons on vLLM's own server",
        "what holds on the embedded server holds on vLLM 0.32 on the CPU, with its prefix caching on",
    ),
}
