"""Which calls may be answered from the store, and under which key they lie there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from charter_compiler.executor.answers import is_repeatable
from charter_compiler.executor.types import GenerationRequest

VERSION = 2
"""Goes into every key: raised when what a key stands for changes."""


class MemoKeys:
    """Keys of one target.

    Args:
        identity: what tells its engine and model from others, as JSON values.
        greedy_by_default: the target is greedy where a request says nothing of sampling.
        sampled: calls that are neither greedy nor seeded have a key too: their first answer is kept.
    """

    def __init__(self, identity: Mapping[str, Any], *, greedy_by_default: bool, sampled: bool = False) -> None:
        self._prefix = json.dumps([VERSION, identity], sort_keys=True).encode()
        self._greedy_by_default = greedy_by_default
        self._sampled = sampled

    def key(self, request: GenerationRequest, tokens: Sequence[int] | None) -> bytes | None:
        """The call's key; ``None`` for a call that may be answered differently each time.

        It stands for the identity, prompt or messages as they are, the prompt's ``tokens`` where they are known, and
        all that says how tokens are chosen. The tokens alone would not do: what counts them here need not be the
        target's own tokenizer, and another may give the same tokens to two texts. The text alone would not either: a
        chat becomes text by a template, which is no part of it.
        """
        if not (self._sampled or is_repeatable(request, greedy_by_default=self._greedy_by_default)):
            return None
        sampling = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop),
            "response_format": request.response_format,
        }
        prompt = {
            "prompt": request.prompt,
            "messages": request.messages,
            "tokens": None if tokens is None else list(tokens),
        }
        body = json.dumps([sampling, prompt], sort_keys=True).encode()
        return hashlib.sha256(len(self._prefix).to_bytes(8, "big") + self._prefix + body).digest()
