"""``transformers``' continuous batching as an engine: paged KV cache, prefix sharing, cached tokens told for each call.

Three things are changed in the running objects, none on disk: calls of the prefix search are listened to, since the
library tells nobody what it found; CUDA graphs are kept to small batches; and size, sharing and eviction of the cache
can be changed between runs while nothing is computed. Written for transformers 5.17.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from attention import CHOICES, TORCH_FLASH, check
from transformers import GenerationConfig, LlamaForCausalLM
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache_manager import BlockManager

IDLE_LIMIT = 60.0
"""Seconds that ``reset`` waits for running requests."""
CALL_LIMIT = 120.0
"""Seconds for one request; a guard."""


class EngineError(RuntimeError):
    """The engine does not answer."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Tokens a KV block, blocks in memory, tokens computed in one step, requests in one step. ``graph_tokens``: batches
    of so many tokens at most run as CUDA graphs, 0 for none; ``graph_keys``: graphs are made at the start for batches
    that read up to so many tokens of the cache."""

    block_size: int = 32
    blocks: int = 4096
    batch_tokens: int = 8448
    batch_requests: int = 64
    graph_tokens: int = 512
    graph_keys: int = 65_536
    attention: str = "auto"

    QUERY_STEP = 64
    KEY_STEP = 8192


@dataclass(slots=True)
class Call:
    """One request as the engine saw it; ``time.perf_counter`` seconds. ``restarts``: how often it lost its blocks to
    others and began anew."""

    arrived: float
    prompt_tokens: int
    cached_tokens: int = 0
    output_tokens: int = 0
    first: float | None = None
    finished: float | None = None
    restarts: int = 0
    label: str = "call"


class LruBlocks(BlockManager):
    """Blocks in vLLM's order: the longest unused go first, of a sequence the last first. The library's own takes the
    most recently freed."""

    def free_blocks(self, blocks: list[int], shareable: bool) -> None:
        super().free_blocks(blocks[::-1], shareable)

    def has_enough_free_blocks(self, n_blocks: int) -> bool:
        missing = n_blocks - len(self._uninit_block_ids)
        if missing > len(self._init_block_ids):
            return False
        for _ in range(missing):
            block_id = next(iter(self._init_block_ids))
            del self._init_block_ids[block_id]
            self._hash_to_id.pop(self._id_to_block[block_id].hash)
            self._uninit_block_ids.append(block_id)
        return True


EVICTIONS = {"transformers": BlockManager, "lru": LruBlocks}


class PagedEngine:
    """One model on one device. ``attention`` and ``graphs`` are what was chosen, ``refused`` what was tried before."""

    def __init__(self, model: LlamaForCausalLM, settings: EngineSettings) -> None:
        self._model = model
        self.settings = settings
        self._numbers = itertools.count()
        self._running: dict[str, Call] = {}
        self._manager: Any = None
        self._processor: Any = None
        self._cache: Any = None
        self.attention = ""
        self.attention_error: float | None = None
        self.graphs = 0
        self.refused: dict[str, str] = {}
        self._choose()

    def facts(self) -> dict[str, Any]:
        """For the head of the raw data."""
        return {
            "settings": asdict(self.settings), "attention": self.attention, "attention_error": self.attention_error,
            "cuda_graphs": self.graphs, "refused": self.refused,
        }  # fmt: skip

    def _choose(self) -> None:
        """The first attention, with graphs and without, that answers a request."""
        asked = self.settings.attention
        for name in CHOICES if asked == "auto" else (asked,):
            graphs = (True, False) if self._may_have_graphs(name) else (False,)
            for with_graphs in graphs:
                try:
                    self.attention_error = check(self._model.device, self._model.dtype) if name == TORCH_FLASH else None
                    self._open(name, with_graphs=with_graphs)
                except Exception as error:  # noqa: BLE001, whatever it is, the next may work; it is written down
                    label = f"{name}, {'with' if with_graphs else 'without'} graphs"
                    self.refused[label] = f"{type(error).__name__}: {error}"[:500]
                    print("refused:", label, self.refused[label], flush=True)
                    self._forget()
                    continue
                return
        raise EngineError(f"no attention works here: {self.refused}")

    def _may_have_graphs(self, name: str) -> bool:
        return self._model.device.type == "cuda" and self.settings.graph_tokens > 0 and "flash" in name

    def _forget(self) -> None:
        """Give the memory of an engine that does not work back."""
        self._manager = self._processor = self._cache = None
        gc.collect()
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.no_grad()
    def _open(self, attention: str, *, with_graphs: bool) -> None:
        model, settings = self._model, self.settings
        model.config._attn_implementation = attention
        config = ContinuousBatchingConfig(
            block_size=settings.block_size,
            num_blocks=settings.blocks,
            max_batch_tokens=settings.batch_tokens,
            max_requests_per_batch=settings.batch_requests,
            max_blocks_per_request=0,
            use_async_batching=False,
            use_cuda_graph=(with_graphs, False),
            q_padding_interval_size=settings.QUERY_STEP,
            kv_padding_interval_size=settings.KEY_STEP,
        )
        generation = GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=16)
        self._manager = model.init_continuous_batching(generation_config=generation, continuous_batching_config=config)
        self._processor = self._manager._create_batch_processor()
        self._manager.batch_processor = self._processor
        self._cache = self._processor.cache
        self._listen()
        self.attention, self.graphs = attention, 0
        if with_graphs:
            self._graphs_for_small_batches()
        self._manager.start()
        self._first_answer()

    def _listen(self) -> None:
        """Note what the prefix search finds. It may be repeated while a request waits: the last one counts."""
        search: Callable[[str, list[int]], int] = self._cache.search_prefix_match

        def noted(request_id: str, prompt_ids: list[int]) -> int:
            found = search(request_id, prompt_ids)
            call = self._running.get(request_id)
            if call is not None and call.first is None and len(prompt_ids) == call.prompt_tokens:
                # One token is always computed, also where all of the prompt is found.
                call.cached_tokens = min(found, call.prompt_tokens - 1)
            elif call is not None:
                call.restarts += 1
            return found

        self._cache.search_prefix_match = noted

    def _graphs_for_small_batches(self) -> None:
        """A graph is kept for each size of batch. Sizes of prefills hardly repeat, and theirs is not the time of
        launching kernels: they run without, unpadded, as in vLLM."""
        runner, io, limit = self._processor.model_runner, self._processor.inputs_and_outputs, self.settings.graph_tokens
        pad, function = runner.maybe_pad_inputs, runner._get_forward_fn

        def padded(num_q_tokens: int, max_kv_read: int, use_decode_fast_path: bool) -> tuple[int, int]:
            if num_q_tokens > limit:
                return num_q_tokens, max_kv_read
            sizes: tuple[int, int] = pad(num_q_tokens, max_kv_read, use_decode_fast_path)
            return sizes

        def chosen(use_block_table: bool) -> tuple[Callable[..., None], bool]:
            forward, graph = function(use_block_table=use_block_table)
            return forward, graph and io.num_q_tokens <= limit

        runner.maybe_pad_inputs, runner._get_forward_fn = padded, chosen
        io._get_graph_key = lambda: (io.num_q_tokens, io.max_kv_read)  # `attention` needs no longest sequence
        settings = self.settings
        sizes = [
            (queries, keys)
            for keys in range(settings.KEY_STEP, min(settings.graph_keys, settings.blocks * settings.block_size) + 1,
                              settings.KEY_STEP)
            for queries in range(settings.QUERY_STEP, limit + 1, settings.QUERY_STEP)
        ]  # fmt: skip
        for queries, keys in reversed(sizes):  # the largest first, so that the others' memory fits into its pool
            runner.run_one_warmup(self._model, queries, keys - queries)
        torch.cuda.synchronize()
        self.graphs = len(io.graphs._storage)
        if self.graphs < len(sizes):
            raise EngineError(f"{self.graphs} of {len(sizes)} graphs could be made")

    def _first_answer(self) -> None:
        """One request, to see that it works. Too long a wait or a failure ends this engine."""
        prompt = list(range(100, 100 + 3 * self.settings.block_size))
        self._manager.add_request(prompt, max_new_tokens=3)
        output = self._manager.get_result(timeout=CALL_LIMIT)
        if output is None or output.error is not None or len(output.generated_tokens) != 3:
            self._manager.stop(block=True, timeout=10, hard_stop=True)
            raise EngineError(
                f"no answer: {output.error if output else self._manager.background_thread_status.fatal_error}"
            )

    async def reset(self, blocks: int | None = None, *, sharing: bool = True, eviction: str = "transformers") -> None:
        """Empty the cache, once nothing runs, and give it that size; an engine that has died is made anew."""
        settings = self.settings
        if not self._manager.is_running() or self._manager.background_thread_status.fatal_error is not None:
            await asyncio.to_thread(self._open, self.attention, with_graphs=self.graphs > 0)
        deadline = time.monotonic() + IDLE_LIMIT
        while self._processor.has_pending_requests() or self._running:
            if time.monotonic() > deadline:
                raise EngineError(f"{len(self._running)} requests still run after {IDLE_LIMIT:.0f} s")
            await asyncio.sleep(0.005)
        size = settings.blocks if blocks is None else blocks
        if not 0 < size <= settings.blocks:
            raise ValueError(f"blocks is {size}, there are {settings.blocks}")
        cache = self._cache
        for allocator in cache.group_cache_managers:
            allocator.block_table.clear()
        cache._block_manager = EVICTIONS[eviction](size, settings.block_size, tp_on=False)
        cache.num_blocks, cache.num_pages = size, size * settings.block_size
        cache.use_prefix_sharing = cache.allow_block_sharing = sharing

    @property
    def blocks(self) -> int:
        """Blocks that the cache has now."""
        return int(self._cache.num_blocks)

    @property
    def sharing(self) -> bool:
        return bool(self._cache.use_prefix_sharing)

    async def generate(self, ids: list[int], max_tokens: int, call: Call) -> AsyncIterator[list[int]]:
        """New tokens, as they come; ``call`` is filled in. Closing the iterator cancels the request.

        Raises:
            EngineError: the prompt and its answer do not fit into the cache, or the engine fails.
        """
        if len(ids) + max_tokens > self.blocks * self.settings.block_size:
            raise EngineError(f"the model's maximum context length is {self.blocks * self.settings.block_size} tokens")
        name = f"call-{next(self._numbers)}"
        outputs: asyncio.Queue[Any] = asyncio.Queue()
        self._running[name] = call
        given, done = 0, False
        try:
            self._manager.register_result_handler(name, outputs.put_nowait)
            added = self._manager.add_request(
                ids, request_id=name, max_new_tokens=max_tokens, streaming=True, record_timestamps=True, eos_token_id=-1
            )
            if added is None:
                raise EngineError("the engine has ended")
            while not done:
                output = await asyncio.wait_for(outputs.get(), CALL_LIMIT)
                done = output.is_finished()
                if output.error is not None:
                    raise EngineError(output.error)
                if call.first is None and output.generated_tokens:
                    call.first = output.timestamps[0] if output.timestamps else time.perf_counter()
                tokens = output.generated_tokens[given:]
                given += len(tokens)
                call.output_tokens = given
                if done:
                    call.finished = output.timestamps[-1] if output.timestamps else time.perf_counter()
                yield tokens
        finally:
            del self._running[name]
            if not done:
                self._manager.cancel_request(name)
