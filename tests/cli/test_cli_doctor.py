"""``charter doctor``."""

from __future__ import annotations

import importlib.metadata
import shutil
import socket
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import pytest

from charter_compiler.cli import doctor, doctor_service
from charter_compiler.cli.doctor import Check
from charter_compiler.cli.main import main


class Usage(NamedTuple):
    free: int


def test_everything_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "Python"], ["ok", "packages"]]
    assert any(line.startswith("ok") and "tokenizer" in line for line in lines)


def test_missing_weights_are_no_failure_and_have_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path))
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(index for index, line in enumerate(lines) if "model weights" in line)
    assert lines[row].startswith("no ")
    assert lines[row + 1].strip() == "-> run: charter models fetch"


def test_a_missing_core_package_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "tokenizers":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.run(Namespace(start=False)) == 1
    output = capsys.readouterr().out
    assert "tokenizers missing" in output
    assert "-> in Charter's checkout: pip install '.'\n" in output
    assert "embedded server" not in output, "what needs the missing package is not tried"


def test_little_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free=10))
    check = doctor.check_space("disk", tmp_path, 100, "make room")
    assert (check.works, check.remedy) == (False, "make room")


def test_a_taken_default_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_service, "find_here", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor_service, "DEFAULT_HTTP_PORT", port)
        check = doctor_service.check_ports()
    assert not check.works
    assert check.found.startswith(f"127.0.0.1:{port}: something else listens")


def test_the_embedded_server_on_the_default_ports_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class Info(NamedTuple):
        grpc_url: str = "127.0.0.1:8001"
        model: str = "m"

    monkeypatch.setattr(doctor_service, "find_here", Info)
    assert doctor_service.check_ports() == Check(
        "default ports", True, "the embedded server runs at 127.0.0.1:8001 with m"
    )


@pytest.mark.server
def test_the_server_starts_when_asked(capsys: pytest.CaptureFixture[str], model_path: Path) -> None:
    assert main(["doctor", "--start"]) == 0
    assert "server start" in capsys.readouterr().out


@pytest.mark.server
def test_a_server_that_does_not_start_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path))
    assert main(["doctor", "--start"]) == 1
    assert "FAIL  server start" in capsys.readouterr().out
