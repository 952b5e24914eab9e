"""configs/lambda_labs.yaml and its schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from charter_compiler.deploy.schema import build
from charter_compiler.deploy.settings import AgentCase, Connection, Settings, load_settings
from charter_compiler.diagnostics.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "configs" / "lambda_labs.yaml"


def test_the_file_of_the_repository_is_valid_and_names_every_section() -> None:
    settings = load_settings(CONFIG)
    assert set(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))) == set(Settings.__dataclass_fields__)
    assert settings.connection == replace(Connection(), timeout_s=120.0)
    assert settings.thresholds.sequential_chain.min_hit_rate == 0.3


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("")
    assert load_settings(path) == Settings()
    path.write_text("tests: {delta_matching: {items: 3}}\nconnection: {timeout_s: 5}\n")
    settings = load_settings(path)
    assert settings.tests.delta_matching == AgentCase(items=3)
    assert settings.connection.timeout_s == 5.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conection: {}", "there is no setting conection (did you mean connection?)"),
        ("tests: {delta_matching: {itmes: 3}}", "there is no setting tests.delta_matching.itmes (did you mean items?)"),
        ("monitoring: {zzz: 1}", "there is no setting monitoring.zzz (one of metrics)"),
        ("tests: {delta_matching: {items: 0}}", "tests.delta_matching.items is 0 (give 1 or more)"),
        ("tests: {delta_matching: {items: '3'}}", "tests.delta_matching.items is '3', which is not of type int"),
        ("tests: {delta_matching: {items: true}}", "tests.delta_matching.items is True, which is not of type int"),
        ("thresholds: {delta_matching: {min_hit_rate: 50}}", "min_hit_rate is 50.0 (give at most 1)"),
        ("benchmarks: {batch: {sizes: 4}}", "benchmarks.batch.sizes is not a list"),
        ("benchmarks: {batch: {sizes: [1, 0]}}", "benchmarks.batch.sizes[1] is 0 (give 1 or more)"),
        ("tests: 3", "tests is not a mapping of names to values"),
        ("- 1", "is not a mapping of names to values"),
        ("a: [", "is not YAML"),
        ("cache: {}\ncache: {}", "the key 'cache' stands twice"),
        ("connection: {url: !!python/object/apply:os.getcwd []}", "is not YAML"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_value_of_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("tests: {delta_matching: {items: 3, max_tokens: 9}}")
    changes = ["tests.delta_matching.items=4", "benchmarks.batch.sizes=[1, 2]", "connection.tokenizer=null"]
    settings = load_settings(path, changes)
    assert settings.tests.delta_matching == AgentCase(items=4, max_tokens=9)
    assert settings.benchmarks.batch.sizes == (1, 2)
    wrong = {"items": "write NAME=VALUE", "a..b=1": "write NAME=VALUE", "tests.x=1": "no setting tests.x"}
    for change, said in wrong.items():
        with pytest.raises(ConfigError, match=said):
            load_settings(path, [change])


def test_a_missing_file_and_a_missing_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_settings(tmp_path / "none.yaml")
    assert build(Connection, {"tokenizer": None}, place="x").tokenizer is None
    with pytest.raises(ConfigError, match="url is None"):
        build(Connection, {"url": None}, place="x")
