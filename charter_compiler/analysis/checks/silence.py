"""Comments that silence findings."""

from __future__ import annotations

import io
import re
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field

_COMMENT = re.compile(r"#\s*charter:\s*(?P<what>ignore(?:-file)?)\[(?P<codes>[A-Z0-9,\s]+)\]")


@dataclass(frozen=True, slots=True)
class Silence:
    """What a file silences: codes by line, and in the whole file."""

    lines: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    file: set[str] = field(default_factory=set)

    def covers(self, code: str, *lines: int) -> bool:
        """Whether a finding on one of these lines is silenced."""
        return code in self.file or any(code in self.lines.get(line, ()) for line in lines)


def silence_of(source: str) -> Silence:
    """The comments ``# charter: ignore[CH101]`` and ``# charter: ignore-file[CH101, CH102]`` of a text."""
    silence = Silence()
    if _COMMENT.search(source) is None:
        return silence
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type != tokenize.COMMENT:
                continue
            for match in _COMMENT.finditer(token.string):
                codes = {code.strip() for code in match["codes"].split(",")}
                (silence.file if match["what"] == "ignore-file" else silence.lines[token.start[0]]).update(codes)
    except (tokenize.TokenError, SyntaxError):  # a notebook: what was read until there counts
        pass
    return silence
