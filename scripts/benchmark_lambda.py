#!/usr/bin/env python3
"""Benchmarks of a deployment: --benchmark cache|batch|prefix|all --iterations N; text, JSON and HTML with plots.

scripts/benchmark_lambda.py --benchmark all --iterations 5
charter serve & scripts/benchmark_lambda.py --benchmark prefix --wait 60    # the same, without a GPU
"""

import sys
from pathlib import Path

from charter_compiler.deploy.commands import run_benchmarks

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "lambda_labs.yaml"

if __name__ == "__main__":
    sys.exit(run_benchmarks(sys.argv[1:], CONFIG))
