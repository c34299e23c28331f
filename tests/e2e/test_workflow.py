"""Whole workflows on a real server: a thousand jobs in one request, and kill -9 while they run."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from jobqueue.job import Status
from tests.e2e.crash_handlers import JOURNAL, REGISTRY, read_journal
from tests.e2e.server_process import STORE, ServerProcess, running_server
from tests.e2e.store_judge import inconsistencies

SAMPLES = "tests.e2e.sample_handlers:handlers"
FAN = 998  # beside the first and the last: one array holds 1,000
KILLS = 3


def workflow(kind: str = "work", **root: Any) -> list[dict[str, Any]]:
    """One job, a fan of others that wait for it, and one that waits for all of those."""
    fan = [{"kind": kind, "payload": {"key": str(n)}, "depends_on": ["#0"]} for n in range(FAN)]
    last = {"kind": kind, "payload": {"key": "last"}, "depends_on": [f"#{n}" for n in range(1, FAN + 1)]}
    return [{"kind": kind, "payload": {"key": "first"}, **root}, *fan, last]


def submit(server: ServerProcess, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All in one request, which is atomic."""
    answer = server.client.post("/jobs", json=jobs)
    assert answer.status_code == 201, answer.text
    accepted: list[dict[str, Any]] = answer.json()["jobs"]
    return accepted


def statuses(store: Path) -> dict[str, int]:
    """How many jobs have which status, in the file of a server that has ended; and nothing in it contradicts itself."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert list(inconsistencies(connection)) == []
        assert connection.execute("SELECT count(*) FROM resolving").get == 0
        rows: Any = connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
    finally:
        connection.close()
    return {Status(status).name: count for status, count in rows}


def test_a_workflow_of_a_thousand_through_kills(tmp_path: Path) -> None:
    """Killed again and again on its way, it comes to its end: each job DONE, none before those it depends on."""
    journal = tmp_path / "journal"
    options: dict[str, Any] = {"handlers": [REGISTRY], "env": {JOURNAL: str(journal)}}
    with running_server(tmp_path, "--workers", "8", **options) as server:
        jobs = submit(server, workflow())
        assert server.wait(jobs[1]["id"])["status"] == "DONE"
        assert server.kill() == -9
    for number in range(1, KILLS):
        with running_server(tmp_path, "--workers", "8", **options) as server:
            assert server.wait(jobs[number * FAN // KILLS]["id"])["status"] == "DONE"
            assert server.kill() == -9
    with running_server(tmp_path, "--workers", "8", **options) as server:
        last = server.wait(jobs[-1]["id"], 60)
        assert last["status"] == "DONE"
        assert server.kill(signal.SIGTERM) == 0
    assert statuses(tmp_path / STORE) == {"DONE": FAN + 2}
    entries = read_journal(journal)
    first_end = next(at for at, entry in enumerate(entries) if (entry.what, entry.id) == ("ended", jobs[0]["id"]))
    assert {entry.id for entry in entries[:first_end]} == {jobs[0]["id"]}
    last_begin = next(at for at, entry in enumerate(entries) if entry.id == jobs[-1]["id"])
    ended = {entry.id for entry in entries[:last_begin] if entry.what == "ended"}
    assert ended == {job["id"] for job in jobs[:-1]}


def test_a_cascade_through_a_kill(tmp_path: Path) -> None:
    """Five fans of a thousand are cancelled with the one they hang on; killed right after the answer, all the same."""
    with running_server(tmp_path, "--workers", "0") as server:
        root = server.submit(kind="simulate")
        hubs = submit(server, [{"kind": "simulate", "depends_on": [root["id"]]}] * 5)
        for hub in hubs:
            submit(server, [{"kind": "simulate", "depends_on": [hub["id"]]}] * 1000)
        assert server.client.post(f"/jobs/{root['id']}/cancel").status_code == 200
        assert server.kill() == -9
    with running_server(tmp_path, "--workers", "0") as server:
        newest = server.client.get("/jobs", params={"limit": 1}).json()["items"][0]
        ended = server.wait(newest["id"])
        assert (ended["status"], ended["reason"]) == ("CANCELLED", "dependency")
        assert server.kill(signal.SIGTERM) == 0
    assert statuses(tmp_path / STORE) == {"CANCELLED": 5006}


def test_a_process_handler_reads_its_parents(tmp_path: Path) -> None:
    """In the process of its own, too, a handler is told how its parents ended and with what result."""
    with running_server(tmp_path, "--workers", "1", handlers=[SAMPLES]) as server:
        parent = server.submit(kind="echo", payload={"n": [1, "\u00e9", None]})
        child = server.submit(kind="facts", depends_on=[parent["id"]])
        found = server.wait(child["id"])
        assert found["result"][5] == {parent["id"]: {"status": "DONE", "result": {"n": [1, "\u00e9", None]}}}
        assert server.kill(signal.SIGTERM) == 0
