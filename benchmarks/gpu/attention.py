"""Attention for the paged cache through the flash kernel that PyTorch itself ships: no package beside it is needed.

``transformers`` has ``paged|sdpa`` and ``paged|eager``, which build a mask over the whole batch, and flash attention,
which needs a package. This is the code path of its flash attention (``transformers.integrations.flash_paged``) over
``aten::_flash_attention_forward``. On a CPU the same function is computed sequence by sequence, to test what is around
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

TORCH_FLASH = "paged|torch_flash"
"""A name with "flash" in it: ``transformers`` then builds no mask and allows CUDA graphs."""
CHOICES = (TORCH_FLASH, "paged|sdpa", "paged|eager")
"""Fastest first; the first that passes ``check`` and answers is taken."""
TOLERANCE = 2e-2
"""Of the relative error in bfloat16 (two to three decimal digits); float32 lies far below."""
MAX_KEYS = 1 << 17
"""Given to the kernel as the longest sequence of keys. It takes each sequence's length from the cumulative ones; a
constant lets one CUDA graph serve all lengths."""


def varlen_causal(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, starts_q: torch.Tensor, starts_k: torch.Tensor,
    max_q: int, scale: float,
) -> torch.Tensor:  # fmt: skip
    """Causal attention over packed sequences, the last query of each aligned with its last key.

    Shapes: ``query`` [tokens, heads, head size], ``key`` and ``value`` [keys, KV heads, head size]; ``starts_*``
    int32 [sequences + 1], cumulative lengths. Returns the shape of ``query``.
    """
    if query.is_cuda:
        out: torch.Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, starts_q, starts_k, max_q, MAX_KEYS, 0.0, True, False, scale=scale
        )[0]
        return out
    return _by_sequence(query, key, value, starts_q.tolist(), starts_k.tolist(), scale)


def _by_sequence(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, starts_q: list[int], starts_k: list[int], scale: float
) -> torch.Tensor:
    out = torch.zeros_like(query)
    for n in range(len(starts_q) - 1):
        q, k = slice(starts_q[n], starts_q[n + 1]), slice(starts_k[n], starts_k[n + 1])
        rows, columns = q.stop - q.start, k.stop - k.start
        if not rows:
            continue
        mask = torch.ones(rows, columns, dtype=torch.bool, device=query.device).tril(columns - rows)
        heads = (each.transpose(0, 1)[None] for each in (query[q], key[k], value[k]))
        out[q] = scaled_dot_product_attention(*heads, attn_mask=mask, scale=scale, enable_gqa=True)[0].transpose(0, 1)
    return out


def paged_forward(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None,
    *, cache: Any, cu_seq_lens_q: torch.Tensor, cu_seq_lens_k: torch.Tensor, max_seqlen_q: int,
    read_index: list[torch.Tensor], write_index: list[torch.Tensor], **others: object,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """What ``transformers`` calls in each layer: new keys and values go into the cache, all are read from it."""
    keys, values = cache.update(
        key_states=key, value_states=value, layer_idx=module.layer_idx, read_index=read_index, write_index=write_index
    )
    packed = query.transpose(1, 2).squeeze(0).contiguous()
    return varlen_causal(packed, keys, values, cu_seq_lens_q, cu_seq_lens_k, max_seqlen_q, module.scaling), None


AttentionInterface.register(TORCH_FLASH, paged_forward)


def check(device: torch.device, dtype: torch.dtype) -> float:
    """Relative error against the same attention in float64 on the CPU, over random sequences: a prefill, a decoding
    step, a cached prefix with new tokens after it, and an empty sequence as padding makes them.

    Raises:
        ValueError: it is above ``TOLERANCE``, or not a number.
    """
    generator = torch.Generator().manual_seed(0)
    lengths_q, lengths_k = (70, 1, 40, 0), (70, 333, 200, 0)
    starts_q, starts_k = ([0, *torch.tensor(each).cumsum(0).tolist()] for each in (lengths_q, lengths_k))
    shapes = ((starts_q[-1], 8, 128), (starts_k[-1], 2, 128), (starts_k[-1], 2, 128))
    query, key, value = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    scale = 128**-0.5
    wanted = _by_sequence(query.double(), key.double(), value.double(), starts_q, starts_k, scale)
    cumulative = [torch.tensor(each, dtype=torch.int32, device=device) for each in (starts_q, starts_k)]
    got = varlen_causal(query.to(device), key.to(device), value.to(device), *cumulative, max(lengths_q), scale)
    error = float((got.double().cpu() - wanted).norm() / wanted.norm())
    if not error <= TOLERANCE:
        raise ValueError(f"attention differs from the reference by {error:.2e}, relative")
    return error
