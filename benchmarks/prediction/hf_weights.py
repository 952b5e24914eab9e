"""The default model's GGUF weights as a Hugging Face folder, which vLLM reads: de-quantized, float32.

Run with the peer's Python (``make test-peer`` sets it up): ``hf_weights.py MODEL.gguf FOLDER``. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    source = {"gguf_file": args.gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        args.gguf.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **source
    )
    model.save_pretrained(args.folder)
    AutoTokenizer.from_pretrained(args.gguf.parent, **source).save_pretrained(args.folder)


if __name__ == "__main__":
    main()
