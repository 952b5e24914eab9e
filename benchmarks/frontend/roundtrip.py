"""Source rewriting of unchanged code is the identity: every Python file below the folders given.

Of each file: LibCST prints what it parsed; every string literal is cut into characters with their places, which put
together again are its text, and which stand for what Python reads; and no layout leaves the file as it is.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from pathlib import Path

from charter_compiler.diagnostics.errors import SourceError
from charter_compiler.passes.literals import Literal, literals_of
from charter_compiler.passes.source_layout import rewrite_source


def check(text: str, file: str) -> int:
    """The number of literals checked. Raises AssertionError where something is not the same."""
    literals = literals_of(text, file)
    assert rewrite_source(text, file, ()).after == text, "changed without a layout"
    for literal in literals:
        for pieces in (literal.pieces, literal.template):
            position = literal.start
            for piece in pieces:
                assert position <= piece.start, "pieces overlap"
                position = piece.end
            assert position <= literal.end, "a piece ends behind its literal"
        if not any(part.formatted for part in literal.parts):
            found = "".join(piece.text or "" for piece in literal.pieces)
            assert found == value_of(text, literal), f"another value at {literal.span}"
    return len(literals)


def value_of(text: str, literal: Literal) -> object:
    return ast.literal_eval("(" + text[literal.start : literal.end] + ")")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="checkouts, named owner+name")
    parser.add_argument("-o", "--output", required=True, type=Path)
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as out:
        for folder in args.folders:
            start, files, literals, unread, wrong = time.perf_counter(), 0, 0, [], []
            for path in sorted(folder.rglob("*.py")):
                name = path.relative_to(folder).as_posix()
                try:
                    text = path.read_bytes().decode("utf-8")
                    literals += check(text, name)
                    files += 1
                except (SourceError, UnicodeDecodeError) as error:
                    unread.append(f"{name}: {error}")
                except AssertionError as error:
                    wrong.append(f"{name}: {error}")
            line = {
                "repository": folder.name.replace("+", "/"),
                "files": files,
                "literals": literals,
                "changed": wrong,
                "not_parsed": unread,
                "seconds": round(time.perf_counter() - start, 1),
            }
            print(json.dumps(line), flush=True)
            out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
