"""From a request to its tokens and blocks, as the target will see them."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.executor.scheduler import ScheduledCall
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.blocks import block_hashes
from charter_compiler.tokens.tokenizer import Tokenizer


class PromptTokens:
    """Tokens and block hashes of requests.

    Args:
        tokenizer: the target's own; ``None`` where it is not known, and then no tokens or blocks are known either.
        tokens_per_block: the target's block size; ``None`` where it does not say.
    """

    def __init__(self, tokenizer: Tokenizer | None, tokens_per_block: int | None) -> None:
        self._tokenizer = tokenizer
        self._tokens_per_block = tokens_per_block

    def tokens(self, request: GenerationRequest) -> list[int] | None:
        """The prompt's token ids; ``None`` without a tokenizer, or for a chat where the model has no template."""
        if self._tokenizer is None:
            return None
        if request.prompt is not None:
            return self._tokenizer.encode(request.prompt)
        if request.messages is None or self._tokenizer.chat_template is None:
            return None
        return self._tokenizer.encode(self._tokenizer.render_chat(request.messages))

    def scheduled(
        self, key: int, item: int | None, stage: int, tokens: Sequence[int] | None, max_tokens: int
    ) -> ScheduledCall:
        """A prompt of these tokens as the scheduler takes it; without blocks where they are not known."""
        size = self._tokens_per_block
        if tokens is None or size is None:
            return ScheduledCall(key, item, stage=stage)
        blocks = block_hashes(tokens, size)
        total = -(-(len(tokens) + max_tokens) // size)
        return ScheduledCall(key, item, blocks, total - len(blocks), stage)

    def with_output(self, tokens: Sequence[int], output: str) -> list[int]:
        """Prompt and output as the cache holds them after the call: the last token has no KV."""
        assert self._tokenizer is not None, "without a tokenizer there are no tokens"
        return [*tokens, *self._tokenizer.encode(output)[:-1]]
