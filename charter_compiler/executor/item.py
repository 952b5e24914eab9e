"""One item of a run: the agent called once, in a thread or in the loop, and what it raised as a row's error."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from charter_compiler.diagnostics.errors import AgentError
from charter_compiler.executor.agent_client import AgentClient
from charter_compiler.executor.entry import Entry, last_line_in
from charter_compiler.executor.results import RowError


async def invoke(entry: Entry, client: AgentClient, arguments: Mapping[str, Any]) -> Any:
    """Call the entry and return what it returns.

    A synchronous agent gets a daemon thread of its own: cancelling this coroutine leaves it behind, and its next call
    raises. Whatever the agent raises is raised here; ``SystemExit`` and the like become ``AgentError``.
    """
    if entry.is_async:
        return await entry.call(client, arguments)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: Exception | None) -> None:
        if done.done():  # the run ended while the agent was at work
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def work() -> None:
        value: Any = None
        problem: Exception | None = None
        try:
            value = entry.call(client, arguments)
        except Exception as error:  # noqa: BLE001  carried over to the task that waits for this thread
            problem = error
        except BaseException as error:  # noqa: BLE001  SystemExit and the like: the agent's, not the run's
            problem = AgentError(f"{type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(settle, value, problem)

    # A daemon, unlike a pool's threads: an agent that never returns must not keep the process from ending.
    threading.Thread(target=work, name="charter-agent", daemon=True).start()
    return await done


def row_error(error: BaseException, entry: Entry, client: AgentClient) -> RowError:
    """The error of a row: the call that failed, if one did, and the line of the agent's code."""
    site = client.site_of(error)
    line = site.line if site is not None else last_line_in(error, entry.path.resolve())
    return RowError(type(error).__name__, str(error), None if site is None else site.label, line)
