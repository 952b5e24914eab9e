"""Finding and reading tokenizers: a ``tokenizer.json``, a folder, a GGUF file, a hub name, or the default model's."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tokenizers

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.codec import Tokenizer
from charter_compiler.tokens.gguf import GGUFMetadata
from charter_compiler.tokens.gguf_tokenizer import tokenizer_config, tokenizer_json
from charter_compiler.tokens.models import DEFAULT_MODEL

__all__ = ["Tokenizer", "default_tokenizer", "load_tokenizer"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
REMEDY = "give a tokenizer.json, a folder that holds one, a .gguf file or a hub name"


def load_tokenizer(spec: str | Path | None = None) -> Tokenizer:
    """The tokenizer that ``spec`` names.

    ``None`` or the default model's name is the tokenizer of the default model, which ships inside the package.
    Otherwise the path of a ``tokenizer.json``, of a folder that holds one (its ``tokenizer_config.json`` gives the end
    token and the chat template) or of a GGUF file; or a hub name ``owner/model``, for which the network or the hub's
    cache is needed and which brings no chat template.

    Raises:
        TokenizerError: nothing is there, or it cannot be read.
    """
    if spec is None or spec == DEFAULT_MODEL.name:
        return default_tokenizer()
    path = Path(spec).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_gguf(path) if path.suffix == ".gguf" else _from_json_file(path, path.parent)
    if isinstance(spec, str) and HUB_NAME.fullmatch(spec):
        return _from_hub(spec)
    raise TokenizerError("there is no such file or folder", place=str(spec), remedy=REMEDY)


@cache
def default_tokenizer() -> Tokenizer:
    """The default model's tokenizer; one instance a process."""
    try:
        import lzma  # a Python that was built without liblzma lacks it
    except ImportError as error:
        raise TokenizerError(
            "this Python was built without lzma, which the shipped tokenizer needs",
            remedy="install liblzma's headers and rebuild Python, or give a tokenizer.json",
        ) from error
    data = files("charter_compiler.tokens") / "data"
    backend = tokenizers.Tokenizer.from_str(lzma.decompress((data / "smollm2-tokenizer.json.xz").read_bytes()).decode())
    config = json.loads((data / "smollm2-tokenizer_config.json").read_text(encoding="utf-8"))
    return _build(backend, DEFAULT_MODEL.name, config)


def _from_folder(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError("holds no tokenizer.json", place=str(folder), remedy=REMEDY)
    return _from_json_file(path, folder)


def _from_json_file(path: Path, folder: Path) -> Tokenizer:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"cannot be read: {error}", place=str(path)) from error
    backend = _from_str(text, path)
    return _build(backend, folder.resolve().name, _config(folder))


def _from_gguf(path: Path) -> Tokenizer:
    metadata = GGUFMetadata(path)
    backend = _from_str(json.dumps(tokenizer_json(metadata)), path)
    return _build(backend, path.stem, tokenizer_config(metadata))


def _from_str(text: str, path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise TokenizerError(f"holds no tokenizer that can be read: {error}", place=str(path), remedy=REMEDY) from error


def _from_hub(name: str) -> Tokenizer:
    try:
        backend = _from_pretrained(name)
    except Exception as error:  # the library raises bare Exception and the hub client's own errors
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TokenizerError(
            f"cannot be loaded from the hub: {cause}",
            place=name,
            remedy="check the name and the network, or give the path of the model's tokenizer.json",
        ) from error
    return _build(backend, name, {})


def _from_pretrained(name: str) -> tokenizers.Tokenizer:
    """The one call that may use the network."""
    return tokenizers.Tokenizer.from_pretrained(name)


def _config(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json``, with the template of ``chat_template.jinja`` where newer models keep it there."""
    config: dict[str, Any] = {}
    path, template = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    try:
        if path.is_file():
            config = json.loads(path.read_text(encoding="utf-8"))
        if template.is_file():
            config["chat_template"] = template.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot be read: {error}", place=str(path)) from error
    return config


def _build(backend: tokenizers.Tokenizer, name: str, config: dict[str, Any]) -> Tokenizer:
    def token(key: str) -> str | None:
        value = config.get(key)
        return value["content"] if isinstance(value, dict) else value

    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name; "default" is the one for plain chats
        template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return Tokenizer(backend, name, bos_token=token("bos_token"), eos_token=token("eos_token"), chat_template=template)
