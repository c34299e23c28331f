"""A schedule on a real server that is killed again and again: no fire time makes two jobs, none that it saw is lost.

SCHEDULE_KILLS is how often (8).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fork_server import ForkServer
from tests.e2e.server_process import ServerProcess, running_server, server_forks

KILLS = int(os.environ.get("SCHEDULE_KILLS", "8"))
LIFE_SECONDS = 2.5  # at the most
SLOW_SECONDS = 0.5  # from a fire time to its commit, on a busy machine
EVERY_SECOND = {"every": 1, "overlap": "queue", "job": {"kind": "tick", "queue": "parked"}}


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with server_forks() as forks:
        yield forks


def put(server: ServerProcess, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """Put a schedule."""
    answer = server.client.put(f"/schedules/{name}", json=said)
    assert answer.status_code in (200, 201), answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def fire_times(server: ServerProcess) -> list[float]:
    """Of all jobs, as seconds since the epoch."""
    times: list[float] = []
    query: dict[str, Any] = {"queue": "parked", "limit": 200}
    while True:
        page = server.client.get("/jobs", params=query).json()
        times += [datetime.fromisoformat(job["run_at"]).timestamp() for job in page["items"]]
        if page["next"] is None:
            return sorted(times)
        query["cursor"] = page["next"]


def live(server: ServerProcess, seconds: float) -> tuple[float, float]:
    """Let it run for a while; from when to when, by the wall clock, it was up for sure."""
    server.client.get("/healthz")
    begun = time.time()
    with pytest.raises(TimeoutError):
        server.exit_code(seconds)
    return begun, time.time() - SLOW_SECONDS


def test_kill_9_makes_no_fire_time_twice_and_loses_none(forks: ForkServer, tmp_path: Path) -> None:
    """Every second one job: exactly one for each second in which the server was up, at most one for the others."""
    chance = random.Random(7)
    up = []
    first = 0.0
    for life in range(KILLS):
        with running_server(tmp_path, forks=forks) as server:
            if not life:
                shown = put(server, "tick", EVERY_SECOND)
                first = datetime.fromisoformat(shown["next_runs"][0]).timestamp()
            up.append(live(server, chance.uniform(0.2, LIFE_SECONDS)))
            assert server.kill(signal.SIGKILL) == -9
    with running_server(tmp_path, "--workers", "0", forks=forks) as server:
        made = Counter(fire_times(server))
        assert server.kill(signal.SIGTERM) == 0
    assert [at for at, jobs in made.items() if jobs > 1] == []
    assert [at for at in made if (at - first) % 1] == []
    due = [first + number for number in range(round(time.time() - first) + 1)]
    must = {at for at in due for begun, ended in up if begun < at < ended}
    assert len(must) >= KILLS / 4, "it was hardly up"
    assert must - made.keys() == set()


def test_a_stop_between_two_fire_times_changes_nothing(forks: ForkServer, tmp_path: Path) -> None:
    """After a restart the schedule is as it was, with its times and its last job; and it fires."""
    with running_server(tmp_path, forks=forks) as server:
        put(server, "hourly", {"every": 3600, "job": {"kind": "tick", "queue": "parked"}})
        job = server.client.post("/schedules/hourly/trigger").json()
        before = server.client.get("/schedules/hourly").json()
        assert server.kill(signal.SIGTERM) == 0
    with running_server(tmp_path, forks=forks) as server:
        assert server.client.get("/schedules/hourly").json() == before
        assert before["last_job"] == job["id"]
        put(server, "soon", {"every": 1, "job": {"kind": "simulate"}})
        with pytest.raises(TimeoutError):
            server.exit_code(1.5)
        assert server.client.get("/schedules/soon").json()["last_job"] is not None
