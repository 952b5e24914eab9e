"""``charter compile``: what it writes with and without inputs, and what it says of bad input. No server is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.api.compilation import Rates
from charter_compiler.api.predicted_passes import WARM_UP, decide
from charter_compiler.cli.main import main
from charter_compiler.config.triton_interfaces import engine_interfaces
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Order, Schedule
from charter_compiler.predict.cost_model import Calibration, Check
from charter_compiler.serve.engine.costs import Costs

AGENTS = Path(__file__).parents[2] / "examples" / "agents"
ENTRY = "document_processor.py:DocumentProcessor.process"
RATES = ["hit_rate", "attainable_hit_rate", "prompt_tokens"]
PREFIX = "The quick brown fox jumps over the lazy dog while the cat watches from the garden wall. " * 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an agent and three short rows; no server on this machine is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("charter_compiler.api.compile_target.find_here", lambda: None)
    monkeypatch.setattr("charter_compiler.api.predicted_passes.find_calibration", lambda target, model: None)
    shutil.copy(AGENTS / "document_processor.py", tmp_path)
    rows = [{"document": f"Report {n}: revenue grew.", "ignored": n} for n in range(3)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def compiled(*arguments: str, entry: str = ENTRY, output: str = "out") -> Path:
    assert main(["compile", entry, "-o", output, "--max-tokens", "8", *arguments]) == 0
    return Path(output)


def prediction_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "prediction.json").read_text(encoding="utf-8"))
    return found


def plan_in(folder: Path) -> ExecutionPlan:
    return ExecutionPlan.from_json((folder / "plan.json").read_text(encoding="utf-8"))


def write_agent(text: str, name: str = "agent.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return f"{name}:process"


def test_with_inputs_it_predicts_both_ways_to_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = prediction_in(compiled("--inputs", "in.jsonl"))
    assert sorted(prediction) == ["as_written", "inputs", "passes", "planned"]
    assert prediction["inputs"] == 3
    for rates in (prediction["as_written"], prediction["planned"]):
        assert list(rates) == RATES
        assert 0 < rates["hit_rate"] <= rates["attainable_hit_rate"] < 1
    assert [list(saving) for saving in prediction["passes"]] == [["name", "saved_tokens"]] * 2
    assert "predicted over 3 rows" in capsys.readouterr().out
    limited = prediction_in(compiled("--inputs", "in.jsonl", "--limit", "1"))
    assert limited["inputs"] == 1
    assert limited["as_written"]["prompt_tokens"] < prediction["as_written"]["prompt_tokens"]


def test_what_the_schedule_saves_is_in_the_planned_rate(folder: Path) -> None:
    texts = ["something else " * 50, *(f"{PREFIX}{n}" for n in range(3))]
    rows = "".join(json.dumps({"document": text}) + "\n" for text in texts)
    Path("in.jsonl").write_text(rows, encoding="utf-8")
    entry = write_agent("def process(document, llm):\n    return llm.generate(document)\n")
    prediction = prediction_in(compiled("--inputs", "in.jsonl", entry=entry))
    written, planned = prediction["as_written"], prediction["planned"]
    (schedule,) = prediction["passes"]
    assert written["hit_rate"] == 0, "all three start in the iteration after the first prompt's"
    assert planned["hit_rate"] == planned["attainable_hit_rate"] > 0
    assert schedule["saved_tokens"] == round(planned["hit_rate"] * planned["prompt_tokens"])


def test_without_inputs_only_the_templates_rate_is_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prediction = prediction_in(compiled())
    rates = prediction["as_written"]
    assert 0 < rates["hit_rate"] < 1
    assert rates["attainable_hit_rate"] is None
    assert rates["prompt_tokens"] is None
    assert prediction == {"inputs": 0, "as_written": rates, "planned": rates, "passes": []}
    assert "note: no inputs: the hit rate is that of the templates' constant text alone" in capsys.readouterr().err


def test_the_details_say_why_tokens_are_computed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--size", "--gpu", "a10", "--kv-dtype", "fp8")
    out = compiled("--inputs", "in.jsonl", "--explain", *sizes, "--prices", "2,0.5,9")
    details = json.loads((out / "details.json").read_text(encoding="utf-8"))
    assert list(details) == ["version", "sites", "prefixes", "calls", "capacities", "seconds", "sizing"]
    for site in details["sites"]:
        parts = ("cached", "evicted", "in_flight", "rounding", "new")
        assert sum(site[part] for part in parts) == site["prompt"]
        assert 0 <= site["repeated"] <= site["new"]
    planned = prediction_in(out)["planned"]
    cached = sum(call["cached"] for call in details["calls"])
    assert cached == round(planned["hit_rate"] * planned["prompt_tokens"])
    assert all(0 <= prefix["hit_rate"] <= 1 for prefix in details["prefixes"])
    assert details["seconds"] is None, "nothing was calibrated"
    text = capsys.readouterr().out
    assert "input document at document_processor.py:30" in text
    assert "Where prompt tokens go" in (out / "report.html").read_text(encoding="utf-8")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    run = report["runs"][-1]
    cost = (run["computed_tokens"] * 2 + run["cached_tokens"] * 0.5) / 1e6
    assert report["savings"][-1]["values"][-1] == pytest.approx(cost)
    assert report["savings"][1]["values"] == [None, None], "nothing was calibrated"
    assert [each["call"]["site"].rpartition("#")[2] for each in report["prompts"]] == ["1", "2", "3"]
    capacities = details["capacities"]
    assert [point["blocks"] for point in capacities[1:]] == [2 * point["blocks"] for point in capacities[:-1]]
    assert capacities[-1]["planned"] == pytest.approx(run["attainable_hit_rate"])
    assert "a10 would hold the weights" in report["notes"][-1]

    sizing = details["sizing"]
    assert sizing["blocks"]["with_sharing"] < sizing["blocks"]["without_sharing"]
    fewest = sizing["capacity"]["blocks"]
    at_fewest = compiled("--inputs", "in.jsonl", "--capacity-blocks", str(fewest), output="fewest")
    assert prediction_in(at_fewest)["planned"]["hit_rate"] >= sizing["capacity"]["target_rate"]
    assert sizing["kv_bytes_per_token"] == 23_040 / 2
    assert sizing["memory"]["kv_bytes"] == fewest * 32 * 23_040 / 2
    assert "a claim that is not checked here" in text
    compiled()
    assert not (out / "details.json").exists(), "without inputs there is nothing to say"


def test_seconds_are_predicted_once_the_target_is_calibrated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = Costs(step=1e6, prefill_token=1e6, decode_token=5e6)
    kept = Calibration("local", "m", costs, Check(8, 3.0, 2.0), (), (), "2026-11-25")
    monkeypatch.setattr("charter_compiler.api.predicted_passes.find_calibration", lambda target, model: kept)
    out = compiled("--inputs", "in.jsonl")
    seconds = json.loads((out / "details.json").read_text(encoding="utf-8"))["seconds"]
    prediction = prediction_in(out)["planned"]
    computed = prediction["prompt_tokens"] * (1 - prediction["hit_rate"])
    assert 1e-3 * computed < seconds["planned"] < 1e-3 * computed + 1.5, "3 items of 3 calls of 8 tokens"
    assert seconds["calibration_error"] == 0.5
    assert "s planned (calibrated 2026-11-25; its own check was off by +50%)" in capsys.readouterr().out


def test_outputs_of_a_recorded_run_stand_in_for_the_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = [{"item": n, "ordinal": k, "output": f"out {n} {k}"} for n in range(3) for k in range(2)]
    Path("run.jsonl.calls.jsonl").write_text("".join(json.dumps(call) + "\n" for call in calls), encoding="utf-8")
    recorded = prediction_in(compiled("--inputs", "in.jsonl", "--outputs-of", "run.jsonl"))
    assert "note: 3 calls are not in the recorded run" in capsys.readouterr().err
    synthetic = prediction_in(compiled("--inputs", "in.jsonl"))
    assert recorded["as_written"]["prompt_tokens"] < synthetic["as_written"]["prompt_tokens"], "4 tokens are below 8"
    Path("run.jsonl.calls.jsonl").unlink()
    rows = [{"row": {"index": n}, "calls": [{"output_tokens": 2}] * 3} for n in range(3)]
    lines = "".join(json.dumps(line) + "\n" for line in ({"journal": 1}, *rows))
    Path("run.jsonl.journal").write_text(lines, encoding="utf-8")
    short = prediction_in(compiled("--inputs", "in.jsonl", "--outputs-of", "run.jsonl"))
    assert short["as_written"]["prompt_tokens"] == synthetic["as_written"]["prompt_tokens"] - 3 * 2 * 6
    Path("run.jsonl.journal").unlink()
    assert main(["compile", ENTRY, "--inputs", "in.jsonl", "-o", "x", "--outputs-of", "run.jsonl"]) == 1
    assert "neither recorded calls nor a journal lie beside it (run with --record first)" in capsys.readouterr().err


def test_files_of_a_compilation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled()
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {
        "plan.json",
        "prediction.json",
        "report.html",
        "report.json",
        "agent/document_processor.py",
        "agent/manifest.json",
        "agent/plan.json",
        "config/local/overrides.yaml",
        *(
            f"config/local/engine/{name}"
            for name in ("build.sh", "run.sh", "tritonserver.sh", "retention.json", "hints.json")
        ),
        *(f"config/local/engine/repository/{name}/config.pbtxt" for name in engine_interfaces()),
        *(f"config/local/llmapi/{name}" for name in ("tritonserver.sh", "serve.yaml", "serve.args", "hints.json")),
        "config/local/llmapi/repository/tensorrt_llm/config.pbtxt",
        "config/local/llmapi/repository/tensorrt_llm/1/model.yaml",
        *(f"config/local/vllm/{name}" for name in ("serve.yaml", "serve.args", "hints.json")),
        *(
            f"config/local/{engine}/{name}"
            for engine in ("sglang", "llamacpp")
            for name in ("serve.args", "hints.json")
        ),
        *(f"config/local/hosted/{name}.json" for name in ("anthropic", "openai", "gemini", "hints")),
    }
    listed = {line for line in capsys.readouterr().out.splitlines() if line.startswith("out/")}
    assert {f"out/{name}" for name in written} == listed
    assert (out / "agent/document_processor.py").read_bytes() == Path("document_processor.py").read_bytes()
    assert plan_in(out).entry == ENTRY
    plan_in(out).check_sources(folder)


def test_the_targets_sizes_can_be_overridden(folder: Path) -> None:
    default, other = plan_in(compiled()), plan_in(compiled("--block-size", "64", "--capacity-blocks", "99"))
    assert (default.block_size, default.capacity_blocks) == (32, 256)
    assert (other.block_size, other.capacity_blocks) == (64, 99)
    assert (default.prefixes[1].aligned_tokens, other.prefixes[1].aligned_tokens) == (96, 64)


def test_a_small_capacity_is_met_by_another_order_of_calls(folder: Path) -> None:
    entry = write_agent(
        "def process(first, second, document, llm):\n"
        "    a = llm.generate(first + document)\n"
        "    b = llm.generate(second + document)\n"
        "    return llm.generate(second + document + ' Say it again.')\n"
    )
    texts = {"first": PREFIX * 2, "second": "Another handbook is read. " * 30}
    rows = [texts | {"document": f"Report {n}: revenue grew."} for n in range(3)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    large = compiled("--inputs", "in.jsonl", entry=entry)
    small = compiled("--inputs", "in.jsonl", "--capacity-blocks", "8", entry=entry, output="small")
    before, after = prediction_in(large), prediction_in(small)
    assert after["planned"]["hit_rate"] > 0.9 * before["planned"]["hit_rate"]
    saved = {each["name"]: each["saved_tokens"] for each in after["passes"]}
    assert saved["order of calls: stage-first"] > 0
    assert plan_in(large).schedule == DEFAULT_SCHEDULE
    assert plan_in(small).schedule == Schedule(Order.STAGE_FIRST)


def test_a_warm_up_that_saves_stays() -> None:
    without, with_it = Rates(0.5, 0.8, 1000, 500), Rates(0.6, 0.8, 1050, 600)
    decided = decide(["order", WARM_UP], [Rates(0.4, 0.8, 1000, 400), without, with_it], [])
    assert decided.warms
    assert decided.planned == with_it
    assert [saving.saved_tokens for saving in decided.passes] == [100, 50]


def test_a_warm_up_that_saves_nothing_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = write_agent(
        f"def process(document, llm):\n"
        f"    a = llm.generate({PREFIX!r} + document)\n"
        f"    return llm.generate({PREFIX!r} + a)\n"
    )
    out = compiled("--inputs", "in.jsonl", entry=entry)
    prediction = prediction_in(out)
    name, saved = prediction["passes"][-1].values()
    assert name == "warm-up of constant prefixes, left out"
    assert saved <= 0
    assert plan_in(out).prefixes
    assert plan_in(out).warm_up == ()
    assert "note: the plan leaves the warm-up out" in capsys.readouterr().err
    scheduled = prediction["planned"]["prompt_tokens"]
    assert scheduled == prediction["as_written"]["prompt_tokens"], "the planned rates count no warm-up"
    assert plan_in(compiled(entry=entry)).warm_up, "without inputs nothing speaks against it"


def test_effects_at_module_level_wait_for_leave(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = write_agent(
        "with open('touched', 'w') as file:\n    file.write('x')\n\n"
        "def process(document, llm):\n    return llm.generate('Summarize ' + document)\n"
    )
    out = compiled("--inputs", "in.jsonl", entry=entry)
    assert not Path("touched").exists()
    assert prediction_in(out)["inputs"] == 0
    assert "agent.py:1 calls open() (--allow-effects)" in capsys.readouterr().err
    compiled("--inputs", "in.jsonl", "--allow-effects", entry=entry)
    assert Path("touched").exists()
    assert prediction_in(out)["inputs"] == 3


def test_a_package_is_copied_so_that_it_runs_and_every_file_of_it_counts(folder: Path) -> None:
    write_agent("from app_a.texts import TASK\n", "src/app_a/__init__.py")
    write_agent("TASK = 'Summarize '\n", "src/app_a/texts.py")
    write_agent("never = 'imported'\n", "src/app_a/unused.py")
    text = "from .texts import TASK\n\ndef process(document, llm):\n    return llm.generate(TASK + document)\n"
    entry = write_agent(text, "src/app_a/agent.py")
    out = compiled("--inputs", "in.jsonl", entry=entry)
    copied = {path.relative_to(out / "agent").as_posix() for path in (out / "agent").rglob("*.py")}
    assert copied == {"app_a/__init__.py", "app_a/agent.py", "app_a/texts.py"}
    assert {source.path for source in plan_in(out).sources} == {f"src/{name}" for name in copied}
    again = compiled("--inputs", "in.jsonl", entry="out/agent/app_a/agent.py:process", output="again")
    assert prediction_in(again) == prediction_in(out)


def test_an_earlier_compilation_is_replaced(folder: Path) -> None:
    compiled("--target", "local")
    stale = Path("out/config/local/stale.txt")
    stale.touch()
    compiled(entry=write_agent("def process(document, llm):\n    return llm.generate('Hello ' + document)\n"))
    assert sorted(path.name for path in Path("out/agent").iterdir()) == ["agent.py", "manifest.json", "plan.json"]
    assert not stale.exists()


def test_a_value_decided_by_hand_is_kept_when_the_folder_is_written_anew(folder: Path) -> None:
    path = compiled() / "config/local/overrides.yaml"
    path.write_text("# because of our other job\nmemory_fraction: 0.5\n", encoding="utf-8")
    for _ in range(2):
        config = compiled() / "config/local"
        assert path.read_text(encoding="utf-8") == "# because of our other job\nmemory_fraction: 0.5\n"
        assert "gpu-memory-utilization: 0.5" in (config / "vllm/serve.yaml").read_text(encoding="utf-8")
        assert "free_gpu_memory_fraction: 0.5" in (config / "llmapi/serve.yaml").read_text(encoding="utf-8")


def test_engines_versions_and_gpus_can_be_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = Path(__file__).parents[1] / "fixtures" / "models"
    chosen = ("--engine", "vllm", "--engine", "llmapi=1.0", "--gpu", "h100-sxm", "--model-files")
    out = compiled(*chosen, str(models / "llama-3-8b"), "--model-path", "meta-llama/Meta-Llama-3-8B")
    assert {path.name for path in (out / "config/local").iterdir()} == {"vllm", "llmapi", "overrides.yaml"}
    assert "tokens of KV fit beside the weights" in (out / "config/local/vllm/serve.args").read_text(encoding="utf-8")
    arguments = (out / "config/local/llmapi/serve.args").read_text(encoding="utf-8")
    assert "trtllm-serve meta-llama/Meta-Llama-3-8B" in arguments
    assert "--extra_llm_api_options" in arguments
    for wrong, message in [
        (("--engine", "tgi"), "there is no engine 'tgi' (known are engine, llmapi"),
        (("--engine", "vllm=9"), "version 9 of vllm is not known (known are 0.32)"),
        (("--gpu", "h1"), "there is no GPU 'h1' in the table"),
        (("--model-files", "nowhere"), "nowhere: there is no such file"),
    ]:
        assert main(["compile", ENTRY, "-o", "out", *wrong]) > 0
        assert message in capsys.readouterr().err


def test_files_of_others_are_not_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = write_agent("def process(document, llm):\n    return llm.generate('Hello ' + document)\n", "agent/a.py")
    assert main(["compile", entry, "-o", "."]) == 1
    assert capsys.readouterr().err == (
        "charter: error: agent: holds files that charter compile did not write (choose another folder with -o)\n"
    )
    compiled()
    assert main(["compile", "out/agent/" + ENTRY, "-o", "out"]) == 1
    assert Path("agent/a.py").exists()
    assert Path("out/agent/document_processor.py").exists()


@pytest.mark.parametrize(
    ("entry", "inputs", "message"),
    [
        (ENTRY.removesuffix("s"), None, "there is no DocumentProcessor.proces (did you mean Document"),
        ("document_processor.py:Nope.nothing", None, "there is no Nope.nothing (did you mean DocumentProcessor.proc"),
        ("document_processor.py:DocumentProcessor", None, "DocumentProcessor is a class (name one of its methods: "),
        ("empty.py:process", None, "empty.py: there is no process ("),
        ("callless.py:process", None, "callless.py:process: no model call was found in the file of the entry ("),
        ("broken.py:process", None, "broken.py:2: syntax error: "),
        ("gone.py:process", None, "gone.py: there is no such file ("),
        (ENTRY, "", "bad.jsonl: the inputs are empty ("),
        (ENTRY, '{"document": "a"}\n\n{"document": \n', "bad.jsonl:3: not JSON: "),
        (ENTRY, '{"document": "a"}\n{"text": "b"}\n', "bad.jsonl:2: DocumentProcessor.process needs document, which"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], entry: str, inputs: str | None, message: str
) -> None:
    Path("empty.py").touch()
    Path("callless.py").write_text("def process(document, llm):\n    return document\n", encoding="utf-8")
    Path("broken.py").write_text("x = 1\ndef process(:\n", encoding="utf-8")
    arguments = ["compile", entry, "-o", "out"]
    if inputs is not None:
        Path("bad.jsonl").write_text(inputs, encoding="utf-8")
        arguments += ["--inputs", "bad.jsonl"]
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("charter: error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not Path("out").exists()


def test_layout_is_off_unless_asked_for_and_then_in_plan_and_prediction(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"document": f"{PREFIX}{n} {PREFIX}"} for n in range(3)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plain = compiled("--inputs", "in.jsonl", output="plain")
    assert plan_in(plain).layouts == ()
    capsys.readouterr()
    laid = compiled("--inputs", "in.jsonl", "--layout", output="laid")
    said = capsys.readouterr().out
    assert "reworded 'Source document:' to 'Document:'" in said
    assert "document_processor.py:23 shared values first" in said
    assert len(plan_in(laid).layouts) == 3
    before, after = prediction_in(plain)["planned"], prediction_in(laid)["planned"]
    assert after["hit_rate"] > before["hit_rate"] + 0.1
    assert prediction_in(laid)["as_written"] == prediction_in(plain)["as_written"]
    saved = {each["name"].partition(":")[0]: each["saved_tokens"] for each in prediction_in(laid)["passes"]}
    assert saved["layout"] > 0


def test_layout_says_why_it_leaves_a_prompt_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = write_agent(
        "def process(document, llm):\n"
        '    return llm.generate(f"Text:\\n{document}\\n\\nSummarize it in two sentences.\\n\\nSummary:")\n'
    )
    assert plan_in(compiled("--layout", entry=entry)).layouts == ()
    assert "left as written: no other order reuses more" not in (said := capsys.readouterr().out)
    assert "left as written: the second refers to what stands before it" in said


def test_diff_and_rewritten_agent_send_what_the_plan_sends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(json.dumps({"document": f"{PREFIX}{n}"}) + "\n" for n in range(3))
    Path("in.jsonl").write_text(rows, encoding="utf-8")
    out = compiled("--layout", "--diff", "--inputs", "in.jsonl")
    said = capsys.readouterr().out
    assert "--- a/document_processor.py\n+++ b/document_processor.py\n" in said
    assert "-Source document:\n" in said
    manifest = json.loads((out / "agent/manifest.json").read_text(encoding="utf-8"))
    assert manifest["entry"] == f"out/agent/{ENTRY}"
    assert [each["rewritten"] for each in manifest["files"]] == [True]
    assert len(manifest["layout"]["in_source"]) == 3
    own = ExecutionPlan.from_json((out / "agent/plan.json").read_text(encoding="utf-8"))
    assert own.layouts == ()
    own.check_sources(Path.cwd())
    assert [prefix.text for prefix in own.prefixes] == [prefix.text for prefix in plan_in(out).prefixes]
    again = compiled("--inputs", "in.jsonl", entry=manifest["entry"], output="again")
    planned, as_rewritten = prediction_in(out)["planned"], prediction_in(again)["planned"]
    assert as_rewritten == planned
    assert (again / "agent/document_processor.py").read_bytes() == (out / "agent/document_processor.py").read_bytes()


def test_a_field_that_rows_have_in_common_is_laid_out_first(folder: Path) -> None:
    entry = write_agent(
        "def process(note, policy, llm):\n"
        '    return llm.generate(f"Note: {note}\\nPolicy: {policy}\\n\\nAnswer:", max_tokens=4)\n'
    )
    rows = [
        {"note": f"note {n} of a clerk", "policy": f"{n % 2} " + "Pay what is owed at once. " * 30} for n in range(8)
    ]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    laid = prediction_in(compiled("--layout", "--inputs", "in.jsonl", entry=entry))
    assert laid["as_written"]["hit_rate"] < 0.1
    assert laid["planned"]["hit_rate"] > 0.6


def test_calls_are_rewritten_when_told_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = write_agent(
        "async def process(document, llm):\n"
        '    await llm.generate(f"Nobody reads this: {document}")\n'
        '    names = await llm.generate(f"Text: {document}\\n\\nName the persons in one line.")\n'
        '    dates = await llm.generate(f"Text: {document}\\n\\nName the dates in one line.")\n'
        "    return names + dates\n"
    )
    plain = compiled(entry=entry, output="plain")
    assert "both could be asked at once" in capsys.readouterr().out
    assert (plain / "agent/agent.py").read_bytes() == Path("agent.py").read_bytes()
    out = compiled("--layout", "--parallel", "--drop-dead", "--diff", entry=entry)
    said = capsys.readouterr().out
    assert "dead-calls: agent.py:2 nothing reads the answer: the call is taken out" in said
    assert "independent-calls: agent.py:3 asked at once with the call at line 2" in said
    assert "+    names, dates = await asyncio.gather(\n" in said
    manifest = json.loads((out / "agent/manifest.json").read_text(encoding="utf-8"))
    assert manifest["calls_taken_out"] == ["agent.py:process#1"]
    own = ExecutionPlan.from_json((out / "agent/plan.json").read_text(encoding="utf-8"))
    own.check_sources(Path.cwd())
    assert "asyncio.gather" in (out / "agent/agent.py").read_text(encoding="utf-8")


def test_without_a_layout_the_agent_is_copied_byte_for_byte(folder: Path) -> None:
    Path("agent.py").write_bytes(b"def process(document, llm):\r\n\treturn llm.generate( 'A' + document)  # odd \r\n")
    out = compiled("--layout", entry="agent.py:process")
    assert (out / "agent/agent.py").read_bytes() == Path("agent.py").read_bytes()
    manifest = json.loads((out / "agent/manifest.json").read_text(encoding="utf-8"))
    assert [each["rewritten"] for each in manifest["files"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--diff"], "--diff shows what is rewritten (give --layout, --parallel or --drop-dead too)"),
        (["--verify", "3"], "--verify is about a layout (give --layout too)"),
        (["--layout", "--verify", "3"], "--verify runs the agent over inputs (give --inputs)"),
    ],
)
def test_options_of_a_layout_without_one(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["compile", ENTRY, "-o", "out", *arguments]) == 2
    assert capsys.readouterr().err == f"charter: error: {message}\n"
