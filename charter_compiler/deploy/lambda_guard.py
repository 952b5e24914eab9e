"""Who terminates an instance at its deadline: a guard process for each, and the next ``charter lambda`` command.

Lambda's API knows no such time, and an instance goes on billing for ever. The guard runs on this machine. While that
sleeps or is off nothing is terminated; the guard goes by the wall clock, so that it acts as soon as the machine is
awake, and `charter lambda list`, `wait` and `launch` terminate what is overdue and start guards that are missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from charter_compiler.deploy.lambda_api import LambdaCloud
from charter_compiler.deploy.lambda_deadlines import Deadline, Deadlines
from charter_compiler.diagnostics.errors import CharterError, ConfigError, RequestRejectedError

LONGEST_SLEEP = 30.0
"""Seconds: the guard looks at the wall clock and at the file so often."""
AGAIN = 60.0
"""Seconds after which a guard tries again whose termination failed; it does so until it succeeds."""
FIRST_LOOK = 20.0
"""Seconds that a launch has to be answered before its guard looks for the instance: an answer takes seconds."""
SOUGHT = 900.0
"""Seconds after a launch without an answer in which its instance is looked for."""
Say = Callable[[str], None]


def start_guard(deadlines: Deadlines, deadline: Deadline) -> Deadline:
    """Start the process that will terminate the instance; it outlives this one, and its terminal."""
    # -P: what lies in the current folder is not imported.
    command = [sys.executable, "-P", "-m", "charter_compiler.cli.main", "lambda", "guard", deadline.handle]
    deadlines.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(os.devnull).open("rb") as nothing, deadlines.log(deadline.handle).open("ab") as log:
        # Not by subprocess, whose object would have to be kept: nobody waits for the guard.
        pid = os.posix_spawn(
            sys.executable,
            command,
            {**os.environ, "CHARTER_LAMBDA_STATE": str(deadlines.folder)},
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), to) for file, to in ((nothing, 0), (log, 1), (log, 2))],
            setsid=True,
        )
    guarded = replace(deadline, guard=pid)
    deadlines.set(guarded)
    return guarded


def guard(
    cloud: LambdaCloud,
    deadlines: Deadlines,
    name: str,
    say: Say,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the deadline of this handle, as the file has it at each look, and terminate its instance; returns then,
    or when the deadline was removed. While the file cannot be read it goes by what it read last."""
    known: Deadline | None = None
    problem = ""
    while True:
        try:
            known = deadlines.get(name)
            problem = ""
        except ConfigError as error:
            if str(error) != problem:
                problem = str(error)
                say(f"going on without the file: {problem}")
        if known is None and not problem:
            say(f"{name} has no deadline any more")
            return
        if known is None:
            sleep(LONGEST_SLEEP)
            continue
        try:
            if known.id is None and clock() - known.sent >= FIRST_LOOK:
                known = _settle(cloud, deadlines, known, clock(), say)
            if known is not None and known.id is not None and known.at <= clock():
                terminate(cloud, known.id, known.account)
                say(f"terminated {known.id} at its deadline")
                _write(lambda: deadlines.remove(name), say)
                return
        except CharterError as error:
            say(f"not done, trying again in {AGAIN:g} s: {error}")
            sleep(AGAIN)
            continue
        if known is None:
            return
        left = known.at - clock()
        sleep(min(left, LONGEST_SLEEP) if left > 0 else LONGEST_SLEEP)


def launched(cloud: LambdaCloud, deadline: Deadline) -> str | None:
    """The id of the instance of a launch that was not answered. Names in use are not launched again, so that it can be
    no other one's. Raises TargetError."""
    for one in cloud.instances():
        looks = (one.name, one.type.name) == (deadline.name, deadline.type) and deadline.ssh_key in one.ssh_keys
        if one.billed and looks:
            return one.id
    return None


def _settle(cloud: LambdaCloud, deadlines: Deadlines, deadline: Deadline, now: float, say: Say) -> Deadline | None:
    """The deadline with the id of its instance, or as it is while that may still appear; ``None`` once it is given up.
    Raises TargetError."""
    found = launched(cloud, deadline)
    if found is not None:
        say(f"found {deadline.name} ({found}), whose launch was not answered")
        _write(lambda: deadlines.update(deadline.handle, id=found), say)
        return replace(deadline, id=found)
    if now - deadline.sent < SOUGHT:
        return deadline
    say(f"no instance {deadline.name} in {SOUGHT / 60:.0f} minutes after its launch: it was not launched")
    _write(lambda: deadlines.remove(deadline.handle), say)
    return None


def _write(change: Callable[[], object], say: Say) -> None:
    """A change of the file that is only told of where it cannot be made: what it would note has happened anyhow."""
    try:
        change()
    except ConfigError as error:
        say(str(error))


def terminate(cloud: LambdaCloud, instance: str, account: str | None) -> None:
    """Terminate an instance that this account launched; one that is gone already is none to complain of.

    Raises:
        TargetError: it may run on; also where another account launched it, whose instances this one cannot see.
    """
    try:
        cloud.terminate([instance])
    except RequestRejectedError:
        if account != cloud.account or any(one.id == instance and one.billed for one in cloud.instances()):
            raise


def enforce(
    cloud: LambdaCloud, deadlines: Deadlines, api_url: str, clock: Callable[[], float] = time.time
) -> list[str]:
    """Terminate what is overdue and start guards that are missing; returns a line for each, and for what failed.

    Raises:
        ConfigError: the file is damaged.
        TargetError: the instances cannot be listed.
    """
    lines: list[str] = []
    ends = [one for one in deadlines.all() if one.api_url == api_url]
    here = {one.id for one in cloud.instances()} if any(one.account != cloud.account for one in ends) else set()
    for deadline in ends:
        if deadline.account != cloud.account and deadline.id not in here:
            known = deadline.id or "not yet seen"
            lines.append(f"{deadline.name} ({known}) was launched with another API key, which its end needs")
            continue
        try:
            _enforce_one(cloud, deadlines, deadline, clock(), lines)
        except CharterError as error:
            lines.append(f"{deadline.name} ({deadline.id}) may be overdue and bill: {error}")
    return lines


def _enforce_one(cloud: LambdaCloud, deadlines: Deadlines, deadline: Deadline, now: float, lines: list[str]) -> None:
    known: Deadline | None = deadline
    if deadline.id is None and now - deadline.sent >= FIRST_LOOK:
        known = _settle(cloud, deadlines, deadline, now, lines.append)
    if known is None:
        return
    if known.id is not None and known.at <= now:
        terminate(cloud, known.id, known.account)
        deadlines.remove(known.handle)
        lines.append(f"terminated {known.name} ({known.id}), which was overdue")
    elif not known.guarded:
        start_guard(deadlines, known)
        lines.append(f"started the guard of {known.name} ({known.id or 'not yet seen'}) again")
