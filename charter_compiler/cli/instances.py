"""``charter lambda``: GPU instances of Lambda's cloud, with a spending limit and an end."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from charter_compiler.deploy.lambda_api import BASE_URL, LambdaCloud
from charter_compiler.deploy.lambda_deadlines import Deadline, Deadlines, as_json
from charter_compiler.deploy.lambda_guard import enforce, guard, terminate
from charter_compiler.deploy.lambda_key import find_key
from charter_compiler.deploy.lambda_launch import Wish, launch, resolve, wait_until_up
from charter_compiler.deploy.lambda_types import Instance
from charter_compiler.diagnostics.errors import CharterError, ConfigError, UsageError
from charter_compiler.serve.discovery import is_loopback

API_URL = "CHARTER_LAMBDA_API_URL"


def run(args: argparse.Namespace) -> int:
    """One action. Returns 0; raises TargetError and UsageError."""
    url = api_url()
    deadlines = Deadlines()
    with LambdaCloud(find_key(), base_url=url) as cloud:
        if args.action == "types":
            return _types(args, cloud)
        if args.action == "guard":
            guard(cloud, deadlines, args.instance, _log)
            return 0
        if args.action != "terminate":
            _enforce(cloud, deadlines, url, may_go_on=args.action != "launch")
        if args.action == "launch":
            return _launch(args, cloud, deadlines, url)
        if args.action == "list":
            return _list(args, cloud, deadlines)
        if args.action == "wait":
            return _wait(args, cloud)
        return _terminate(args, cloud, deadlines)


def _enforce(cloud: LambdaCloud, deadlines: Deadlines, url: str, *, may_go_on: bool) -> None:
    try:
        lines = enforce(cloud, deadlines, url)
    except ConfigError as error:
        if not may_go_on:
            raise
        lines = [f"warning: ends are not known: {error}"]
    for line in lines:
        print(f"charter: {line}", file=sys.stderr)


def api_url() -> str:
    """Lambda's API, or what the environment names instead.

    Raises:
        UsageError: the key would leave this machine in clear.
    """
    url = os.environ.get(API_URL, BASE_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UsageError("the API's address is not https", place=API_URL, remedy="leave it out")
    return url


def _types(args: argparse.Namespace, cloud: LambdaCloud) -> int:
    found = [one for one in cloud.instance_types() if one.regions or not args.available]
    if args.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return 0
    costs = () if args.span is None else (f"$ for {args.span:g} h",)
    table = Table("type", "GPU", "GPUs", "$ an hour", *costs, "memory", "disk", "free in")
    for one in found:
        prices = [f"{one.usd_per_hour * span:.2f}" for span in (1.0, *([args.span] if costs else []))]
        sizes = (f"{one.memory_gib} GiB", f"{one.storage_gib} GiB")
        table.add_row(one.name, one.gpu, str(one.gpus), *prices, *sizes, ", ".join(one.regions) or "-")
    Console().print(table)
    return 0


def _launch(args: argparse.Namespace, cloud: LambdaCloud, deadlines: Deadlines, url: str) -> int:
    wish = Wish(
        type=args.type,
        hours=args.terminate_after,
        max_usd=args.max_usd,
        region=args.region,
        ssh_key=args.ssh_key,
        name=args.name,
        file_system=args.file_system,
        image_family=args.image_family,
        capacity_s=args.wait_for_capacity,
    )
    deadline = launch(cloud, deadlines, wish, url, _say)
    print(deadline.id)
    _say(f"launched {deadline.name}; this machine (process {deadline.guard}) terminates it at {_time(deadline)}")
    _say(f"next: charter lambda wait {deadline.id}")
    return 0


def _list(args: argparse.Namespace, cloud: LambdaCloud, deadlines: Deadlines) -> int:
    found = cloud.instances()
    try:
        ends, otherwise = {one.id: one for one in deadlines.all()}, "never: charter lambda terminate"
    except ConfigError:
        ends, otherwise = {}, "not known"  # which was said before
    if args.json:
        print(json.dumps([{**asdict(one), "deadline": as_json(ends.get(one.id))} for one in found], indent=2))
        return 0
    table = Table("id", "name", "type", "region", "status", "address", "$ an hour", "ends")
    for one in found:
        end = _time(ends[one.id]) if one.id in ends else otherwise
        price = f"{one.type.usd_per_hour:.2f}"
        table.add_row(one.id, one.name or "", one.type.name, one.region, one.status, one.ip or "", price, end)
    Console(width=200 if not sys.stdout.isatty() else None).print(table)
    return 0


def _wait(args: argparse.Namespace, cloud: LambdaCloud) -> int:
    (instance,) = resolve(cloud.instances(), [args.instance])
    up = wait_until_up(cloud, instance.id, args.timeout, _say)
    print(up.ip)
    _say(f"next: ssh ubuntu@{up.ip}, set the server up; then scripts/lambda_tunnel.sh start --host {up.ip}")
    return 0


def _terminate(args: argparse.Namespace, cloud: LambdaCloud, deadlines: Deadlines) -> int:
    if bool(args.instances) == args.all:
        raise UsageError("name the instances, or give --all", remedy="charter lambda list shows them")
    found = cloud.instances()
    chosen: tuple[Instance, ...] = (
        tuple(one for one in found if one.billed) if args.all else resolve(found, args.instances)
    )
    failed: CharterError | None = None
    for one in chosen:  # all of them, whatever becomes of one: each bills
        try:
            terminate(cloud, one.id, cloud.account)
            print(f"terminated {one.name or ''} {one.id}".replace("  ", " "))
            deadlines.remove(one.id)
        except CharterError as error:
            _say(f"{one.name or one.id}: {error}")
            failed = failed or error
    left = [one for one in cloud.instances() if one.billed]
    _say(f"{len(left)} instances go on billing" if left else "no instance bills any more")
    return 0 if failed is None else failed.exit_code


def _time(deadline: Deadline) -> str:
    left = deadline.at - time.time()
    at = datetime.fromtimestamp(deadline.at, UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC (in {left / 3600:.1f} h)"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _log(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}", flush=True)
