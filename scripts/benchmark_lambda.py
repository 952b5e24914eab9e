#!/usr/bin/env python3
"""Benchmarks of a deployment: --benchmark cache|batch|prefix|all --iterations N; text, JSON and HTML with plots.

scripts/benchmark_lambda.py --benchmark all --iterations 5
charter serve & scripts/benchmark_lambda.py --benchmark prefix    # the same, without a GPU
"""

import sys

from charter_compiler.deploy.commands import run_benchmarks

if __name__ == "__main__":
    sys.exit(run_benchmarks(sys.argv[1:]))
