#!/usr/bin/env python3
"""Acceptance tests of a deployment: a GPU instance behind scripts/lambda_tunnel.sh, or the embedded server.

    scripts/run_lambda_tests.py                              # against configs/lambda_labs.yaml
    charter serve & scripts/run_lambda_tests.py --wait 60    # the same, without a GPU

Exits with 0 if every case passed, 1 if one did not, 2 if the command line is wrong.
"""

import sys
from pathlib import Path

from charter_compiler.deploy.commands import run_tests

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "lambda_labs.yaml"

if __name__ == "__main__":
    sys.exit(run_tests(sys.argv[1:], CONFIG))
