"""What a run is unless it is told otherwise. Imported by the command line, which must be there at once: nothing that is
slow to import stands here."""

from __future__ import annotations

LOCAL = "local"
"""The target where none is named: the embedded server."""
KNOWN_TARGETS = "local, triton://host:port/model, openai://host:port/v1?model=NAME, openais://... or sim"
CALL_TIMEOUT = 600.0
"""Seconds for one call. Long, since calls wait in the server's queue while others are computed."""
DEFAULT_CONCURRENCY = 16
"""Items in flight at each endpoint."""
