"""What can be reused with partial reuse, which a run itself cannot know: its client counts reused blocks as whole ones,
as clients of TensorRT-LLM have to (``executor/triton_responses.py``)."""

from __future__ import annotations

from pathlib import Path

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.recording import read_recording
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import Tokenizer


def attainable_hit_rate(recording: Path, tokenizer: Tokenizer) -> float | None:
    """What a cache that never evicts would have reused of the recorded calls, to the token; warm-ups included.

    A prompt finds the prompts that were sent before it, and their outputs once they were there, as in the rate that a
    run counts in whole blocks. ``None`` where no tokens are known.
    """
    cache, prompts = UnboundedCache(tokens_per_block=1), PromptTokens(tokenizer, None)
    events: list[tuple[float, list[int], str | None]] = []
    for call in read_recording(recording):
        request = GenerationRequest(prompt=call["prompt"], messages=call["messages"], max_tokens=call["max_tokens"])
        tokens = prompts.tokens(request)
        if tokens is None:
            return None
        if not call["memoized"]:
            events += [(call["sent_s"], tokens, None), (call["done_s"], tokens, call["output"])]
    sent = found = 0
    for _, tokens, output in sorted(events, key=lambda event: event[0]):
        if output is None:
            sent += len(tokens)
            found += cache.request(tokens)
        else:
            cache.request(prompts.with_output(tokens, output))
    return found / sent if sent else None
