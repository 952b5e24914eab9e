"""Finds the parts of Triton in the `nvidia-pytriton` wheel, and what they need of this machine's Python."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.diagnostics.errors import ServerStartError

INSTALL = "in Charter's checkout: pip install '.[local]', or the same of its wheel"


@dataclass(frozen=True, slots=True)
class TritonInstall:
    """Where the wheel keeps the server. ``stub`` is the process that runs Python models, built for this Python;
    ``libraries`` are the folders that the loader must search."""

    server: Path
    python_backend: Path
    stub: Path
    libraries: tuple[Path, ...]

    def write_backends(self, folder: Path) -> None:
        """Make a backend directory in which the stub lies where the Python backend looks for it: beside its library,
        which is not where the wheel has it."""
        target = folder / "python"
        target.mkdir(parents=True)
        for part in self.python_backend.iterdir():
            if part.is_file():
                (target / part.name).symlink_to(part)
        (target / self.stub.name).symlink_to(self.stub)

    def environment(self) -> dict[str, str]:
        """This process's environment, changed so that the stub finds the shared libraries and this Python's standard
        library. The stub runs Python in isolated mode, which ignores ``PYTHONHOME`` and ``PYTHONPATH`` and looks for
        ``python3`` on the ``PATH``."""
        environment = dict(os.environ)
        loader_path = [str(folder) for folder in self.libraries]
        loader_path += [entry for entry in environment.get("LD_LIBRARY_PATH", "").split(":") if entry]
        environment["LD_LIBRARY_PATH"] = ":".join(loader_path)
        environment["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{environment.get('PATH', os.defpath)}"
        return environment


def find_triton() -> TritonInstall:
    """The installed server.

    Raises:
        ServerStartError: the wheel, or what it needs of this machine, is missing.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise ServerStartError(
            "the embedded server runs on Linux x86-64 only",
            remedy="use another target: triton://host:port/model or openai://host:port/v1?model=NAME",
        )
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerStartError("the embedded server is not installed", remedy=INSTALL)
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    install = TritonInstall(
        server=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / python / "triton_python_backend_stub",
        libraries=(package.parent / "nvidia_pytriton.libs", *_python_library_folders()),
    )
    if not install.stub.is_file():
        raise ServerStartError(
            f"nvidia-pytriton has no Python backend for Python {python}", remedy="use Python 3.11 or 3.12"
        )
    if not install.server.is_file() or not install.python_backend.is_dir():
        raise ServerStartError("nvidia-pytriton is installed without its server", place=str(root), remedy=INSTALL)
    _require_python_library(install, python)
    return install


def _python_library_folders() -> tuple[Path, ...]:
    """Where a shared libpython may lie: relocatable builds record a ``LIBDIR`` of the machine they were built on."""
    candidates = (Path(sysconfig.get_config_var("LIBDIR") or ""), Path(sys.base_prefix) / "lib")
    return tuple(dict.fromkeys(folder for folder in candidates if folder.is_absolute() and folder.is_dir()))


def _require_python_library(install: TritonInstall, python: str) -> None:
    """The stub is linked to libpython, which some systems keep in a package of its own."""
    name = f"libpython{python}.so.1.0"
    if any((folder / name).is_file() for folder in install.libraries):
        return
    try:
        ctypes.CDLL(name)
    except OSError as error:
        raise ServerStartError(
            f"the embedded server needs {name}, which this Python was built without",
            remedy=f"install it (Debian, Ubuntu: apt-get install libpython{python}) or use a Python built with it",
        ) from error
