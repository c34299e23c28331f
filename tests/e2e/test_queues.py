"""Queues on a real server: settings and what counts against rates survive kill -9; one tenant holds up no other."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.slow_handlers import REGISTRY

BACKLOG = 100_000
ARRAY = 1_000
NAP = 0.02  # seconds a job
SETTINGS: dict[str, Any] = {
    "rate": {"limit": 2, "per": 3600},
    "group": {"concurrency": 1},
    "weights": {"a": 2},
    "defaults": {"timeout": 7},
    "retention": {"DONE": 60},
    "max_queued": 9,
}


def patch(server: ServerProcess, **settings: Any) -> dict[str, Any]:
    """Change the queue `default`."""
    answer = server.client.patch("/queues/default", json=settings)
    assert answer.status_code == 200, answer.text
    queue: dict[str, Any] = answer.json()
    return queue


def until(server: ServerProcess, holds: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
    """The queue `default` once this holds of it."""
    last = time.monotonic() + seconds
    while True:
        queue: dict[str, Any] = server.client.get("/queues/default").json()
        if holds(queue):
            return queue
        assert time.monotonic() < last, queue
        server.client.get("/healthz")


def test_settings_survive_a_kill(tmp_path: Path) -> None:
    """As they were answered, and what was started before the kill still counts against the rate after it."""
    with running_server(tmp_path) as server:
        shown = patch(server, **SETTINGS)
        for _ in range(5):  # a kind that nobody knows fails as soon as it has started
            server.submit(kind="nobody")
        until(server, lambda queue: queue["depth"]["FAILED"] == 2)
        server.kill()
    with running_server(tmp_path) as server:
        queue = server.client.get("/queues/default").json()
        assert {name: queue[name] for name in SETTINGS} == {name: shown[name] for name in SETTINGS}
        assert (queue["depth"]["QUEUED"], queue["depth"]["FAILED"]) == (3, 2)
        patch(server, rate=None)
        until(server, lambda queue: queue["depth"]["FAILED"] == 5)


def test_a_full_tenant_delays_anothers_single_job_by_a_round_at_most(tmp_path: Path) -> None:
    """With 100,000 jobs of one tenant queued, the only job of another starts as the next or the one after it."""
    with running_server(tmp_path, "--workers", "1", handlers=[REGISTRY]) as server:
        patch(server, paused=True)
        full = [{"kind": "nap", "group": "full", "payload": NAP}] * ARRAY
        for _ in range(BACKLOG // ARRAY):
            assert server.client.post("/jobs", json=full).status_code == 201
        patch(server, paused=False)
        until(server, lambda queue: queue["depth"]["DONE"] >= 10)
        single = server.wait(server.submit(kind="nap", group="single", payload=NAP)["id"])
        done = server.client.get("/jobs", params={"status": "DONE,RUNNING", "group": "full", "limit": 200}).json()
    between = [job for job in done["items"] if single["created_at"] < job["started_at"] < single["started_at"]]
    waited = server_seconds(single)
    told = f"behind {BACKLOG:,} jobs of another tenant: started after {len(between)} of them, in {waited * 1e3:.0f} ms"
    sys.stdout.write(f"\n{told}\n")
    assert len(between) <= 1, told


def server_seconds(job: dict[str, Any]) -> float:
    """How long the job waited for its start, by the server's clock; all within one minute."""
    return (float(job["started_at"][17:-1]) - float(job["created_at"][17:-1])) % 60
