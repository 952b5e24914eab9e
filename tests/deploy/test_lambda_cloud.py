"""Lambda's Cloud API: client, launches, deadlines and ``charter lambda``, against a local server of its schema."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lambda_service import BROKEN, KEY, OTHER_KEY, LambdaService, serving

from charter_compiler.cli.main import main
from charter_compiler.cli.options.values import hours
from charter_compiler.deploy import lambda_launch
from charter_compiler.deploy.lambda_api import LambdaCloud
from charter_compiler.deploy.lambda_deadlines import Deadline, Deadlines
from charter_compiler.deploy.lambda_guard import SOUGHT, enforce, guard
from charter_compiler.deploy.lambda_key import find_key
from charter_compiler.deploy.lambda_types import LaunchRequest
from charter_compiler.diagnostics import errors
from charter_compiler.executor.retry import RetryPolicy

LAUNCH, TERMINATE = "/instance-operations/launch", "/instance-operations/terminate"


@pytest.fixture
def service() -> LambdaService:
    return LambdaService()


@pytest.fixture
def url(service: LambdaService) -> Iterator[str]:
    with serving(service) as found:
        yield found


@pytest.fixture
def waits() -> list[float]:
    """What the client would have slept."""
    return []


@pytest.fixture
def cloud(url: str, waits: list[float]) -> Iterator[LambdaCloud]:
    policy = RetryPolicy(max_retries=3, base=2.0, cap=30.0, jitter=lambda: 1.0)
    with LambdaCloud(KEY, base_url=url, policy=policy, sleep=waits.append) as found:
        yield found


@pytest.fixture
def command_line(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deadlines]:
    """The environment of ``charter lambda``; guards that it starts end with the test."""
    monkeypatch.setenv("CHARTER_LAMBDA_API_URL", url)
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    monkeypatch.setenv("CHARTER_LAMBDA_STATE", str(tmp_path / "state"))
    deadlines = Deadlines()
    started: set[int] = set()
    remember = Deadlines.set

    def remembered(self: Deadlines, deadline: Deadline) -> None:
        if deadline.guard is not None:
            started.add(deadline.guard)
        remember(self, deadline)

    monkeypatch.setattr(Deadlines, "set", remembered)
    yield deadlines
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue  # it has ended


def request(region: str = "us-west-1") -> LaunchRequest:
    return LaunchRequest(region, "gpu_1x_a10", "laptop", "t")


def test_types_come_with_their_prices_the_cheapest_first(cloud: LambdaCloud) -> None:
    assert [(one.name, one.usd_per_hour, one.regions) for one in cloud.instance_types()] == [
        ("gpu_1x_a10", 1.29, ("us-west-1",)),
        ("gpu_1x_gh200", 2.29, ("us-west-1", "us-east-1")),
        ("gpu_8x_h100_sxm5", 34.32, ()),
    ]


def test_an_instance_from_launch_to_end(cloud: LambdaCloud, service: LambdaService) -> None:
    name = cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "laptop", "t", "models", "lambda-stack-24-04"))
    body = next(body for _, path, body in service.requests if path == LAUNCH)
    assert body["file_system_names"] == ["models"]
    assert body["image"] == {"family": "lambda-stack-24-04"}
    seen: list[str] = []
    up = lambda_launch.wait_until_up(cloud, name, 60, seen.append, lambda _: None)
    assert (up.ip, up.status, up.type.cents_per_hour, seen) == ("198.51.100.2", "active", 129, [f"{name}: booting"])
    assert [one.status for one in cloud.terminate([name])] == ["terminating"]
    with pytest.raises(errors.TargetUnavailableError, match="the instance is terminating"):
        lambda_launch.wait_until_up(cloud, name, 60, seen.append, lambda _: None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, errors.AuthenticationError), (403, errors.AuthenticationError), (404, errors.RequestRejectedError)],
)
def test_a_refusal_is_final_and_says_why(
    cloud: LambdaCloud, service: LambdaService, status: int, kind: type[Exception]
) -> None:
    service.fail("/instances", status)
    with pytest.raises(kind, match=r"Read the documentation\.") as raised:
        cloud.instances()
    assert KEY not in str(raised.value)
    assert service.count("/instances") == 1


def test_rate_limits_and_failures_of_the_service_are_waited_out(
    cloud: LambdaCloud, service: LambdaService, waits: list[float]
) -> None:
    service.fail("/instances", 429, retry_after="7")
    service.fail("/instances", 500)
    service.fail("/instances", BROKEN)
    assert cloud.instances() == ()
    assert waits == [2.0 + 7.0, 4.0, 8.0]
    service.fail("/instances", 500, times=9)
    with pytest.raises(errors.TargetUnavailableError, match="An internal error occurred"):
        cloud.instances()


def test_a_launch_is_repeated_only_where_it_was_not_carried_out(
    cloud: LambdaCloud, service: LambdaService, waits: list[float]
) -> None:
    service.fail(LAUNCH, 429, retry_after="12")
    assert cloud.launch(request()) in service.instances
    assert waits == [14.0]
    for status in (500, BROKEN):
        before = service.count(LAUNCH)
        service.fail(LAUNCH, status)
        with pytest.raises(errors.TargetUnavailableError):
            cloud.launch(request())
        assert service.count(LAUNCH) == before + 1


def test_no_room_and_a_wrong_request_are_told_apart(cloud: LambdaCloud) -> None:
    with pytest.raises(errors.NoCapacityError, match="Not enough capacity"):
        cloud.launch(request("us-east-1"))
    with pytest.raises(errors.RequestRejectedError, match="does not exist") as raised:
        cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "nobody's", "t"))
    assert not isinstance(raised.value, errors.NoCapacityError)


@pytest.mark.parametrize(
    ("data", "said"),
    [({}, "data of the answer"), ([{"id": 7}], "instance.region"), ([{"id": 7, "region": {}}], "instance.id")],
)
def test_an_answer_of_another_form_is_an_error(
    data: object, said: str, service: LambdaService, cloud: LambdaCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "answer", lambda *_: (200, {}, {"data": data}))
    with pytest.raises(errors.TargetProtocolError, match=said):
        cloud.instances()


def test_the_key_comes_from_the_environment_or_the_usual_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.AuthenticationError, match="LAMBDA_API_KEY"):
        find_key({}, tmp_path)
    file = tmp_path / ".lambda_cloud" / "lambda_keys"
    file.parent.mkdir()
    file.write_text("# mine\napi_key = abc.def\n")
    file.chmod(0o644)
    assert find_key({}, tmp_path) == "abc.def"
    assert "others can read" in capsys.readouterr().err
    assert find_key({"LAMBDA_API_KEY": " xyz "}, tmp_path) == "xyz"
    with pytest.raises(errors.AuthenticationError, match="this is no API key") as raised:
        find_key({"LAMBDA_API_KEY": "two words"}, tmp_path)
    assert "two words" not in str(raised.value)


def wish(**changes: object) -> lambda_launch.Wish:
    return lambda_launch.Wish(**{"type": "gpu_1x_gh200", "hours": 2.0, "max_usd": 5.0, **changes})  # type: ignore[arg-type]


def test_what_may_cost_too_much_is_not_launched(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str
) -> None:
    said: list[str] = []
    for asked in (wish(hours=3.0), wish(type="gpu_8x_h100_sxm5")):
        with pytest.raises(errors.SpendingLimitError, match="may cost"):
            lambda_launch.launch(cloud, command_line, asked, url, said.append)
    cloud.launch(request())
    with pytest.raises(errors.SpendingLimitError, match=r"\$7\.16"):
        lambda_launch.launch(cloud, command_line, wish(), url, said.append)
    assert said[-1].endswith("for 2 h, beside $1.29 an hour that runs already: at most $7.16")
    assert service.count(LAUNCH) == 1
    assert command_line.all() == ()


def test_a_launch_goes_where_there_is_room(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.full = {"us-west-1"}  # taken between the look and the launch
    deadline = lambda_launch.launch(cloud, command_line, wish(), url, lambda _: None)
    assert service.instances[deadline.id or ""]["region"]["name"] == "us-east-1"
    assert command_line.get(deadline.id or "") == deadline
    eventually(lambda: deadline.guarded)
    service.full = {"us-west-1", "us-east-1"}
    with pytest.raises(errors.NoCapacityError, match="no region has room"):
        lambda_launch.launch(cloud, command_line, wish(max_usd=50), url, lambda _: None)
    pauses: list[float] = []

    def room_comes(pause: float) -> None:
        pauses.append(pause)
        service.full = set()

    monkeypatch.setattr(time, "sleep", room_comes)
    lambda_launch.launch(cloud, command_line, wish(max_usd=50, capacity_s=60.0), url, lambda _: None)
    assert pauses == [lambda_launch.CAPACITY_PAUSE]


def test_a_launch_whose_answer_is_lost_is_found_and_not_made_twice(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str
) -> None:
    service.lose_answer = True
    deadline = lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    assert [one["name"] for one in service.instances.values()] == ["mine"]
    assert deadline.id in service.instances
    assert service.count(LAUNCH) == 1


def test_a_launch_whose_answer_names_no_instance_is_found(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out = service._launch

    def nameless(body: object) -> tuple[int, dict[str, object]]:
        carried_out(body)
        return 200, {"data": {}}

    monkeypatch.setattr(service, "_launch", nameless)
    deadline = lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    assert [deadline.id] == list(service.instances)


def test_a_name_in_use_is_not_launched_and_its_instance_left_alone(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str
) -> None:
    cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "laptop", "mine"))
    with pytest.raises(errors.UsageError, match="'mine' runs or is launched already"):
        lambda_launch.launch(cloud, command_line, wish(name="mine", max_usd=50), url, lambda _: None)
    assert (service.count(LAUNCH), command_line.all()) == (1, ())


def test_a_lost_launch_is_told_from_an_instance_of_the_same_name_by_its_type(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def somebody_else(pause: float) -> None:
        if not service.instances:
            cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "laptop", "mine"))

    monkeypatch.setattr(time, "sleep", somebody_else)
    service.fail(LAUNCH, 500)
    with pytest.raises(errors.TargetUnavailableError, match="was not answered"):
        lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    assert [one.id for one in command_line.all()] == [None]


def test_a_launch_that_is_listed_late_is_found_by_its_guard(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.lose_answer, service.hide = True, 1 + lambda_launch.LOOKS
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(errors.TargetUnavailableError, match="its guard looks for it for 15 minutes"):
        lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    (intent,) = command_line.all()
    (name,) = service.instances
    assert intent.id is None
    assert intent.guard is not None, "started before the launch was sent"
    now, said = [intent.sent], list[str]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    guard(cloud, command_line, intent.handle, said.append, clock=lambda: now[0], sleep=sleep)
    assert intent.at <= now[0] < intent.at + 60
    assert service.instances[name]["status"] == "terminating"
    assert [line[:10] for line in said] == ["found mine", "terminated"]


def test_a_launch_that_is_broken_off_keeps_its_deadline_and_one_that_was_not_carried_out_is_forgotten(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(request: LaunchRequest) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cloud, "launch", broken_off)
        with pytest.raises(KeyboardInterrupt):
            lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    (intent,) = command_line.all()
    assert enforce(cloud, command_line, url, lambda: intent.sent + 60) == []
    assert command_line.all() == (intent,)
    said = enforce(cloud, command_line, url, lambda: intent.sent + SOUGHT)
    assert said[0].endswith("it was not launched")
    service.full = {"us-west-1", "us-east-1"}
    with pytest.raises(errors.NoCapacityError):
        lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    assert command_line.all() == ()


def test_another_account_neither_ends_nor_forgets_what_it_cannot_see(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str
) -> None:
    deadline = lambda_launch.launch(cloud, command_line, wish(name="mine"), url, lambda _: None)
    late = deadline.at + 1
    with LambdaCloud(OTHER_KEY, base_url=url) as other:
        (said,) = enforce(other, command_line, url, lambda: late)
        now = [late]

        def sleep(seconds: float) -> None:
            now[0] += seconds
            if now[0] > late + 100:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            guard(other, command_line, deadline.handle, lambda _: None, clock=lambda: now[0], sleep=sleep)
    assert "was launched with another API key" in said
    assert KEY not in (command_line.folder / "deadlines.json").read_text()
    assert command_line.all() == (deadline,)
    assert enforce(cloud, command_line, url, lambda: late) == [f"terminated mine ({deadline.id}), which was overdue"]


def test_a_file_system_says_where_to_launch(
    cloud: LambdaCloud, service: LambdaService, command_line: Deadlines, url: str
) -> None:
    service.file_systems = {"models": "us-east-1"}  # the second of the regions with room
    deadline = lambda_launch.launch(cloud, command_line, wish(file_system="models"), url, lambda _: None)
    assert service.instances[deadline.id or ""]["region"]["name"] == "us-east-1"
    with pytest.raises(errors.UsageError, match="is in us-east-1, not in us-west-1"):
        lambda_launch.launch(
            cloud, command_line, wish(file_system="models", region="us-west-1", max_usd=50), url, lambda _: None
        )


def test_a_damaged_file_stops_neither_the_guard_nor_the_list_nor_a_termination(
    cloud: LambdaCloud,
    service: LambdaService,
    command_line: Deadlines,
    url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = (cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "laptop", name)) for name in ("a", "b"))
    command_line.set(Deadline(first, "a", 1100.0, url))
    now, said = [1000.0], list[str]()

    def sleep(seconds: float) -> None:
        (command_line.folder / "deadlines.json").write_text("{")
        now[0] += seconds

    guard(cloud, command_line, first, said.append, clock=lambda: now[0], sleep=sleep)
    assert service.instances[first]["status"] == "terminating"
    assert now[0] == 1100.0
    assert main(["lambda", "list"]) == 0
    captured = capsys.readouterr()
    assert "not known" in captured.out
    assert "move it away" in captured.err
    assert main(["lambda", "launch", "gpu_1x_a10"]) == 1, "its end could not be kept"
    assert main(["lambda", "terminate", "--all"]) == 1
    assert service.instances[second]["status"] == "terminating"


def test_the_guard_terminates_at_the_deadline_and_insists(
    cloud: LambdaCloud, service: LambdaService, url: str, tmp_path: Path
) -> None:
    deadlines, now, said = Deadlines(tmp_path), [1000.0], list[str]()
    name = cloud.launch(request())
    deadlines.set(Deadline(name, "t", 1100.0, url))

    def sleep(seconds: float) -> None:
        assert service.instances[name]["status"] != "terminating"
        now[0] += seconds
        if now[0] < 1100:
            deadlines.set(Deadline(name, "t", 1130.0, url))  # it is put off meanwhile

    service.fail(TERMINATE, 500, times=4)
    guard(cloud, deadlines, name, said.append, clock=lambda: now[0], sleep=sleep)
    assert now[0] == 1130.0 + 60.0, "once more a minute later"
    assert service.instances[name]["status"] == "terminating"
    assert deadlines.all() == ()
    assert [line[:10] for line in said] == ["not done, ", "terminated"]
    guard(cloud, deadlines, name, said.append)
    assert said[-1].endswith("has no deadline any more")


def eventually(condition: Callable[[], bool]) -> None:
    pause, waited = threading.Event(), 0.0
    while not condition():
        assert waited < 60
        pause.wait(0.1)
        waited += 0.1


def test_a_real_guard_process_terminates_a_real_launch(
    service: LambdaService, command_line: Deadlines, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["lambda", "launch", "gpu_1x_a10", "--terminate-after", "30m", "--max-usd", "1", "--name", "t"]
    assert main(arguments) == 0
    captured = capsys.readouterr()
    name = captured.out.strip()
    assert "at most $0.65" in captured.err
    deadline = command_line.get(name)
    assert deadline is not None
    eventually(lambda: deadline.guarded)
    assert not replace(deadline, guard=os.getpid()).guarded, "another process has its number"
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert main(["lambda", "wait", "t"]) == 0
    assert capsys.readouterr().out.strip() == "198.51.100.2"
    assert main(["lambda", "list"]) == 0
    shown = capsys.readouterr().out
    assert "1.29" in shown
    assert "UTC (in 0.5 h)" in shown
    assert main(["lambda", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["deadline"]["guard"] == deadline.guard
    # The guard looks at the file at least every half minute; a new one looks at once.
    assert deadline.guard is not None
    os.kill(deadline.guard, signal.SIGKILL)
    os.waitpid(deadline.guard, 0)
    assert main(["lambda", "list"]) == 0
    assert "started the guard of t" in capsys.readouterr().err
    second = command_line.get(name)
    assert second is not None
    command_line.set(replace(second, at=time.time()))
    eventually(lambda: service.instances[name]["status"] == "terminating")
    eventually(lambda: command_line.all() == ())
    log = command_line.log(deadline.handle).read_text()
    assert "at its deadline" in log
    assert KEY not in log + shown + captured.err


def test_an_overdue_instance_ends_with_the_next_command(
    service: LambdaService, cloud: LambdaCloud, command_line: Deadlines, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = cloud.launch(request())
    command_line.set(Deadline(name, "t", time.time() - 1, url))
    assert main(["lambda", "list"]) == 0
    assert f"terminated t ({name}), which was overdue" in capsys.readouterr().err
    assert service.instances[name]["status"] == "terminating"


def test_terminate_by_name_and_all(
    service: LambdaService, cloud: LambdaCloud, command_line: Deadlines, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [cloud.launch(LaunchRequest("us-west-1", "gpu_1x_a10", "laptop", name)) for name in ("a", "b")]
    assert main(["lambda", "terminate", "a"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"terminated a {ids[0]}\n"
    assert "1 instances go on billing" in captured.err
    assert main(["lambda", "terminate", "c"]) == 2
    assert main(["lambda", "terminate"]) == 2
    assert main(["lambda", "terminate", "--all"]) == 0
    assert "no instance bills any more" in capsys.readouterr().err


def test_types_are_listed(command_line: Deadlines, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lambda", "types", "--available", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["gpu_1x_a10", "gpu_1x_gh200"]
    assert main(["lambda", "types", "--for", "1h30m"]) == 0
    shown = capsys.readouterr().out
    assert "34.32" in shown
    assert "51.48" in shown


def test_wrong_command_lines(command_line: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [hours(text) for text in ("3h", "90m", "1h30m", "1.5h")] == [3.0, 1.5, 1.5, 1.5]
    for wrong in (["lambda", "launch", "x", "--terminate-after", "0h"], ["lambda", "launch", "x", "--max-usd", "-1"]):
        with pytest.raises(SystemExit):
            main(wrong)
    assert main(["lambda", "launch", "gpu_9x"]) == 2
    assert main(["lambda", "launch", "gpu_1x_a10", "--ssh-key", "nobody's"]) == 2
    monkeypatch.setenv("CHARTER_LAMBDA_API_URL", "http://example.org/api/v1")
    assert main(["lambda", "list"]) == 2, "the key would leave this machine in clear"
