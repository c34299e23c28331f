"""`--clock manual` as users have it: a server process, their handlers, and days of job time in a moment of theirs."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.raw_http import post
from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.timed_handlers import REGISTRY

DAY = 86_400
RETRIES_SECONDS = 20.0  # a bound for half a second, on a busy machine
PATIENT_SECONDS = 30.0
UNJITTERED = {"jitter": "none"}
FLOOD = [
    {"kind": "fail", "max_attempts": 1000, "retry": {"backoff": "list", "delays": [0.5 + n / 97]}} for n in range(50)
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(tmp_path, "--clock", "manual", "--store", "memory:", handlers=[REGISTRY]) as server:
        yield server


def advance(server: ServerProcess, seconds: float) -> datetime:
    """Let job time pass; where its clock then is."""
    answer = server.post("/clock/advance", json={"seconds": seconds})
    assert answer.status_code == 200, answer.text
    return datetime.fromisoformat(answer.json()["now"])


def attempts_within(seconds: float) -> int:
    """How many attempts of the default policy, unjittered, begin in that time after the first one."""
    count, at = 0, 0.0
    while at <= seconds:
        count += 1
        at += min(2.0 ** (count - 1), 3600)
    return count


def test_25_days_of_retries_run_in_a_moment(server: ServerProcess) -> None:
    """All of them, each an hour after the last, and the job then succeeds: in one call, in about a second."""
    needed = attempts_within(25 * DAY)
    assert needed == 611
    began = advance(server, 0)
    job = server.submit(kind="recover", payload=needed, max_attempts=1000, retry=UNJITTERED)
    started = time.monotonic()
    now = advance(server, 25 * DAY)
    assert time.monotonic() - started < RETRIES_SECONDS
    assert now == began + timedelta(days=25)
    ended = server.get(f"/jobs/{job['id']}").json()
    assert (ended["status"], ended["attempt"], ended["result"]) == ("DONE", needed, needed)
    assert datetime.fromisoformat(ended["finished_at"]) == began + timedelta(seconds=4095 + (needed - 13) * 3600)
    history = server.get(f"/jobs/{job['id']}/attempts").json()["items"]
    times = [datetime.fromisoformat(item["started_at"]) for item in history]
    assert {later - earlier for later, earlier in pairwise(times)} == {timedelta(hours=1)}


def test_it_begins_with_the_real_time_and_stands_there(server: ServerProcess) -> None:
    """And says at its start that it does."""
    now = advance(server, 0)
    assert abs(now.timestamp() - time.time()) < PATIENT_SECONDS
    assert server.submit(kind="fail")["created_at"] == now.isoformat().replace("+00:00", "Z")
    assert server.log.find("manual clock") is not None
    assert server.get("/readyz").json()["clock"] == "manual"


def test_a_process_that_works_in_real_time_is_waited_for(server: ServerProcess) -> None:
    """Its retries count from the moment at which it started, whatever it took."""
    job = server.submit(kind="fail.process", payload=0.2, max_attempts=3, retry={"backoff": "list", "delays": [5]})
    began = advance(server, 0)
    assert advance(server, 60) == began + timedelta(seconds=60)
    ended = server.get(f"/jobs/{job['id']}").json()
    assert (ended["status"], ended["attempt"]) == ("FAILED", 3)
    assert datetime.fromisoformat(ended["finished_at"]) == began + timedelta(seconds=10)


def test_a_restart_does_not_go_back(tmp_path: Path) -> None:
    """What an earlier life came to has been; the environment may ask for such a clock too."""
    env = {"JOBQUEUE_CLOCK": "manual"}
    with running_server(tmp_path, handlers=[REGISTRY], env=env) as server:
        job = server.submit(kind="fail", max_attempts=31, retry={"backoff": "list", "delays": [DAY]})
        later = server.submit(kind="fail", delay=40 * DAY, max_attempts=1)
        began = advance(server, 30 * DAY) - timedelta(days=30)
        assert server.kill() == -signal.SIGKILL
    with running_server(tmp_path, handlers=[REGISTRY], env=env) as server:
        assert advance(server, 0) == began + timedelta(days=30)
        assert server.get(f"/jobs/{job['id']}").json()["status"] == "FAILED"
        advance(server, 10 * DAY)
        ended = server.get(f"/jobs/{later['id']}").json()
        assert (ended["status"], datetime.fromisoformat(ended["finished_at"])) == ("FAILED", began + timedelta(days=40))


def test_a_client_that_leaves_stops_the_clock(server: ServerProcess) -> None:
    """Between two moments; the next client finds it there, and may go on."""
    began = advance(server, 0)
    assert server.post("/jobs", json=FLOOD).status_code == 201
    early = server.submit(kind="recover", payload=1, delay=2)
    with socket.create_connection(server.address) as client:
        client.sendall(post(b'{"seconds": %d}' % DAY, path=b"/clock/advance"))
        assert server.wait(early["id"])["status"] == "DONE"
    assert began < advance(server, 0) < began + timedelta(days=1)
    stopped = advance(server, 0)
    assert advance(server, 0.25) == stopped + timedelta(seconds=0.25)


def test_a_stop_in_the_midst_of_it_is_in_order(server: ServerProcess) -> None:
    """The client is told, and the server ends as ever."""
    assert server.post("/jobs", json=FLOOD).status_code == 201
    early = server.submit(kind="recover", payload=1, delay=2)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(server.post("/clock/advance", json={"seconds": DAY}).status_code)
        except httpx.HTTPError as error:
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert server.wait(early["id"])["status"] == "DONE"
    assert server.kill(signal.SIGTERM) == 0
    asking.join(PATIENT_SECONDS)
    assert answers == [503]
