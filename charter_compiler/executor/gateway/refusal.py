"""What answers an agent's own client before the run can: nothing may wait for a gateway that is not there yet."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOO_EARLY = (
    "charter run: a model was asked while the agent's module was imported, before any item runs; "
    "make the call in the entry, or in a function that it calls"
)


class _Refusal(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"error": {"message": TOO_EARLY, "type": "invalid_request_error"}}).encode()
        self.send_response(400)  # a status that no client tries again
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _refuse  # noqa: N815  the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """The agent's client says it."""


@contextmanager
def refusing(listener: socket.socket) -> Iterator[None]:
    """While the context lasts, each request to ``listener`` has status 400 and ``TOO_EARLY``. The socket stays open."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusal, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="charter-refusal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
