"""Token ids to token ids: TensorRT-LLM's `tensorrt_llm`, over the embedded engine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from charter_compiler.cache.event_log import EventLog
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.llama_runner import LlamaRunner
from charter_compiler.serve.engine.thread import Engine
from charter_compiler.serve.model_repository.backend import FINAL, error_response, inputs_of, parameters, response
from charter_compiler.serve.model_repository.dispatcher import Dispatcher
from charter_compiler.serve.model_repository.inputs import is_streaming, read_generations
from charter_compiler.serve.model_repository.kv_report import REPORT, Outcomes, answer_query
from charter_compiler.serve.model_repository.metrics import EngineMetrics
from charter_compiler.serve.options import engine_config
from charter_compiler.tokens.tokenizer import load_tokenizer


class TritonSender:
    """``dispatcher.Sender`` over Triton's response sender."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender

    def send(self, tensors: Mapping[str, NDArray[Any]], *, final: bool) -> None:
        self._sender.send(response(tensors), flags=FINAL if final else 0)

    def fail(self, message: str, *, cancelled: bool = False) -> None:
        self._sender.send(error_response(message, cancelled=cancelled), flags=FINAL)

    def is_cancelled(self) -> bool:
        answer: bool = self._sender.is_cancelled()
        return answer


class TritonPythonModel:
    """Decoupled: ``execute`` only hands the requests on, so that any number of them run at once."""

    def initialize(self, args: dict[str, str]) -> None:
        values = parameters(args)
        tokenizer = load_tokenizer(values["tokenizer_dir"])
        self._exclude_input = values["exclude_input_in_output"] == "true"
        config = engine_config(values)
        runner = LlamaRunner(Path(values["gpt_model_path"]), config, int(values["charter_threads"]))
        self._runner = runner
        self._events = EventLog()
        self._outcomes = Outcomes()
        self._engine = Engine(EngineCore(config, runner, time.monotonic_ns, self._events.add))
        self._engine.start()
        self._metrics = EngineMetrics(args["model_name"], args["model_version"])
        self._update_metrics()
        self._dispatcher = Dispatcher(
            self._engine,
            tokenizer.token_bytes,
            check_period=int(values["cancellation_check_period_ms"]) / 1000,
            report=self._update_metrics,
            outcomes=self._outcomes,
        )

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            tensors = inputs_of(request)
            if "stop" in tensors and tensors["stop"].any():
                self._dispatcher.stop(request.request_id())
                sender.send(flags=FINAL)
                continue
            try:
                extra = json.loads(request.parameters() or "{}")
                if (said := answer_query(extra, self._events, self._outcomes)) is not None:
                    sender.send(response({REPORT: said}), flags=FINAL)
                    continue
                generations = read_generations(tensors, exclude_input=self._exclude_input, parameters=extra)
                streaming = is_streaming(tensors)
            except RequestRejectedError as error:
                sender.send(error_response(str(error)), flags=FINAL)
                continue
            self._dispatcher.submit(request.request_id(), TritonSender(sender), generations, streaming=streaming)

    def finalize(self) -> None:
        self._dispatcher.close()
        self._engine.stop()
        self._runner.close()
        self._metrics.close()

    def _update_metrics(self) -> None:
        self._metrics.update(self._engine.stats())
