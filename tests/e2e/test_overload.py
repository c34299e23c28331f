"""More comes than can be done: the callers are held off, what was accepted is not, and afterwards all is well at once.

OVERLOAD_SECONDS is how long (6; `just soak`: 60). The callers come three times as fast as jobs are done, whatever they
are answered, and those who are refused come back when Retry-After says so, under the same idempotency key.
"""

from __future__ import annotations

import heapq
import http.client
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.slow_handlers import REGISTRY

SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "6"))
SOAK_SECONDS = 60.0
WORKERS, NAP_SECONDS, MOST_QUEUED = 4, 0.02, 200
CAPACITY = WORKERS / NAP_SECONDS  # jobs a second
ARRIVALS = 3 * CAPACITY
CALLERS = 24
NORMAL_WITHIN_SECONDS = 10.0
SLACK = 4.0  # a test machine is not always quick


@dataclass
class Crowd:
    """Callers that want `ARRIVALS` jobs a second for a while; each job is asked for until it is accepted."""

    server: ServerProcess
    seconds: float
    accepted: dict[str, str] = field(default_factory=dict)  # key -> id
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._due = [(self.began + n / ARRIVALS, n) for n in range(round(self.seconds * ARRIVALS))]
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Nobody comes back any more."""
        self.over.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        connection = http.client.HTTPConnection(*self.server.address, timeout=30)
        while True:
            with self._lock:
                due = heapq.heappop(self._due) if self._due else None
            moment = time.monotonic() + 0.05 if due is None else due[0]
            if self.over.wait(max(0.0, moment - time.monotonic())):
                break
            if due is not None:
                self._ask(connection, due[1])
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, n: int) -> None:
        key = f"crowd-{n}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        connection.request("POST", "/jobs", json.dumps({"kind": "nap", "payload": NAP_SECONDS}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        with self._lock:
            self.answers[response.status] += 1
            if response.status == 201:
                self.accepted[key] = answer["id"]
            elif response.status == 429:
                heapq.heappush(self._due, (time.monotonic() + int(response.headers["Retry-After"]), n))
            else:
                self.wrong.append(f"{response.status}: {answer}")


def latency(server: ServerProcess) -> float:
    """Seconds from the submission of a job to the answer that it is DONE; infinite if it is refused."""
    began = time.monotonic()
    answer = server.client.post("/jobs", json={"kind": "nap", "payload": 0}, headers={"Prefer": "wait=30"})
    return time.monotonic() - began if answer.status_code == 200 else float("inf")


def all_jobs(server: ServerProcess) -> list[dict[str, Any]]:
    """Every job of the crowd, from the list."""
    jobs: list[dict[str, Any]] = []
    target = "/jobs?limit=200&kind=nap"
    while True:
        page = server.client.get(target).json()
        jobs += page["items"]
        if page["next"] is None:
            return jobs
        target = f"/jobs?limit=200&kind=nap&cursor={page['next']}"


def overload(server: ServerProcess, seconds: float) -> None:
    """Go through it, and look at all that was promised."""
    usual = max(latency(server) for _ in range(10))
    crowd = Crowd(server, seconds)
    assert not crowd.over.wait(seconds)
    ended = time.monotonic()
    while (now := latency(server)) > SLACK * usual + 0.1:  # the refused go on coming back meanwhile
        assert time.monotonic() - ended < NORMAL_WITHIN_SECONDS, f"{now:.2f} s instead of {usual:.3f} s"
    crowd.leave()
    assert not crowd.wrong, crowd.wrong[:5]
    assert crowd.answers[429] > crowd.answers[201] / 2, f"it was no overload: {crowd.answers}"
    most_asked = ARRIVALS * seconds * 3
    assert sum(crowd.answers.values()) < most_asked, f"those who were refused came back too soon: {crowd.answers}"
    waited_out(server, crowd)


def waited_out(server: ServerProcess, crowd: Crowd) -> None:
    """Each accepted job is done, at the first attempt, and waited no longer than a full queue takes."""
    for id in list(crowd.accepted.values())[-20:]:
        assert server.wait(id)["status"] == "DONE"
    jobs = {job["id"]: job for job in all_jobs(server)}
    assert crowd.accepted.keys()
    assert not set(crowd.accepted.values()) - jobs.keys()
    assert {(job["status"], job["attempt"]) for job in jobs.values()} == {("DONE", 1)}
    busy = len(crowd.accepted) / (CAPACITY * (time.monotonic() - crowd.began))
    assert busy > 1 / SLACK, f"the workers had too little to do: {busy:.0%}"


def test_after_an_overload_all_is_well_at_once(tmp_path: Path) -> None:
    """Three times what can be done, for some seconds: refused with Retry-After, and normal within 10 s."""
    with running_server(
        tmp_path, "--workers", str(WORKERS), "--max-queued", str(MOST_QUEUED), handlers=[REGISTRY]
    ) as server:
        overload(server, SECONDS)


@pytest.mark.soak
def test_after_a_minute_of_overload_all_is_well_at_once(tmp_path: Path) -> None:
    """The same for a minute."""
    with running_server(
        tmp_path, "--workers", str(WORKERS), "--max-queued", str(MOST_QUEUED), handlers=[REGISTRY]
    ) as server:
        overload(server, SOAK_SECONDS)
