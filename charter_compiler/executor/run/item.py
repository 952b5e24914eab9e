"""One item of a run: the agent called once, in a thread or in the loop, and what it raised as a row's error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charter_compiler.executor.agent_client import AgentClient
from charter_compiler.executor.entry import Entry, last_line_in
from charter_compiler.executor.results import RowError
from charter_compiler.executor.threads import LoopThread, in_daemon_thread


async def invoke(
    entry: Entry, client: AgentClient, arguments: Mapping[str, Any], other_loop: LoopThread | None = None
) -> Any:
    """Call the entry and return what it returns; a synchronous agent gets a thread of its own, an asynchronous one the
    loop, or ``other_loop`` if that is given: an agent with its own client may block it while its request is answered.

    Cancelling this leaves such a thread behind; its next call raises. Whatever the agent raises is raised here.
    """
    if entry.is_async and other_loop is not None:
        return await other_loop.run(lambda: entry.call(client, arguments))
    if entry.is_async:
        return await entry.call(client, arguments)
    return await in_daemon_thread(lambda: entry.call(client, arguments), "charter-agent")


def row_error(error: BaseException, entry: Entry, client: AgentClient) -> RowError:
    """The error of a row: the call that failed, if one did, and the line of the agent's code."""
    site = client.site_of(error)
    line = site.line if site is not None else last_line_in(error, entry.path.resolve())
    return RowError(type(error).__name__, str(error), None if site is None else site.label, line)
