"""Values decided by hand: read strictly, kept when the folder is written anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_cases import known

from charter_compiler.config.engines import overrides_template
from charter_compiler.config.settings import OVERRIDES_FILE, read_overrides
from charter_compiler.config.sizes import SIZES
from charter_compiler.diagnostics.errors import ConfigError


def read(folder: Path, text: str) -> dict[str, object]:
    (folder / OVERRIDES_FILE).write_text(text, encoding="utf-8")
    return dict(read_overrides(folder, SIZES).values)


def test_values_are_read(tmp_path: Path) -> None:
    assert dict(read_overrides(tmp_path, SIZES).values) == {}
    assert read(tmp_path, "tokens_per_block: 64\nmemory_fraction: 1\npriority.12: 99\n") == {
        "tokens_per_block": 64,
        "memory_fraction": 1.0,
        "priority.12": 99,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block_size: 3", "there is no setting 'block_size' .*one of host_memory_bytes, .*or priority.CACHE_ID"),
        ("tokens_per_block: many", "tokens_per_block is not of type int"),
        ("tokens_per_block: true", "tokens_per_block is not of type int"),
        ("tokens_per_block: 0", "tokens_per_block is 0"),
        ("memory_fraction: 5", "memory_fraction is not above 0"),
        ("123: 5", "there is no setting '123'"),
        ("max_batch_size: -1", "max_batch_size is below 0"),
        ("priority.12: 101", "priority.12 is not from 0 to 100"),
        ("- 1", "is not a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_the_template_names_all_values_and_decides_none(tmp_path: Path) -> None:
    template = overrides_template(known().plan)
    assert read(tmp_path, template) == {}
    lines = [line.removeprefix("# ") for line in template.splitlines() if ": " in line]
    values = "\n".join(line for line in lines if line.split(":")[0] in SIZES or line.startswith("priority."))
    assert set(read(tmp_path, values)) >= set(SIZES)
