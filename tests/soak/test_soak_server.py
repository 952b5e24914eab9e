"""Hundreds of requests, some of them cancelled, and repeated starts: the real server is as it was before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_processes import group, shared_memory_prefix
from server_requests import Response, Stream, ask, inputs, long_prompt, metric, wait_until

from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.serve.supervisor import SHARED_MEMORY

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(1800)]

REQUESTS = 300
AT_ONCE = 12
STARTS = 10
SEED = 20261123
TOPICS = ("rivers", "bridges", "clocks", "maps", "engines")
# Small enough that requests wait for blocks and that cached blocks and sequences are evicted all the time.
# One request can have them all: a block that leaked would be missed.
ENGINE = EngineConfig(capacity_blocks=32, tokens_per_block=16, max_context=512, max_running=6, max_sequences=16)


@pytest.fixture(scope="module")
def server(model_path: Path) -> Iterator[ServerHandle]:
    with start_server(ServerOptions(model_path, "soak", engine=ENGINE)) as handle:
        yield handle


def prompt(choice: random.Random) -> str:
    """One of five shared beginnings, cut at one of three places, and an end of its own."""
    topic = choice.choice(TOPICS)
    sentences = [f"Sentence {number} of the long text about {topic} says little. " for number in range(9)]
    return "".join(sentences[: choice.choice((3, 6, 9))]) + f"Question {choice.randrange(10**6)}:"


def one_request(url: str, seed: int) -> bool:
    """Whether it was cancelled, before its first token or after some."""
    choice = random.Random(seed)
    text, tokens = prompt(choice), choice.randint(1, 12)
    if choice.random() < 0.7:
        answers = ask(url, text_input=text, max_tokens=tokens, end_id=-1, stream=True)
        assert sum(answer.outputs["num_output_tokens"][0] for answer in answers) == tokens
        return False
    stream = Stream(url, inputs(text_input=text, max_tokens=150, end_id=-1, stream=True), request_id=f"soak-{seed}")
    for _ in range(choice.randint(0, 4)):
        stream.next()
    stream.close(cancel=True)
    return True


def blocks(server: ServerHandle, kind: str) -> float:
    return metric(server, "nv_trt_llm_kv_cache_block_metrics", kv_cache_block_type=kind)


def requests(server: ServerHandle, kind: str) -> float:
    return metric(server, "nv_trt_llm_request_metrics", request_type=kind)


def reused(responses: list[Response]) -> int:
    return int(responses[-1].outputs["kv_cache_reused_blocks"][0])


def test_nothing_is_left_of_many_requests(server: ServerHandle, figures: dict[str, float]) -> None:
    url = server.grpc_url
    with ThreadPoolExecutor(AT_ONCE) as pool:
        cancelled = list(pool.map(lambda number: one_request(url, SEED + number), range(REQUESTS)))
    figures.update(requests=REQUESTS, cancelled=sum(cancelled))
    assert REQUESTS / 10 < sum(cancelled) < REQUESTS / 2

    wait_until(lambda: requests(server, "active") == 0)
    assert requests(server, "scheduled") == 0
    assert requests(server, "waiting") == 0
    wait_until(lambda: blocks(server, "used") == 0)
    figures.update(used_blocks_after=blocks(server, "used"), free_blocks_after=blocks(server, "free"))
    assert blocks(server, "free") == blocks(server, "max") == ENGINE.capacity_blocks

    # A block or a sequence that leaked would be missed here: a request that needs every block, ...
    output = 32
    filling = ask(url, text_input=long_prompt(ENGINE.max_context - output), max_tokens=output, end_id=-1, stream=True)
    assert sum(answer.outputs["num_output_tokens"][0] for answer in filling) == output
    # ... and more requests at once than there are sequences.
    streams = [
        Stream(url, inputs(text_input=f"{number} clocks", max_tokens=8, end_id=-1, stream=True))
        for number in range(ENGINE.max_sequences + 4)
    ]
    counts = [sum(answer.outputs["num_output_tokens"][0] for answer in stream.all()) for stream in streams]
    assert counts == [8] * len(streams)
    # The cache still works.
    text = "".join(f"Line {number} of a text to be kept. " for number in range(12))
    first, second = (ask(url, text_input=text, max_tokens=1, stream=True) for _ in range(2))
    assert reused(first) == 0
    assert reused(second) > 0


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_starts_and_stops_leave_nothing(model_path: Path, figures: dict[str, float]) -> None:
    descriptors = []
    for number in range(STARTS):
        with start_server(ServerOptions(model_path, "soak", engine=ENGINE)) as server:
            stream = Stream(server.grpc_url, inputs(text_input="Once", max_tokens=400, end_id=-1, stream=True))
            stream.next()
            own_memory = f"{shared_memory_prefix(server.pid)}*"
            assert list(SHARED_MEMORY.glob(own_memory))
            if number % 2:  # the other times it is stopped while it answers
                stream.close(cancel=True)
        stream.close()
        assert group(server.pid) == []
        assert list(SHARED_MEMORY.glob(own_memory)) == []
        assert not server.log_path.parent.exists()
        descriptors.append(open_descriptors())
    figures.update(starts=STARTS, descriptors_first=descriptors[0], descriptors_last=descriptors[-1])
    # gRPC keeps a few for itself, but not some more for each server.
    assert descriptors[-1] - descriptors[0] < STARTS - 1
