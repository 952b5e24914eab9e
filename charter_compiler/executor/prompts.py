"""From a request to its tokens and blocks, as the target will see them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from charter_compiler.cache.block_keys import chain, root_key
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.types import GenerationRequest
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

    @property
    def known(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    def tokens(self, request: GenerationRequest) -> list[int] | None:
        """The prompt's token ids; ``None`` without a tokenizer, or for a chat where the model has no template."""
        return self.all_tokens([request])[0]

    def all_tokens(self, requests: Sequence[GenerationRequest]) -> list[list[int] | None]:
        """The same of several prompts, which takes less time than one by one."""
        if self._tokenizer is None:
            return [None] * len(requests)
        texts = [self._text(request) for request in requests]
        encoded = iter(self._tokenizer.encode_all([text for text in texts if text is not None]))
        return [None if text is None else next(encoded) for text in texts]

    def _text(self, request: GenerationRequest) -> str | None:
        if request.prompt is not None:
            return request.prompt
        assert self._tokenizer is not None, "asked for where there is one"
        if request.messages is None or self._tokenizer.chat_template is None:
            return None
        return self._tokenizer.render_chat(request.messages)

    def scheduled(
        self, key: int, item: int | None, stage: int, tokens: Sequence[int] | None, max_tokens: int
    ) -> ScheduledCall:
        """A prompt of these tokens as the scheduler takes it; without blocks where they are not known."""
        size = self._tokens_per_block
        if tokens is None or size is None:
            return ScheduledCall(key, item, stage=stage)
        blocks = tuple(chain(tokens, size, root_key(None)))
        total = -(-(len(tokens) + max_tokens) // size)
        return ScheduledCall(key, item, blocks, total - len(blocks), stage)

    def blocks_of(self, requests: Sequence[GenerationRequest]) -> frozenset[Hashable]:
        """The names of all full blocks of these prompts."""
        calls = [self.scheduled(0, None, 0, tokens, 0) for tokens in self.all_tokens(requests)]
        return frozenset(block for call in calls for block in call.blocks)

    def fills_a_block(self, tokens: Sequence[int], max_tokens: int) -> bool:
        """Whether an output of so many tokens, but for its last one, can complete the prompt's last block."""
        size = self._tokens_per_block
        return size is not None and len(tokens) % size + max_tokens - 1 >= size

    def with_output(self, tokens: Sequence[int], output: str) -> list[int]:
        """Prompt and output as the cache holds them after the call: the last token has no KV."""
        assert self._tokenizer is not None, "without a tokenizer there are no tokens"
        return [*tokens, *self._tokenizer.encode(output)[:-1]]
