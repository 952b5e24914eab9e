"""Prompts kept in files of the project, read by a constant path; nothing outside the inspected folder is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from parser_show import project, prompt

FILES = {
    "prompts/sum.txt": "Sum up {doc}.",
    "prompts/rules.md": "# Rules\nBe kind.\n",
    "prompts/all.yaml": "system: Be kind.\ntasks:\n  - name: one\n    text: Sum up\n",
    "prompts/all.toml": '[judge]\ntext = "Judge it"\n',
    "prompts/all.json": '{"a": ["x", "Jay"]}',
}
HEAD = """
import importlib.resources, json, os, tomllib, yaml
from pathlib import Path
HERE = Path(__file__).parent
def load(name):
    with open(f"prompts/{name}.md", encoding="utf-8") as file:
        return file.read()
def load_path(name):
    return (Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8")
"""
READ = {
    "open": ("open('prompts/sum.txt').read()", "Sum up {doc}."),
    "a path": ("Path('prompts/sum.txt').read_text()", "Sum up {doc}."),
    "beside the file": ("(HERE / 'prompts' / 'sum.txt').read_text(encoding='utf-8')", "Sum up {doc}."),
    "os.path": ("open(os.path.join(os.path.dirname(__file__), 'prompts', 'sum.txt')).read()", "Sum up {doc}."),
    "a package's resource": ("importlib.resources.files('prompts').joinpath('sum.txt').read_text()", "Sum up {doc}."),
    "filled in": ("Path('prompts/sum.txt').read_text().format(doc=doc)", "Sum up {doc}."),
    "stripped": ("Path('prompts/rules.md').read_text().strip() + doc", "# Rules\nBe kind.{doc}"),
    "a helper that is given the name": ("load('rules')", "# Rules\nBe kind.\n"),
    "a helper that makes a path": ("load_path('rules')", "# Rules\nBe kind.\n"),
    "YAML": ("yaml.safe_load(open('prompts/all.yaml'))['tasks'][0]['text']", "Sum up"),
    "YAML from a text": ("yaml.safe_load(Path('prompts/all.yaml').read_text())['system']", "Be kind."),
    "TOML": ("tomllib.load(open('prompts/all.toml', 'rb'))['judge']['text']", "Judge it"),
    "JSON": ("json.load(open('prompts/all.json'))['a'][1]", "Jay"),
    "a name that is not constant": ("open(doc).read()", "?"),
    "a missing file": ("open('prompts/none.txt').read()", "?"),
}


@pytest.mark.parametrize("title", READ)
def test_read(title: str, tmp_path: Path) -> None:
    expression, expected = READ[title]
    call = f"def run(llm, doc):\n    llm.generate({expression})\n"
    (found,) = project(tmp_path, {**FILES, "agent.py": HEAD + call}).calls
    assert prompt(found) == expected


def test_the_span_is_in_the_prompt_file(tmp_path: Path) -> None:
    source = "def run(llm):\n    llm.generate(open('prompts/rules.md').read())\n"
    (found,) = project(tmp_path, {**FILES, "agent.py": source}).calls
    span = found.messages[0].segments[0].span
    assert (span.file.endswith("prompts/rules.md"), span.line, span.end_line) == (True, 1, 3)


REFUSED = {
    "above the folder": "open('../outside.txt').read()",
    "an absolute path": "open('{outside}').read()",
    "through a link": "open('link.txt').read()",
    "no text": "open('bytes.txt').read()",
    "no prompt file by its name": "open('key.pem').read()",
    "YAML that does not parse": "__import__('yaml').safe_load(open('bad.yaml'))['a']",
}


@pytest.mark.parametrize("title", REFUSED)
def test_not_read(title: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("secret", encoding="utf-8")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "link.txt").symlink_to(outside)
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    expression = REFUSED[title].format(outside=outside)
    files = {
        "key.pem": "secret",
        "bad.yaml": "a: [",
        "agent.py": f"import yaml\ndef run(llm):\n    llm.generate({expression})\n",
    }
    (found,) = project(folder, files).calls
    assert prompt(found) == "?"
