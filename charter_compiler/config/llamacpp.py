"""llama.cpp: the arguments of ``llama-server``."""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.config.render import arguments
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import Sizes
from charter_compiler.config.target import EngineName, EngineTarget

MOST_SLOTS = 8
"""Each slot's prompts are reused by that slot alone: more slots spread a prefix thinner."""
MIB = 1 << 20


def llamacpp_settings(target: EngineTarget, sizes: Sizes) -> tuple[Setting, ...]:
    """Options, without ``--``."""
    slots = min(MOST_SLOTS, int(sizes.max_batch_size.value))
    context = slots * int(sizes.max_seq_len.value)
    host_bytes = int(sizes.host_memory_bytes.value)
    settings = [
        Setting("model", target.model_path, "The GGUF file as the server sees it."),
        Setting("host", "127.0.0.1", "Open on the loopback only."),
        Setting("port", 8080, "llama-server's default."),
        Setting("parallel", slots, f"At most {MOST_SLOTS}: a slot reuses only what it computed itself."),
        Setting(
            "ctx-size",
            context,
            f"For all slots together, {slots} of {sizes.max_seq_len.value}. {sizes.max_seq_len.reason}",
        ),
        Setting("cache-prompt", True, "On by default; said here so that nothing turns it off."),
        Setting(
            "cache-reuse",
            0,
            "No reuse behind the first difference: shifted KV is not what the model computes, and answers change.",
        ),
        Setting(
            "slot-prompt-similarity",
            0.1,
            "llama-server's default: a request goes to the slot whose last prompt begins most alike, from a tenth on.",
        ),
        Setting("slots", True, "Lets charter config check see the slots."),
        Setting("metrics", True, "Counts prompt tokens that were computed, to be measured."),
    ]
    if host_bytes:
        settings.append(Setting("cache-ram", -(-host_bytes // MIB), f"In MiB. {sizes.host_memory_bytes.reason}"))
    return tuple(settings)


def llamacpp_files(header: str, target: EngineTarget, sizes: Sizes) -> Mapping[str, str]:
    """``serve.args``.

    Raises:
        ConfigError: the build is unknown.
    """
    title = f"{header} llama.cpp build {target.version(EngineName.LLAMACPP)}."
    return {"serve.args": arguments(f"{title} Options of: llama-server", llamacpp_settings(target, sizes))}
