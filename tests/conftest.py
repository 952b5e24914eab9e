"""Options of the whole test suite, and the real server and model that many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model

# Examples have no time limit of their own: a busy machine is no failure, and pytest's time-out ends what hangs.
settings.register_profile("charter", deadline=None)
settings.load_profile("charter")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")


@pytest.fixture(autouse=True)
def memo_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A memo store of the test's own: none answers from what another run, or the user, has stored."""
    folder = tmp_path / "memo-of-the-test"
    monkeypatch.setenv("CHARTER_MEMO_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The default model's weights; raises with the remedy where they have not been fetched."""
    return find_model()


@pytest.fixture(scope="session")
def embedded_server(model_path: Path) -> Iterator[ServerHandle]:
    """One real server on free ports for the whole session. Its cache holds what earlier tests left."""
    with start_server(ServerOptions(model_path=model_path, model_name=DEFAULT_MODEL.name)) as server:
        yield server
