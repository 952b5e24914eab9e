"""The acceptance tests and the benchmarks of a deployment, on an embedded server started for them: the figures that can
be had without a GPU. Settings are those of `configs/lambda_labs.yaml`, made smaller for a CPU.

    python benchmarks/deployment/embedded.py -o benchmarks/deployment
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from charter_compiler.deploy.commands import run_benchmarks, run_tests
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model

ROOT = Path(__file__).parents[2]
SMALLER = (
    "tests.sequential_chain={items: 2, max_tokens: 16, text_characters: 600}",
    "tests.delta_matching={items: 4, max_tokens: 16}",
    "tests.prepopulation={prefix_words: 300, calls: 4, max_tokens: 4}",
    "benchmarks.cache={items: 2, max_tokens: 16, text_characters: 600}",
    "benchmarks.batch={sizes: [1, 2, 4], rounds: 2, prefix_words: 200, max_tokens: 16}",
    "benchmarks.prefix={words: [50, 100, 200, 400], max_tokens: 4}",
)


def main() -> int:
    """Exit code of the tests, or of the benchmarks if that is another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--iterations", default="2", metavar="N")
    args = parser.parse_args()
    settings = ["--config", str(ROOT / "configs" / "lambda_labs.yaml")]
    settings += [word for change in SMALLER for word in ("--set", change)]
    with start_server(ServerOptions(model_path=find_model(), model_name=DEFAULT_MODEL.name)) as server:
        settings += ["--url", server.grpc_url]
        tests = run_tests([*settings, "--json", str(args.output / "tests.json")])
        benchmarks = run_benchmarks([*settings, "--iterations", args.iterations, "-o", str(args.output / "embedded")])
    return tests or benchmarks


if __name__ == "__main__":
    sys.exit(main())
