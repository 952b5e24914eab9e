"""Options of ``charter doctor``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything is looked at without the network; starting the server is asked for."""
    parser.add_argument("--start", action="store_true", help="also start the embedded server and stop it again")
