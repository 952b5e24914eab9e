"""``charter calibrate``: a minute's probe of a target, so that ``compile`` predicts seconds too."""

from __future__ import annotations

import argparse
import json
import sys

from charter_compiler.api.calibration import CalibrationRequest, calibrate, calibration_path
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.predict.cost_model import Calibration


def run(args: argparse.Namespace) -> int:
    """Probe, keep, and show. Returns 0; raises what ``calibrate`` does."""
    calibration = calibrate(
        CalibrationRequest(args.target, TargetOptions(model=args.model, tokenizer=args.tokenizer), args.seconds),
        lambda step: print(f"charter: {step}", file=sys.stderr),
    )
    print(json.dumps(calibration.to_json(), indent=2) if args.json else summary(calibration))
    return 0


def summary(calibration: Calibration) -> str:
    """The costs in milliseconds, the check and its error, and where it is kept."""
    costs, check = calibration.costs, calibration.check
    context = costs.attention / 1e3
    lines = [
        f"{calibration.target} ({calibration.model}), {calibration.date}",
        f"  a prompt token         {costs.prefill_token / 1e6:8.3f} ms, and {context:.3f} ms for 1,000 before it",
        f"  an output token        {costs.decode_token / 1e6:8.3f} ms for each request that decodes",
        f"  an iteration           {costs.step / 1e6:8.3f} ms",
        f"  way there and back     {(costs.send + 2 * costs.transit) / 1e6:8.3f} ms",
        f"  check: {check.calls} calls predicted to take {check.predicted_s:.2f} s, took {check.measured_s:.2f} s: "
        f"error {check.error:+.0%}",
        f"  kept in {calibration_path(calibration.target, calibration.model)}",
    ]
    return "\n".join(lines)
