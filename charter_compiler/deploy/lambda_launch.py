"""A launch that cannot cost more than was allowed, and is not made twice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from charter_compiler.deploy.lambda_api import LambdaCloud
from charter_compiler.deploy.lambda_deadlines import Deadline, Deadlines
from charter_compiler.deploy.lambda_guard import SOUGHT, launched, start_guard
from charter_compiler.deploy.lambda_types import ACTIVE, BOOTING, Instance, InstanceType, LaunchRequest
from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    NoCapacityError,
    RequestRejectedError,
    SpendingLimitError,
    TargetError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
    UsageError,
)

CAPACITY_PAUSE = 15.0
"""Seconds between two looks for capacity; launches are limited to one in 12 seconds."""
POLL = 10.0
"""Seconds between two questions whether an instance is up; there is no event to wait for."""
LOOKS = 3
"""How often a launch without an answer is looked for, with ``POLL`` between; its guard goes on after that."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to launch. ``region`` ``None``: any that has room; ``ssh_key`` ``None``: the account's only one. ``hours``
    until it is terminated, ``max_usd`` for all that runs until then, ``capacity_s`` seconds to wait for room."""

    type: str
    hours: float
    max_usd: float
    region: str | None = None
    ssh_key: str | None = None
    name: str | None = None
    file_system: str | None = None
    image_family: str | None = None
    capacity_s: float = 0.0


def launch(cloud: LambdaCloud, deadlines: Deadlines, wish: Wish, api_url: str, say: Say) -> Deadline:
    """Check the price, set deadline and guard, and launch.

    Raises:
        UsageError: there is no such type, key or file system, or the name is in use.
        SpendingLimitError: it may cost more than ``max_usd``.
        NoCapacityError: no region has room, or not the one that was asked for.
        TargetError: the API failed; what was launched all the same is under guard.
    """
    ssh_key = _one_of(cloud.ssh_keys(), wish.ssh_key, "SSH key", "--ssh-key")
    if wish.file_system is not None:
        wish = _where_the_files_are(cloud, wish)
    running = cloud.instances()
    check_spending(_type(cloud.instance_types(), wish.type), wish, running, say)
    name = wish.name or f"charter-{uuid.uuid4().hex[:8]}"
    if any(one.billed and one.name == name for one in running) or any(
        one.name == name and one.id is None and one.account == cloud.account for one in deadlines.all()
    ):
        raise UsageError(f"an instance '{name}' runs or is launched already", remedy="give another --name")
    request = LaunchRequest("", wish.type, ssh_key, name, wish.file_system, wish.image_family)
    now = time.time()
    intent = Deadline(
        None, name, now + 3600 * wish.hours, api_url, account=cloud.account, key=f"launch-{uuid.uuid4().hex[:12]}",
        type=wish.type, ssh_key=ssh_key, sent=now,
    )  # fmt: skip
    deadlines.set(intent)  # before anything is launched: were this process killed, the next command would start a guard
    intent = start_guard(deadlines, intent)
    try:
        found = _launch_somewhere(cloud, deadlines, intent, request, wish, say)
    except (UsageError, RequestRejectedError, AuthenticationError, TargetOverloadedError):
        deadlines.remove(intent.handle)  # nothing was launched; after any other error that is not known
        raise
    return deadlines.update(intent.handle, id=found) or replace(intent, id=found)


def _where_the_files_are(cloud: LambdaCloud, wish: Wish) -> Wish:
    """The wish with the region of its file system, which can be mounted there alone."""
    regions = {one.name: one.region for one in cloud.file_systems()}
    region = regions[_one_of(tuple(regions), wish.file_system, "file system", "--file-system")]
    if wish.region not in (None, region):
        raise UsageError(
            f"the file system {wish.file_system} is in {region}, not in {wish.region}",
            remedy=f"give --region {region}, or leave it out",
        )
    return replace(wish, region=region)


def check_spending(kind: InstanceType, wish: Wish, running: tuple[Instance, ...], say: Say) -> None:
    """The most that the new instance and all that run already can cost until the new one is terminated, by the API's
    own prices.

    Raises:
        SpendingLimitError: that is more than was allowed.
    """
    others = sum(one.type.usd_per_hour for one in running if one.billed)
    most = wish.hours * (kind.usd_per_hour + others)
    beside = f", beside ${others:.2f} an hour that runs already" if others else ""
    say(f"{kind.name}: ${kind.usd_per_hour:.2f} an hour for {wish.hours:g} h{beside}: at most ${most:.2f}")
    if most > wish.max_usd:
        raise SpendingLimitError(
            f"{kind.name} for {wish.hours:g} h may cost ${most:.2f}, more than ${wish.max_usd:.2f}",
            remedy="give a shorter --terminate-after, or a larger --max-usd",
        )


def _launch_somewhere(
    cloud: LambdaCloud, deadlines: Deadlines, intent: Deadline, request: LaunchRequest, wish: Wish, say: Say
) -> str:
    waited = 0.0
    while True:
        regions = (wish.region,) if wish.region else _type(cloud.instance_types(), wish.type).regions
        for region in regions:
            now = time.time()
            renewed = deadlines.update(intent.handle, sent=now, at=now + 3600 * wish.hours)
            if renewed is None:  # its guard gave it up: this process slept for long
                intent = start_guard(deadlines, replace(intent, sent=now, at=now + 3600 * wish.hours))
            try:
                return _launch_once(cloud, intent, replace(request, region=region), say)
            except NoCapacityError as error:
                say(f"{region}: {error.message}")
        if waited >= wish.capacity_s:
            raise NoCapacityError(
                f"no region has room for {wish.type}" if wish.region is None else f"{wish.region} has no room",
                remedy="charter lambda types shows what is free; --wait-for-capacity S goes on trying",
            )
        time.sleep(CAPACITY_PAUSE)
        waited += CAPACITY_PAUSE


def _launch_once(cloud: LambdaCloud, intent: Deadline, request: LaunchRequest, say: Say) -> str:
    """A launch whose answer was lost, or names no instance, may have been carried out: it is looked for by what is
    known of it before anything else."""
    try:
        return cloud.launch(request)
    except (TargetUnavailableError, TargetTimeoutError, TargetProtocolError) as error:
        say(f"the answer to the launch was lost ({error.message}); looking for {request.name}")
        shown = TargetUnavailableError(
            f"the launch of {request.name} was not answered: {error.message}",
            place=error.place,
            remedy=f"its guard looks for it for {SOUGHT / 60:.0f} minutes: charter lambda list",
        )
    for look in range(LOOKS):
        if look:
            time.sleep(POLL)
        try:
            found = launched(cloud, intent)
        except TargetError as error:
            say(f"not found yet: {error.message}")
            continue
        if found is not None:
            return found
    raise shown


def wait_until_up(
    cloud: LambdaCloud, name: str, timeout: float, say: Say, sleep: Callable[[float], None] = time.sleep
) -> Instance:
    """Wait until an instance is active and has an address.

    Raises:
        TargetUnavailableError: it went another way, or takes longer than ``timeout`` seconds.
    """
    waited, last = 0.0, ""
    while True:
        instance = cloud.instance(name)
        if instance.status == ACTIVE and instance.ip is not None:
            return instance
        if instance.status not in (ACTIVE, BOOTING):
            raise TargetUnavailableError(
                f"the instance is {instance.status}", place=name, remedy="charter lambda terminate, and launch another"
            )
        if waited >= timeout:
            raise TargetUnavailableError(
                f"the instance is {instance.status} after {timeout:g} s",
                place=name,
                remedy="it bills meanwhile: wait on with --timeout, or charter lambda terminate",
            )
        if instance.status != last:
            say(f"{name}: {instance.status}")
            last = instance.status
        sleep(POLL)
        waited += POLL


def resolve(instances: tuple[Instance, ...], names: list[str]) -> tuple[Instance, ...]:
    """Instances by id or by name.

    Raises:
        UsageError: there is none, or there are several of that name.
    """
    found = []
    for name in names:
        matching = [one for one in instances if name in (one.id, one.name)]
        if len(matching) != 1:
            what = f"there are {len(matching)} instances" if matching else "there is no instance"
            raise UsageError(f"{what} '{name}'", remedy="charter lambda list shows the ids")
        found += matching
    return tuple(dict.fromkeys(found))


def _type(types: tuple[InstanceType, ...], name: str) -> InstanceType:
    for one in types:
        if one.name == name:
            return one
    raise UsageError(f"there is no instance type '{name}'", remedy="charter lambda types lists them")


def _one_of(known: tuple[str, ...], asked: str | None, what: str, option: str) -> str:
    if asked is None and len(known) == 1:
        return known[0]
    if asked in known:
        return str(asked)
    listed = ", ".join(known) or "none"
    wrong = f"the account has {len(known)} {what}s" if asked is None else f"the account has no {what} '{asked}'"
    raise UsageError(wrong, remedy=f"give {option}; it has: {listed}")
