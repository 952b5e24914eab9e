"""User code in a thread, awaited from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from charter_compiler.diagnostics.errors import AgentError

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that a loop of its own gets to end."""


async def in_daemon_thread(work: Callable[[], T], name: str) -> T:
    """Like ``asyncio.to_thread``, but the process can end while ``work`` still runs: an agent may never return.

    Context variables are those of the caller. Cancelling this leaves the thread behind. What ``work`` raises is raised
    here; ``SystemExit`` and the like, which would end no more than the thread, become ``AgentError``.
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

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name=name, daemon=True).start()
    return await done


class LoopThread:
    """A second event loop, in a thread of its own: code that blocks it does not block the first."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Until ``aclose``. What ends a process, raised in a task, ends that task and leaves the loop: all others wait
        for it."""
        while True:
            try:
                self._loop.run_forever()
                return
            except (SystemExit, KeyboardInterrupt):
                continue

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a coroutine that runs there; cancelling this cancels it. Context variables are those of the caller."""

        async def call() -> T:
            return await work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._loop))

    async def aclose(self) -> None:
        """Cancel what still runs there, and end the thread, unless something blocks it."""

        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        with contextlib.suppress(TimeoutError):
            ending = asyncio.run_coroutine_threadsafe(cancel_all(), self._loop)
            await asyncio.wait_for(asyncio.wrap_future(ending), PATIENCE)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join, PATIENCE)
            if not self._thread.is_alive():
                self._loop.close()
