"""The plan's hints on their way to a target that announces which of them it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from charter_compiler.config.hints.capabilities import accepted_types
from charter_compiler.config.hints.envelope import envelope
from charter_compiler.executor.calls import CallSite
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.plan.hint_ranges import resolve_hints
from charter_compiler.plan.hints import CallHints
from charter_compiler.tokens.tokenizer import Tokenizer


class RunHints:
    """Writes the KV hint envelope of each call whose call site the plan knows.

    Args:
        hints: the plan's, one a call site.
        tokenizer: the target's.
        announced: the actions that the target says it executes.
        run: names the run; the calls of one item of it are one session.
        older: how many of the running items started before an item.
    """

    def __init__(
        self,
        hints: Iterable[CallHints],
        tokenizer: Tokenizer,
        announced: Iterable[str],
        run: str,
        older: Callable[[int], int] = lambda item: 0,
    ) -> None:
        self._hints = {one.call: one for one in hints}
        self._tokenizer = tokenizer
        self._accepted = frozenset(accepted_types(announced))
        self._run = run
        self.older = older

    def of(
        self, item: int | None, site: CallSite | None, request: GenerationRequest, tokens: list[int] | None
    ) -> str | None:
        """The envelope, as JSON; ``None`` for a call of which nothing is known, or nothing that the target takes."""
        own = None if site is None or site.id is None else self._hints.get(site.id)
        if own is None or item is None or tokens is None:
            return None
        text = request.prompt if request.prompt is not None else self._tokenizer.render_chat(request.messages or ())
        resolved = resolve_hints(own, text, tokens, self._tokenizer, rank=self.older(item))
        written = envelope(resolved, f"{self._run}/{item}", accepted=self._accepted)
        return None if written is None else json.dumps(written)
