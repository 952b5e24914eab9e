"""``charter gateway`` as a command: how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from charter_compiler.cli import gateway
from charter_compiler.cli.main import main


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_the_target_is_being_opened(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    @asynccontextmanager
    async def never_there(*arguments: object) -> AsyncIterator[None]:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
            yield
        finally:
            closed.append("the server that was started for it")

    monkeypatch.setattr(gateway, "open_target", never_there)
    assert main(["gateway", "--target", "sim"]) == 0
    assert closed


def test_a_port_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["gateway", "--port", "65536"])
    assert "65536 is above 65535" in capsys.readouterr().err
