"""Events over real sockets: a thousand listeners while jobs run, one that stalls, and the stop of the server."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.crash_handlers import JOURNAL, REGISTRY
from tests.e2e.crowd import Crowd, Listener
from tests.e2e.raw_http import NDJSON, Raw, post, request
from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.watched_server import watched

SLACK_SECONDS = 10.0  # on a busy machine
OTHER_LIFE = "0192f0c17e1a7cc398c4dc0c0c07398f-9"  # an event of a server that is no more
LIFE = ["QUEUED", "RUNNING", "DONE"]
JOBS = 300
COUNT = 40_000  # more events than the kernel keeps for one who does not read
MISSED = re.compile(rb'"missed":([0-9]+)')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    env = {JOURNAL: str(tmp_path / "journal")}
    options = ("--workers", "8", "--queues", "*", "--grace", "1")
    with running_server(tmp_path, *options, handlers=[REGISTRY], env=env) as server:
        yield server


def submit(server: ServerProcess, *jobs: dict[str, Any]) -> list[str]:
    """Submit several at once; their ids."""
    answer = server.client.post("/jobs", json=list(jobs))
    assert answer.status_code == 201, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def work(queue: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "work", "queue": queue, "payload": {"seconds": 0}, **fields}


def test_a_thousand_listeners_hear_all_that_they_want(server: ServerProcess) -> None:
    """By all jobs, by queue, by status, by job: each is told every event that it wants, once and in order."""
    watched_jobs = submit(server, *(work("watched", delay=3) for _ in range(100)))
    with Crowd(server.address) as crowd:
        everything = crowd.join(400, "/events")
        of_queue = crowd.join(300, "/events?queue=a")
        of_ends = crowd.join(200, "/events?queue=a,b&status=DONE")
        of_one = [crowd.join(1, f"/jobs/{id}/events")[0] for id in watched_jobs]
        a, b = (submit(server, *(work(queue) for _ in range(JOBS))) for queue in "ab")
        slowest = 0.0

        def all_told() -> bool:
            nonlocal slowest
            began = time.monotonic()
            assert server.client.get("/readyz").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            ends = [listener.data.count(b'"DONE"') for listener in everything]
            rest = [listener.data.count(b'"DONE"') for listener in (*of_queue, *of_ends)]
            counts = [2 * JOBS + 100] * 400 + [JOBS] * 300 + [2 * JOBS] * 200
            return [*ends, *rest] == counts and all(listener.closed or listener.whole for listener in of_one)

        crowd.read_until(all_told, 60)
        assert slowest < SLACK_SECONDS
        assert_lives(everything, [*a, *b], LIFE, others=watched_jobs)
        assert_lives(of_queue, a, LIFE)
        assert_lives(of_ends, [*a, *b], LIFE[-1:])
        for id, listener in zip(watched_jobs, of_one, strict=True):
            lived = [event.data["status"] for event in listener.events]
            whole = ["SCHEDULED", *LIFE]
            assert lived == whole[-len(lived) :]
            assert {event.data["id"] for event in listener.events} == {id}
            assert listener.whole


def assert_lives(
    listeners: Sequence[Listener], ids: Sequence[str], life: list[str], others: Sequence[str] = ()
) -> None:
    """All were told the same: the life of each of these jobs, in order, with numbers that only grow."""
    first = listeners[0]
    assert all(listener.body == first.body for listener in listeners)
    numbers = [event.number for event in first.events]
    assert numbers == sorted(set(numbers))
    lives: dict[str, list[str]] = {}
    for event in first.events:
        assert event.name == "job"
        lives.setdefault(event.data["id"], []).append(event.data["status"])
    assert {id: lived for id, lived in lives.items() if id not in others} == dict.fromkeys(ids, life)
    assert all(lives[id] == LIFE for id in others)


def test_a_listener_that_comes_back_hears_what_it_missed(server: ServerProcess) -> None:
    """Over a new connection, with the id of the last event that it got; after a restart it is told of the gap."""
    first, second = submit(server, work("a"), work("a"))
    server.wait(first), server.wait(second)
    with Crowd(server.address) as crowd:
        (listener,) = crowd.join(1, f"/jobs/{first}/events")
        crowd.read_until(lambda: listener.whole, 30)
        (end,) = listener.events
    boot = end.id.rpartition("-")[0]
    assert server.get(f"/jobs/{first}/events", headers={"last-event-id": end.id}).status_code == 204
    with server.client.stream("GET", "/events", headers={"last-event-id": f"{boot}-0"}) as answer:
        missed = read_events(answer.iter_lines(), 6)
    assert [line for line in missed if line.startswith("id: ")] == [f"id: {boot}-{number}" for number in range(1, 7)]
    with server.client.stream(
        "GET", "/events", headers={"last-event-id": "0192f0c17e1a7cc398c4dc0c0c07398f-9"}
    ) as answer:
        assert "event: gap" in read_events(answer.iter_lines(), 1)


def read_events(lines: Iterator[str], count: int) -> list[str]:
    """The lines up to the data of so many events."""
    found: list[str] = []
    for line in lines:
        found.append(line)
        if sum(line.startswith("data: ") for line in found) == count:
            break
    return found


def test_a_listener_that_never_reads_is_closed_and_holds_nothing_up(tmp_path: Path) -> None:
    """After 5 s without progress; meanwhile jobs are accepted and others are told, and then nothing of it is left."""
    lines = b'{"kind":"x","queue":"parked"}\n' * COUNT
    with watched(tmp_path) as server:
        at_rest = server.settled()
        with server.connect(receive_buffer=4096) as stalled, Crowd(("127.0.0.1", server.port)) as crowd:
            stalled.send(request(b"GET /events"))
            (reader,) = crowd.join(1, "/events")
            began = time.monotonic()
            with server.connect() as raw:
                raw.sock.settimeout(60)
                assert raw.ask(post(lines, NDJSON)).body.count(b'"QUEUED"') == COUNT
            submitted = time.monotonic() - began
            crowd.read_until(lambda: heard_of(reader) >= COUNT, 30)
            stalled.wait_for_hangup()
            assert submitted < SLACK_SECONDS
            assert 5 <= time.monotonic() - began < submitted + 5 + SLACK_SECONDS
            assert server.ask(request(b"GET /readyz")).status == 200
        assert server.rests(at_rest), f"{server.state} is not {at_rest}"


def heard_of(listener: Listener) -> int:
    """How many events a listener was told, or told that it has missed."""
    gaps = [int(number) for number in MISSED.findall(listener.data)]
    return listener.data.count(b"event: job") + sum(gaps)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_stop_ends_all_streams_in_order(server: ServerProcess, number: int) -> None:
    """All hear the last of it, a job that was given back; then their answers end, and so does the server, in time."""
    job = server.submit(kind="wait", queue="a")["id"]
    with Crowd(server.address) as crowd:
        listeners = [*crowd.join(200, "/events"), *crowd.join(100, f"/jobs/{job}/events")]
        idle = crowd.join(100, "/events?queue=nobody")
        with stalled_listener(server):
            began = time.monotonic()
            server.send(number)
            everybody = [*listeners, *idle]
            crowd.read_until(lambda: all(listener.closed for listener in everybody), 30)
            assert server.exit_code() == 0
            assert time.monotonic() - began < 1 + 2 + SLACK_SECONDS
        assert all(listener.whole for listener in everybody)
        assert {listener.events[-1].data["status"] for listener in listeners} == {"QUEUED"}
        assert not any(listener.events for listener in idle)


def stalled_listener(server: ServerProcess) -> Raw:
    """One that listens and reads nothing."""
    raw = Raw(server.address[1], receive_buffer=4096)
    raw.send(request(b"GET /events"))
    return raw


def test_a_thousand_connections_do_not_hit_the_bound_on_open_files(tmp_path: Path) -> None:
    """A shell allows 1,024 files: the server allows itself as many as its connections need."""
    limited = ("sh", "-c", 'ulimit -S -n 256; exec "$0" -m jobqueue "$@"', sys.executable)
    with running_server(tmp_path, command=limited) as server, Crowd(server.address) as crowd:
        assert len(crowd.join(500, "/events")) == 500
        with socket.create_connection(server.address):
            assert server.get("/readyz").status_code == 200
