"""A real HTTP server in this process that speaks the OpenAI protocol and does what a test tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], str] | Iterable[bytes]
"""Status, headers and body; or the pieces of a stream of events, each sent at once."""


def event(document: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def completion(*texts: str, usage: dict[str, Any] | None = None, finish: str = "length") -> list[bytes]:
    """A streamed completion, as vLLM sends it."""
    pieces = [event({"choices": [{"index": 0, "text": text, "finish_reason": None}]}) for text in texts]
    pieces.append(event({"choices": [{"index": 0, "text": "", "finish_reason": finish}]}))
    if usage is not None:
        pieces.append(event({"choices": [], "usage": usage}))
    return [*pieces, DONE]


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that break connections are what the tests are about; the standard answer prints a traceback."""


class ScriptedOpenAI:
    """``requests`` holds path, headers and JSON of each POST. ``gone`` is released when a client left in mid-stream. A
    reply that raises ``ConnectionError`` breaks the connection there."""

    def __init__(
        self, reply: Callable[[dict[str, Any]], Reply], models: Any = None, metrics: str | None = "a 1\n"
    ) -> None:
        self.reply = reply
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.gone = threading.Semaphore(0)
        self.stopping = threading.Event()
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = {"/v1/models": models, "/metrics": metrics}.get(self.path)
                text = known if isinstance(known, str) else json.dumps(known)
                self._send(404 if known is None else 200, {}, text)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                scripted.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                reply = scripted.reply(body)
                if isinstance(reply, tuple):
                    self._send(*reply)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    for piece in reply:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except ConnectionError:
                    self.close_connection = True
                    scripted.gone.release()

            def _send(self, status: int, headers: dict[str, str], text: str) -> None:
                data = text.encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: Any) -> None:
                """Tests are quiet."""

        self._http = QuietServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def target(self) -> str:
        return f"openai://127.0.0.1:{self._http.server_port}/v1?model=tiny"

    def endless(self, first: bytes, rest: bytes = b": still here\n\n") -> Iterable[bytes]:
        """A piece, then comments that no client sees, until it leaves or the test ends."""
        yield first
        while not self.stopping.wait(0.02):
            yield rest

    def stop(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
