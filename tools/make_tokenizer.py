"""Make the tokenizer that ships in the package from the default model's weights: `python tools/make_tokenizer.py`.

Reads the GGUF file that `charter models fetch` put in place (or the one given) and writes
`charter_compiler/tokens/data/`. The result depends on that file alone.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

from charter_compiler.tokens.gguf import GGUFMetadata
from charter_compiler.tokens.gguf_tokenizer import tokenizer_config, tokenizer_json
from charter_compiler.tokens.models import find_model

DATA = Path(__file__).parent.parent / "charter_compiler" / "tokens" / "data"


def main(arguments: list[str]) -> None:
    metadata = GGUFMetadata(find_model(*arguments))
    text = json.dumps(tokenizer_json(metadata), ensure_ascii=False, separators=(",", ":"))
    packed = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
    (DATA / "smollm2-tokenizer.json.xz").write_bytes(packed)
    config = json.dumps(tokenizer_config(metadata), ensure_ascii=False, indent=2) + "\n"
    (DATA / "smollm2-tokenizer_config.json").write_text(config, encoding="utf-8")
    print(f"{len(packed)} bytes in {DATA}")


if __name__ == "__main__":
    main(sys.argv[1:])
