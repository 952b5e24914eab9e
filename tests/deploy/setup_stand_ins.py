"""Stand-ins for what cannot exist where the tests run: the GPU, Docker with its containers, the hub, apt and sudo, and
the large disk of such an instance (what is free where the tests run must not decide them).

Each writes its arguments, and whether the token was in its environment, to ``calls``; nothing else is replaced.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "lambda_server_setup.sh"
MODELS = ROOT / "tests" / "fixtures" / "models"
TOKEN = "hf_SentinelOfTheTests0123456789"
RECORD = 'printf "%s%s %s\\n" "$(basename "$0")" "${HF_TOKEN:+ (with the token)}" "$*" >>"$STAND_INS/calls"\n'
NVIDIA_SMI = 'printf "%s\\n" "${GPU_LINE:-NVIDIA H100 80GB HBM3, 81559 MiB, 570.124.06}"\n'
DOCKER = """
case "$1" in
  info) echo "${RUNTIMES:-{\\"nvidia\\":{}}}" ;;
  inspect) [ -f "$STAND_INS/label" ] || exit 1
    case "$3" in *Labels*) echo "true $(cat "$STAND_INS/label")" ;; *) echo "${RUNNING:-true}" ;; esac ;;
  rm) rm -f "$STAND_INS/label" ;;
  logs) echo "the container's log" ;;
  run) case "$*" in
      *build.sh*) [ -z "${BUILD_FAILS:-}" ] || exit 9 ;;
      *" -d "*)
        while [ "$1" != --label ]; do shift; done
        printf '%s' "${2#charter.setup=}" >"$STAND_INS/label" ;;
    esac ;;
esac
"""
DF = 'printf "Filesystem 1024-blocks Used Available\\nnfs 2000000000 0 %s\\n" "${FREE_KB:-2000000000}"\n'
HF = """
for word; do [ "$previous" != --local-dir ] || folder=$word; previous=$word; done
cp "$MODEL_FILES"/* "$folder"/
"""


class Instance:
    """A made-up instance in ``folder``, where nothing listens on the ports that are not given."""

    def __init__(self, folder: Path, checkout: Path = ROOT) -> None:
        self.checkout = checkout
        self.folder, self.data = folder, folder / "nfs"
        self._venv, self._bin = folder / "venv", folder / "bin"
        tokenizer = folder / "model"
        shutil.copytree(MODELS / "llama-3-8b", tokenizer)
        write_tokenizer(tokenizer)
        for program, body in {
            "nvidia-smi": NVIDIA_SMI,
            "docker": DOCKER,
            "apt-get": "",
            "nvidia-ctk": "",
            "systemctl": "",
            "df": DF,
        }.items():
            self._program(self._bin / program, RECORD + body)
        self._program(self._bin / "sudo", 'exec "$@"\n')
        self._program(self._venv / "bin" / "hf", RECORD + "previous=''\n" + HF)
        self._program(self._venv / "bin" / "python", f'exec {sys.executable} "$@"\n')
        self._program(self._venv / "bin" / "charter", f'exec {sys.executable} -m charter_compiler.cli.main "$@"\n')

    def _program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nset -eu\n{body}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def __call__(self, *arguments: str, token: str = TOKEN, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.checkout),
            "STAND_INS": str(self.folder),
            "MODEL_FILES": str(self.folder / "model"),
            "HF_TOKEN": token,
            "CHARTER_SMOKE_WORDS": "80",
            **changes,
        }
        options = ["--data", str(self.data), "--venv", str(self._venv), "--ports", "1:1:1"]
        return subprocess.run(
            [str(self.checkout / "scripts" / SCRIPT.name), *options, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """What the stand-ins were asked, in order."""
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def models(self, profile: str) -> Path:
        """What the container mounts as ``/models``."""
        return next(self.data.glob(f"*-{profile}-tp1")) / "models"

    def write_nothing(self) -> None:
        """In place of Charter, where what it writes does not matter: a folder for the repository."""
        make = 'while [ $# -gt 0 ]; do [ "$1" != -o ] || mkdir -p "$2/config/local/llmapi"; shift; done\n'
        self._program(self._venv / "bin" / "charter", make)

    def without(self, program: str) -> str:
        """A PATH on which one of the stand-ins is missing, and the real one too, where the tests run with one."""
        (self._bin / program).unlink()
        tools = self.folder / "tools"
        tools.mkdir()
        for name in ("bash", "env", "sh", "dirname", "cut", "tr", "sed"):
            (tools / name).symlink_to(shutil.which(name) or name)
        return f"{self._bin}:{tools}"

    def forget(self) -> None:
        (self.folder / "calls").unlink(missing_ok=True)


def write_tokenizer(folder: Path) -> None:
    """The shipped tokenizer in place of Llama's, whose use is gated."""
    import lzma

    data = ROOT / "charter_compiler" / "tokens" / "data"
    packed = (data / "smollm2-tokenizer.json.xz").read_bytes()
    (folder / "tokenizer.json").write_bytes(lzma.decompress(packed))
    shutil.copy(data / "smollm2-tokenizer_config.json", folder / "tokenizer_config.json")
