"""``charter run`` on bad input: one line with place and remedy, a non-zero exit, nothing started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import RunRequest
from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.memo.store import MemoLimits

AGENT = "def process(text, llm):\n    return llm.generate(text)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("agent.py").write_text(AGENT, encoding="utf-8")
    Path("in.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    return tmp_path


def run(*arguments: str, entry: str = "agent.py:process", inputs: str = "in.jsonl") -> int:
    return main(["run", entry, "--inputs", inputs, "-o", "out.jsonl", *arguments])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([], {"entry": "none.py:process"}, "none.py: there is no such file"),
        ([], {"entry": "agent.py:proces"}, "agent.py: there is no proces (did you mean process?)"),
        ([], {"inputs": "none.jsonl"}, "none.jsonl: cannot read the inputs"),
        (
            ["--target", "mystery"],
            {},
            "there is no target 'mystery', and no file of that name (targets are local, triton://",
        ),
        (["--target", "triton://"], {}, "'triton://' is not a Triton target (write triton://host:port/model)"),
        (["--target", "triton://h:abc/x"], {"inputs": "none.jsonl"}, "'triton://h:abc/x' is not a Triton target: Port"),
        (["--target", "triton://h:99999/x"], {"inputs": "none.jsonl"}, "'triton://h:99999/x' is not a Triton target: "),
        (["--target", "triton://[::1/x"], {}, "'triton://[::1/x' is not a Triton target: "),
        (["--target", "triton://h:8001/x?y=1"], {}, "'triton://h:8001/x?y=1' is not a Triton target (write"),
        (["--target", "triton://sesame@h:1/x"], {}, "h: a Triton target holds host, port and model, nothing else"),
        (["--target", "openai://h:abc/v1?model=m"], {"inputs": "none.jsonl"}, "not a target: Port could not be"),
        (["--target", "openai://h:99999/v1?model=m"], {"inputs": "none.jsonl"}, "not a target: Port out of range"),
        (["--target", "triton://[::1]:1/m"], {}, "triton://[::1]:1/m: "),
        (["--keep-wording"], {}, "--keep-wording is about a layout"),
        (["--plan", "nowhere"], {}, "nowhere/plan.json: cannot be read"),
        (["--resume"], {}, "out.jsonl.journal: nothing to resume"),
        (["--model", "none"], {"target": "local"}, "there is no model 'none'"),
        (["--target", "triton://127.0.0.1:1/ensemble"], {}, "triton://127.0.0.1:1/ensemble: "),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], options: dict[str, str], message: str
) -> None:
    if options.pop("target", None):
        arguments = [*arguments, "--fresh-server"]
    assert run(*arguments, **options) != 0
    error = capsys.readouterr().err
    assert error.startswith(f"charter: error: {message}")
    assert error.count("\n") == 1
    assert "sesame" not in error
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"text": \n', "in.jsonl:2: not JSON"), ('{"other": 1}\n', "in.jsonl:2: process needs text")],
)
def test_a_broken_row_is_found_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    Path("in.jsonl").write_text('{"text": "a"}\n' + line, encoding="utf-8")
    assert run("--target", "triton://127.0.0.1:1/ensemble") == 1
    assert f"charter: error: {message}" in capsys.readouterr().err


def test_a_server_that_cannot_be_reached_leaves_an_older_run_alone(folder: Path) -> None:
    Path("out.jsonl").write_text("kept\n", encoding="utf-8")
    Path("out.jsonl.journal").write_text("kept\n", encoding="utf-8")
    assert run("--target", "triton://127.0.0.1:1/ensemble") == 1
    assert Path("out.jsonl").read_text(encoding="utf-8") == "kept\n"
    assert Path("out.jsonl.journal").read_text(encoding="utf-8") == "kept\n"


def test_a_plan_of_changed_sources_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
    from charter_compiler.tokens.tokenizer import default_tokenizer

    entry = "agent.py:process"
    tokenizer = default_tokenizer()
    plan = plan_entry(
        entry,
        analyse(calls_of_entry(entry), tokenizer, 32),
        target="local",
        model="m",
        tokenizer=tokenizer,
        block_size=32,
        capacity_blocks=256,
    )
    Path("plan").mkdir()
    Path("plan/plan.json").write_text(plan.to_json(), encoding="utf-8")
    arguments = ("--plan", "plan", "--target", "triton://127.0.0.1:1/ensemble")
    assert run(*arguments) == 1
    assert "triton://127.0.0.1:1" in capsys.readouterr().err, "an unchanged plan is taken"
    Path("agent.py").write_text(AGENT + "\n", encoding="utf-8")
    assert run(*arguments) == 1
    assert "the plan is stale: agent.py changed" in capsys.readouterr().err
    stranger = json.loads(plan.to_json())
    stranger["entry"] = "other.py:process"
    Path("plan/plan.json").write_text(json.dumps(stranger), encoding="utf-8")
    assert run(*arguments) == 1
    assert "it is the plan of other.py:process" in capsys.readouterr().err
    same = json.loads(plan.to_json())
    same["entry"] = f"{folder}/./agent.py:process"
    Path("agent.py").write_text(AGENT, encoding="utf-8")
    Path("plan/plan.json").write_text(json.dumps(same), encoding="utf-8")
    assert run(*arguments, entry="./agent.py:process") == 1
    assert "triton://127.0.0.1:1" in capsys.readouterr().err, "another way to write the entry's path is the same entry"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
@pytest.mark.parametrize("command", [["run", "agent.py:process", "--timeout"], ["serve", "--start-timeout"]])
def test_a_time_is_above_zero(capsys: pytest.CaptureFixture[str], command: list[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, seconds])
    assert ended.value.code == 2
    assert seconds in capsys.readouterr().err.splitlines()[-1]


def test_a_key_goes_to_another_machine_only_with_tls(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    assert run("--target", "openai://example.invalid:1/v1?model=m", inputs="none.jsonl") == 2
    error = capsys.readouterr().err
    assert "the API key would be sent without encryption (write openais://" in error
    assert "sesame" not in error
    for fine in ("openais://example.invalid:1/v1?model=m", "openai://127.0.0.1:1/v1?model=m"):
        assert run("--target", fine, inputs="none.jsonl") == 1
        assert "cannot read the inputs" in capsys.readouterr().err
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run("--target", "openai://example.invalid:1/v1?model=m", inputs="none.jsonl") == 1


@pytest.mark.parametrize(
    ("arguments", "memo"),
    [
        ((), MemoOptions(False, MemoLimits(1_024_000_000, 30 * 86400.0))),
        (
            ("--memo-sampled", "--memo-size", "5", "--memo-days", "0.5"),
            MemoOptions(True, MemoLimits(5_000_000, 43200.0)),
        ),
        (("--no-memo",), None),
        (("--no-merge",), None),
        (("--mode", "baseline"), None),
    ],
)
def test_the_memo_store_is_on_unless_it_is_a_baseline(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], memo: MemoOptions | None
) -> None:
    requests = []

    def take(request: RunRequest, *_: object) -> None:
        requests.append(request)
        raise UsageError("enough")

    monkeypatch.setattr("charter_compiler.cli.run.measured_run", take)
    assert run(*arguments) == 2
    assert requests[0].memo == memo


def test_a_defect_of_charter_is_one_line_unless_debug_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("no\nsuch")

    monkeypatch.setattr("charter_compiler.cli.run.measured_run", broken)
    assert run() == 70
    error = capsys.readouterr().err
    assert error == (
        "charter: internal error: KeyError: 'no\\nsuch' (run again with --debug for the traceback, and report it)\n"
    )
    with pytest.raises(KeyError):
        run("--debug")


def test_an_agent_that_ends_the_event_loop_ends_the_run_with_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
import asyncio, sys

async def process(text, llm):
    async def part():
        await llm.agenerate(text, max_tokens=2)
        if text == "b":
            sys.exit(0)
    await asyncio.gather(part())
    return text
"""
    Path("agent.py").write_text(source, encoding="utf-8")
    Path("in.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in "abc"), encoding="utf-8")
    assert run("--target", "sim", "--concurrency", "1", "--no-predict") == 1
    assert "called sys.exit(0) in a task that it had started" in capsys.readouterr().err
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == 1, "what was finished is kept"
