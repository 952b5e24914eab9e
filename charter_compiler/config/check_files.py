"""What the configuration files of an engine say of themselves: those that ``charter compile`` writes, or a person's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.config.check import Served
from charter_compiler.diagnostics.errors import ConfigError

MODEL_CONFIG = "config.pbtxt"


def served_by_folder(folder: Path) -> tuple[Served, ...]:
    """One for each engine whose files lie anywhere below ``folder``.

    Raises:
        ConfigError: there are none, or one cannot be read.
    """
    found = [*_repositories(folder), *_each(folder, "serve.yaml", _yaml), *_each(folder, "serve.args", _arguments)]
    if not found:
        raise ConfigError(
            "holds no engine configuration that is known",
            place=str(folder),
            remedy="give a folder with a Triton model repository, serve.yaml or serve.args",
        )
    return tuple(found)


def served_by_model(place: str, config: Any, *, decoupled: Mapping[str, bool]) -> Served:
    """Of the inner model of TensorRT-LLM, from Triton's ``ModelConfig`` message. The embedded server adds sizes."""
    written = {key: value.string_value for key, value in config.parameters.items()}
    unfilled = sorted(key for key, value in written.items() if value.startswith("${"))
    parameters = {key: value for key, value in written.items() if key not in unfilled}
    size, blocks = parameters.get("tokens_per_block"), parameters.get("charter_capacity_blocks")
    embedded = "charter_embedded" in parameters
    faults = [] if embedded or size is None else ["tokens_per_block is no parameter of the model: the engine has it"]
    faults += [f"{key} is a placeholder that nobody filled in" for key in unfilled]
    tokens = parameters.get("max_tokens_in_paged_kv_cache", "")
    capacity = int(tokens) if tokens.isdigit() else None
    if size and blocks:
        capacity = int(size) * int(blocks)
    reuse = parameters.get("enable_kv_cache_reuse")
    return Served(
        place,
        reuse=None if reuse is None else reuse.lower() == "true",
        tokens_per_block=int(size) if size and embedded else None,
        capacity_tokens=capacity,
        max_sequence=int(parameters["charter_max_context"]) if "charter_max_context" in parameters else None,
        decoupled=decoupled,
        tokenizer=parameters.get("charter_tokenizer_fingerprint"),
        faults=tuple(faults),
    )


def _each(folder: Path, name: str, read: Callable[[Path], Served]) -> Iterator[Served]:
    for path in sorted(folder.rglob(name)):
        yield read(path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", place=str(path)) from error


def _repositories(folder: Path) -> Iterator[Served]:
    """A repository is a folder of folders with a ``config.pbtxt`` each, ``tensorrt_llm`` among them."""
    for path in sorted(folder.rglob(f"tensorrt_llm/{MODEL_CONFIG}")):
        repository = path.parent.parent
        configs = {each.parent.name: _model_config(each) for each in sorted(repository.glob(f"*/{MODEL_CONFIG}"))}
        streaming = {
            name: config.model_transaction_policy.decoupled
            for name, config in configs.items()
            if name in ("tensorrt_llm", "tensorrt_llm_bls")
        }
        arguments = path.parent / "1" / "model.yaml"
        if arguments.is_file():
            yield _llm_arguments(arguments, streaming["tensorrt_llm"])
            continue
        served = served_by_model(str(path), configs["tensorrt_llm"], decoupled=streaming)
        yield _with_build(served, repository.parent / "build.sh", _foreign_paths(configs))


def _model_config(path: Path) -> Any:
    try:
        return text_format.Parse(_text(path), model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"Triton does not read it: {error}", place=str(path)) from error


def _foreign_paths(configs: Mapping[str, Any]) -> tuple[str, ...]:
    values = [value.string_value for config in configs.values() for value in config.parameters.values()]
    outside = sorted({value for value in values if value.startswith("/") and not value.startswith("/models/")})
    return tuple(f"{path} lies outside /models, the folder that the container mounts" for path in outside)


def _with_build(served: Served, script: Path, faults: tuple[str, ...]) -> Served:
    """The engine's own sizes stand where it is built."""
    faults = (*served.faults, *faults)
    size = served.tokens_per_block
    longest = served.max_sequence
    if script.is_file():
        options = dict(re.findall(r"--(\w+)[ =]([^\s\\]+)", re.sub(r"(?m)^\s*#.*$", "", _text(script))))
        if options.get("use_paged_context_fmha") != "enable":
            faults = (*faults, "the engine is built without --use_paged_context_fmha enable: it cannot reuse blocks")
        size = int(options["tokens_per_block"]) if "tokens_per_block" in options else size
        longest = int(options["max_seq_len"]) if "max_seq_len" in options else longest
    return Served(
        served.place,
        reuse=served.reuse,
        tokens_per_block=size,
        capacity_tokens=served.capacity_tokens,
        max_sequence=longest,
        decoupled=served.decoupled,
        tokenizer=served.tokenizer,
        faults=faults,
    )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML: {' '.join(str(error).split())}", place=str(path)) from error
    if not isinstance(values, dict):
        raise ConfigError("is not a mapping", place=str(path))
    return values


def _llm_arguments(path: Path, decoupled: bool) -> Served:
    """Of the ``llmapi`` profile. ``triton_config.decoupled`` and ``config.pbtxt`` must agree."""
    values = _mapping(path)
    said = (values.get("triton_config") or {}).get("decoupled")
    both = {"config.pbtxt": decoupled} if said is None else {"config.pbtxt": decoupled, "model.yaml": bool(said)}
    return _of_llm(path, values, both)


def _of_llm(path: Path, values: Mapping[str, Any], decoupled: Mapping[str, bool]) -> Served:
    cache = values.get("kv_cache_config") or {}
    return Served(
        str(path),
        reuse=cache.get("enable_block_reuse", True),
        tokens_per_block=cache.get("tokens_per_block"),
        capacity_tokens=cache.get("max_tokens"),
        max_sequence=values.get("max_seq_len"),
        decoupled=decoupled,
    )


def _yaml(path: Path) -> Served:
    """``trtllm-serve``'s or vLLM's."""
    values = _mapping(path)
    if "kv_cache_config" in values:
        return _of_llm(path, values, {})
    size, blocks = values.get("block-size"), values.get("num-gpu-blocks-override")
    return Served(
        str(path),
        reuse=values.get("enable-prefix-caching", True),
        tokens_per_block=size,
        capacity_tokens=size * blocks if size and blocks else None,
        max_sequence=values.get("max-model-len"),
    )


def _arguments(path: Path) -> Served:
    """Of ``vllm serve``, SGLang or ``llama-server``."""
    words = shlex.split(_text(path), comments=True)
    values = {word[2:]: after for word, after in zip(words, [*words[1:], ""], strict=True) if word.startswith("--")}

    def number(*names: str) -> int | None:
        return next((int(values[name]) for name in names if values.get(name, "").isdigit()), None)

    off = ("no-enable-prefix-caching", "disable-radix-cache", "no-cache-prompt")
    size, blocks = number("block-size", "page-size"), number("num-gpu-blocks-override")
    return Served(
        str(path),
        reuse=not any(name in values for name in off),
        tokens_per_block=size,
        capacity_tokens=size * blocks if size and blocks else number("max-total-tokens", "ctx-size"),
        max_sequence=number("max-model-len", "context-length"),
    )
