"""Ten thousand jobs changed by filter over HTTP, while others go on submitting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import ServerProcess, running_server

JOBS = 10_000
ALL_SECONDS = 30.0  # for one command over all of them; it takes two or three
WAIT_SECONDS = 2.0  # the longest that a submission beside it may take; it takes some hundredths


@dataclass
class Customer:
    """Somebody who submits one job after the other, and notes how long each took."""

    url: str
    seconds: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._submit, daemon=True)
        self.thread.start()

    def _submit(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            while not self.over.is_set():
                began = time.monotonic()
                answer = client.post("/jobs", json={"kind": "simulate", "queue": "other"})
                assert answer.status_code == 201, answer.text
                self.seconds.append(time.monotonic() - began)

    def leave(self) -> list[float]:
        """How long its submissions took."""
        self.over.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with ten thousand jobs that nobody runs, in SQLite."""
    with running_server(tmp_path_factory.mktemp("many"), "--workers", "1") as server:
        for start in range(0, JOBS, 1_000):
            jobs = [{"kind": "simulate", "queue": "many", "payload": n} for n in range(start, start + 1_000)]
            assert server.client.post("/jobs", json=jobs).status_code == 201
        yield server


def every(server: ServerProcess, command: str, wanted: dict[str, Any]) -> tuple[int, int, int]:
    """Do it to all of them, call by call; how many calls, matched, changed."""
    calls = matched = changed = 0
    cursor = None
    while True:
        answer = server.client.post(f"/jobs/{command}", json={"filter": wanted, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        said = answer.json()
        calls, matched, changed = calls + 1, matched + said["matched"], changed + said["changed"]
        cursor = said["next"]
        if cursor is None:
            return calls, matched, changed


@pytest.mark.parametrize("command", ["cancel", "retry", "delete"])
def test_ten_thousand_jobs(server: ServerProcess, command: str) -> None:
    """In bounded time, 1,000 a call; who submits meanwhile is accepted, soon, each time."""
    if command == "delete":
        every(server, "cancel", {"queue": "many"})
    customer = Customer(server.url)
    began = time.monotonic()
    assert every(server, command, {"queue": "many"}) == (10, JOBS, JOBS)
    took = time.monotonic() - began
    waits = customer.leave()
    assert took < ALL_SECONDS
    assert len(waits) >= 10
    assert max(waits) < WAIT_SECONDS, sorted(waits)[-5:]


def test_afterwards_they_are_gone(server: ServerProcess) -> None:
    """Those of the others are not."""
    assert server.client.get("/jobs", params={"queue": "many"}).json()["items"] == []
    assert len(server.client.get("/jobs", params={"queue": "other"}).json()["items"]) == 50
