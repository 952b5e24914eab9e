"""User code in a thread, awaited from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar, cast

from charter_compiler.diagnostics.errors import AgentError

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Like ``asyncio.to_thread``, but the process can end while ``work`` still runs: an agent may never return.

    Cancelling this leaves the thread behind. What ``work`` raises is raised here; ``SystemExit`` and the like, which
    would end no more than the thread, become ``AgentError``.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", value))

    def run() -> None:
        value: T | None = None
        problem: Exception | None = None
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  carried over to the task that waits
            problem = error
        except BaseException as error:  # noqa: BLE001  as above
            problem = AgentError(f"{type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
