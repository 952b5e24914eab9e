"""``scripts/lambda_server_setup.sh``: its dry runs are golden files, and its logic on a machine of stand-ins.

After a wanted change: ``pytest tests/deploy --update-golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from setup_stand_ins import ROOT, SCRIPT, TOKEN, Instance
from swapped_repository import swapped

from charter_compiler.serve.server import ServerHandle

GOLDEN = ROOT / "tests" / "fixtures" / "deploy"
LARGE = "meta-llama/Meta-Llama-3-70B-Instruct"
DRY_RUNS = {
    "llmapi-8b-tp1": [],
    "engine-8b-tp1": ["--profile", "engine"],
    "engine-8b-tp2": ["--profile", "engine", "--tp", "2", "--gpu", "a10"],
    "llmapi-70b-tp4": ["--tp", "4", "--model", LARGE],
    "engine-70b-tp8": ["--profile", "engine", "--tp", "8", "--model", LARGE, "--gpu", "a100-80gb"],
}


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), "--dry-run", "--data", "/lambda/nfs/charter", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HF_TOKEN": TOKEN}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", DRY_RUNS)
def test_the_dry_run_is_the_golden_file_and_runs_nothing(name: str, request: pytest.FixtureRequest) -> None:
    done = dry_run(*DRY_RUNS[name])
    assert (done.returncode, done.stderr) == (0, "")
    golden = GOLDEN / f"setup-{name}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(done.stdout, encoding="utf-8")
    assert done.stdout == golden.read_text(encoding="utf-8")
    assert TOKEN not in done.stdout
    assert not Path("/lambda/nfs/charter").exists()


@pytest.mark.parametrize("name", DRY_RUNS)
def test_containers_see_one_folder_and_open_the_loopback_alone(name: str) -> None:
    lines = [line for line in dry_run(*DRY_RUNS[name]).stdout.splitlines() if line.startswith("docker run")]
    assert len(lines) == 2, "one that builds or copies, one that serves"
    for line in lines:
        words = line.split()
        inside = [words[at + 1].rpartition(":/models")[2] for at, word in enumerate(words) if word == "-v"]
        assert inside == ["", "/weights:ro"]
        assert line.count(" -p ") == line.count(" -p 127.0.0.1:")
        assert "25.12-trtllm-python-py3" in line, "pinned"
    assert lines[1].count(" -p 127.0.0.1:") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tp", "3"], "--tp is '3'"),
        (["--profile", "trt"], "there is no profile 'trt'"),
        (["--model", "https://user:hf_secret@hub/x/y"], "is no ORG/NAME"),
        (["--ports", "x"], "three numbers"),
        (["--ports", "8001"], "three numbers"),
        (["--ports", "8001:8000"], "three numbers"),
        (["--ports", "8001:8000:8002:1"], "three numbers"),
        (["--ports", "8001:8000:99999"], "three numbers"),
        (["--data"], "needs a value"),
        (["--fast"], "there is no option '--fast'"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], said: str) -> None:
    done = dry_run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"GPU_LINE": "NVIDIA A10, 23028 MiB, 470.57"}, [], "driver 470.57 is older than 535"),
        ({}, ["--tp", "2"], "--tp 2, and nvidia-smi shows 1 GPUs"),
        ({"FREE_KB": "20000000"}, [], "20 GB are free"),
        ({"token": ""}, [], "are gated"),
    ],
)
def test_a_machine_that_will_not_do(changes: dict[str, str], arguments: list[str], said: str, tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    done = instance(*arguments, **changes)
    assert done.returncode == 1
    assert said in done.stderr
    assert not any(call.startswith("docker run") for call in instance.calls)


@pytest.mark.parametrize(
    ("program", "said"), [("docker", "docker is missing"), ("nvidia-smi", "nvidia-smi is missing")]
)
def test_a_program_that_is_missing_is_named(program: str, said: str, tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    done = instance(PATH=instance.without(program))
    assert done.returncode == 1
    assert said in done.stderr


def test_a_folder_that_holds_no_weights_yet_does_not_count_as_them(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    (instance.data / "weights" / "meta-llama--meta-llama-3-8b-instruct").mkdir(parents=True)
    done = instance("--weights-gb", "99999999")
    assert "GB are needed" in done.stderr


def test_what_the_repository_depends_on_makes_it_anew(tmp_path: Path) -> None:
    """A copy of the checkout, as an instance has one, with another version of Charter; and a second organization."""
    checkout = tmp_path / "checkout"
    for name in ("scripts", "configs", "examples", "charter_compiler", "pyproject.toml", "constraints", "tools"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, checkout / name)
    instance = Instance(tmp_path, checkout)
    instance.write_nothing()
    assert "done before" not in instance(RUNNING="false").stdout
    second = instance(RUNNING="false")
    assert "done before: repository" in second.stdout
    assert "done before: build" in second.stdout
    with (checkout / "charter_compiler" / "config" / "trtllm_llmapi.py").open("a") as code:
        code.write("# a later version\n")
    assert "done before: repository" not in instance(RUNNING="false").stdout
    other = instance("--model", "other/Meta-Llama-3-8B-Instruct", RUNNING="false")
    assert "done before" not in other.stdout


@pytest.mark.server
def test_a_whole_setup_of_the_engine_profile_goes_on_after_a_failure(tmp_path: Path, model_path: Path) -> None:
    """Docker, GPU and hub are stand-ins. Charter writes the repository, which then loads in the real Triton, its engine
    model swapped; the readiness check and the smoke test ask that server."""
    instance = Instance(tmp_path)
    failed = instance("--profile", "engine", BUILD_FAILS="1", RUNTIMES="{}")
    assert failed.returncode == 9
    apt = [call.strip() for call in instance.calls if call.startswith("apt-get")]
    assert apt == ["apt-get update", "apt-get install -y nvidia-container-toolkit"]
    assert [call.split()[:4] for call in instance.calls if "token" in call] == [["hf", "(with", "the", "token)"]]
    models = instance.models("engine")
    assert "--max_seq_len 8192" in (models / "build.sh").read_text()
    dead = instance("--profile", "engine", RUNNING="false")
    assert dead.returncode == 1
    assert "the container's log" in dead.stderr
    assert "the container ended" in dead.stderr
    assert "done before: weights" in dead.stdout
    with swapped(models, model_path, None) as triton:
        instance.forget()
        done = instance("--profile", "engine", "--ports", ports_of(triton))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "done before: build" in done.stdout
        assert "PASSED prepopulation" in done.stdout
        assert "token hit rate of the warmed prefix" in done.stdout
        assert "charter lambda terminate" in done.stdout
        assert [call.split()[1] for call in instance.calls if call.startswith("docker run")] == ["run"]
        instance.forget()
        again = instance("--profile", "engine", "--ports", ports_of(triton))
        assert "it runs already" in again.stdout
        assert not any(call.startswith(("docker run", "hf")) for call in instance.calls), "nothing is done twice"
    runs = (failed, dead, done, again)
    assert not any(TOKEN in text for run in runs for text in (run.stdout, run.stderr))
    assert not any(TOKEN in call for call in instance.calls)
    assert not any(TOKEN.encode() in path.read_bytes() for path in instance.data.rglob("*") if path.is_file())


@pytest.mark.server
@pytest.mark.system
def test_a_whole_setup_of_the_llmapi_profile(tmp_path: Path, model_path: Path, embedded_server: ServerHandle) -> None:
    instance = Instance(tmp_path)
    first = instance(RUNNING="false")
    assert "the container ended" in first.stderr
    assert "cp /app/all_models/llmapi/tensorrt_llm/1/model.py" in first.stdout
    with swapped(instance.models("llmapi"), model_path, embedded_server) as triton:
        done = instance("--ports", ports_of(triton))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "block hit rate of the warmed prefix" in done.stdout


def ports_of(server: ServerHandle) -> str:
    return ":".join(str(server.ports[name]) for name in ("gRPC", "HTTP", "metrics"))


def test_the_skypilot_task_sets_the_server_up_and_holds_no_token(tmp_path: Path) -> None:
    """Its keys are those of SkyPilot's reference of task files; its set-up is a command line that the script takes."""
    task = yaml.safe_load((ROOT / "configs" / "lambda_skypilot.yaml").read_text(encoding="utf-8"))
    assert set(task) == {"name", "workdir", "resources", "secrets", "setup", "run"}
    assert task["secrets"] == {"HF_TOKEN": None}
    command = f"{task['setup'].strip()} --dry-run"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert f"{tmp_path}/charter-data/weights/meta-llama--meta-llama-3-8b-instruct" in done.stdout


def test_the_token_is_not_shown_by_a_shell_that_traces(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_TOKEN": TOKEN}
    done = subprocess.run(
        ["bash", "-x", str(SCRIPT), "--dry-run", "--data", str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert TOKEN not in done.stdout + done.stderr
