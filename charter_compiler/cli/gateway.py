"""``charter gateway``: an OpenAI- and Anthropic-compatible front of a target."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress

from charter_compiler.api.memo import MemoOptions, memo_notes, memo_of, memo_place
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.call_log import CallLog
from charter_compiler.executor.gateway.calls import GatewayCalls, SharedTarget
from charter_compiler.executor.gateway.server import TOKEN_VARIABLE, check_address, serving
from charter_compiler.executor.gateway.templates import SiteTemplates
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.targets import TargetOptions, check_target, open_target
from charter_compiler.predict.layout_of_entry import lay_out_entry, planned_layouts
from charter_compiler.predict.planning import calls_of_entry


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Raises as ``open_target`` and ``serving``."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    check_address(args.host, token)
    check_target(args.target)
    if args.layout and args.agent is None:
        raise UsageError("--layout is of an agent's prompts", remedy="give --agent FILE:ENTRY too")
    options = None if args.no_memo else MemoOptions(place=memo_place(args.memo))
    with suppress(asyncio.CancelledError):  # by a signal
        asyncio.run(_serve(args, token, options))
    return 0


async def _serve(args: argparse.Namespace, token: str | None, memo_options: MemoOptions | None) -> None:
    """Until it is cancelled, which a signal does: also while the target is being opened, which may take long."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with AsyncExitStack() as stack:
        options = TargetOptions(tokenizer=args.tokenizer, timeout=args.timeout)
        target = await stack.enter_async_context(open_target(args.target, options))
        memo = None if memo_options is None else await stack.enter_async_context(memo_of(target, memo_options))
        log = None if args.log is None else stack.enter_context(CallLog(args.log, append=True))
        written = () if args.agent is None else calls_of_entry(args.agent)
        layouts = planned_layouts(lay_out_entry(args.agent, written)) if args.layout else ()
        shared = SharedTarget(
            target,
            args.concurrency,
            memo,
            templates=SiteTemplates(written),
            layouts=PromptLayouts(layouts, written),
            log=log,
            on_log_lost=lambda error: _note(f"the log is not written any more: {error}"),
        )
        calls = GatewayCalls(shared)
        url = await stack.enter_async_context(serving(calls, args.host, args.port, token))
        print(f"{target.facts.model} at {url}", flush=True)
        print(f"  OPENAI_BASE_URL={url}/v1 ANTHROPIC_BASE_URL={url}", flush=True)
        _tell(memo)
        try:
            await asyncio.Event().wait()
        finally:
            _tell(memo)


def _tell(memo: Memo | None) -> None:
    """What the user should know of the store: a store that fails is left alone, and the gateway goes on."""
    for note in [] if memo is None else memo_notes(memo):
        _note(note)


def _note(text: str) -> None:
    print(f"charter: note: {text}", file=sys.stderr, flush=True)
