"""SIGTERM and SIGINT: the server stops in order, in time, and loses nothing (promise 7).

SIGTERM_CYCLES is how often it is stopped under load (50). Times are asserted with slack for a busy machine.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.e2e.aftermath import end_all_jobs, wrongs
from tests.e2e.callers import Callers
from tests.e2e.crash_handlers import BEGAN, JOURNAL, REGISTRY, read_journal
from tests.e2e.fork_server import ForkServer
from tests.e2e.server_process import COMMAND, STORE, ServerProcess, running_server, server_forks

CYCLES = int(os.environ.get("SIGTERM_CYCLES", "50"))
SOAK_CYCLES = int(os.environ.get("SIGTERM_CYCLES", "5000"))
SLACK_SECONDS = 10.0
BEGIN_SECONDS = 30.0
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)

Serve = Callable[..., AbstractContextManager[ServerProcess]]


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with server_forks() as forks:
        yield forks


@pytest.fixture
def serve(forks: ForkServer, tmp_path: Path) -> Serve:
    """Lives of one server with the journalling handlers."""

    def life(*options: str) -> AbstractContextManager[ServerProcess]:
        env = {JOURNAL: str(tmp_path / "journal")}
        return running_server(tmp_path, *options, handlers=[REGISTRY], env=env, forks=forks)

    return life


def start_job(server: ServerProcess, kind: str, **payload: Any) -> str:
    """Submit a job, and wait until its handler runs."""
    id = str(server.submit(kind=kind, payload={"say": True, **payload})["id"])
    assert server.log.wait(BEGAN, BEGIN_SECONDS)
    return id


def assert_given_back(serve: Serve, id: str) -> None:
    """The next life finds the job queued, with no try spent and no crash counted."""
    with serve("--workers", "0") as server:
        job = server.get(f"/jobs/{id}").json()
        assert (job["status"], job["attempt"], job["crashes"], job["epoch"]) == ("QUEUED", 0, 0, 1)


def stopped_in(server: ServerProcess, number: int = signal.SIGTERM) -> float:
    """Seconds from a signal to the end, which must be in order."""
    start = time.monotonic()
    assert server.kill(number) == 0, str(server.log)
    return time.monotonic() - start


def stop_in_cycles(cycles: int, serve: Serve, folder: Path) -> None:
    """Stop the server under load so often, then let all jobs end and look at what there is."""
    seed = int(os.environ.get("SIGTERM_SEED", random.SystemRandom().randrange(1 << 32)))
    chance = random.Random(seed)
    grace = 0.1
    with Callers(4, seed, lambda chance: chance.choice((0, 0, 0.02, 0.2))) as callers:
        for _ in range(cycles):
            with serve("--grace", str(grace)) as server:
                callers.at(server.address)
                assert callers.wait_for_answers(chance.randint(0, 60), 30), f"no answers:\n{server.log}"
                assert stopped_in(server, chance.choice((signal.SIGTERM, signal.SIGINT))) < grace + 2 + SLACK_SECONDS
        with serve("--workers", "64") as server:
            callers.at(server.address)
            callers.leave()
            end_all_jobs(server)
            assert server.kill(signal.SIGTERM) == 0
    bad = [*wrongs(folder / STORE, callers.told, read_journal(folder / "journal")), *wrongly_counted(folder / STORE)]
    again = f"SIGTERM_SEED={seed} SIGTERM_CYCLES={cycles} pytest {__file__}"
    assert not bad, f"{len(bad)} faults in {len(callers.told.jobs)} jobs; see again: {again}\n" + "\n".join(bad[:20])


def wrongly_counted(store: Path) -> Iterator[str]:
    """Jobs whose try was counted though it was given back, or with a crash counted though nothing crashed."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
    given_back: Any = connection.execute("SELECT count(*) FROM attempts WHERE ending = 'released'").get
    if not given_back:
        yield "no attempt was given back: the test shows nothing"
    for row in connection.execute("SELECT seq, status, attempt, crashes FROM jobs WHERE crashes OR attempt > 1"):
        yield f"(seq, status, attempt, crashes) {row}"
    for row in connection.execute("SELECT seq, ending FROM attempts WHERE ending NOT IN ('done', 'released')"):
        if row[1] != "cancelled":
            yield f"(seq, ending) {row}"
    connection.close()


def test_stopping_under_load_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """50 times: exit code 0 within grace + 2 s, no accepted job lost, no attempt and no crash wrongly counted."""
    stop_in_cycles(CYCLES, serve, tmp_path)


@pytest.mark.soak
def test_stopping_5_000_times_under_load_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """The same 5,000 times."""
    stop_in_cycles(SOAK_CYCLES, serve, tmp_path)


@BOTH
def test_running_jobs_have_the_grace(serve: Serve, number: int) -> None:
    """A job that ends within the grace is DONE before the server goes."""
    with serve("--grace", "30") as server:
        id = start_job(server, "work", seconds=0.5)
        assert stopped_in(server, number) < 0.5 + 2 + SLACK_SECONDS
    with serve("--workers", "0") as server:
        assert server.get(f"/jobs/{id}").json()["status"] == "DONE"


@BOTH
def test_what_does_not_end_in_its_grace_is_given_back_unspent(serve: Serve, number: int) -> None:
    """A job that outlasts the grace is told to stop and is QUEUED again, its try not spent."""
    with serve("--grace", "0.2") as server:
        id = start_job(server, "wait")
        assert stopped_in(server, number) < 0.2 + 2 + SLACK_SECONDS
    assert_given_back(serve, id)


def test_a_stuck_handler_does_not_hold_the_server(serve: Serve) -> None:
    """A handler that refuses to be cancelled is left behind: exit code 0 within grace + 2 s, its job QUEUED again."""
    with serve("--grace", "0.2") as server:
        id = start_job(server, "stuck")
        assert stopped_in(server) < 0.2 + 2 + SLACK_SECONDS
    assert_given_back(serve, id)


@BOTH
def test_a_second_signal_gives_back_now(serve: Serve, number: int) -> None:
    """With a grace of a minute the second signal ends it at once, in order: exit code 0, the job QUEUED again."""
    with serve("--grace", "60") as server:
        id = start_job(server, "wait")
        server.send(number)
        assert server.log.wait("draining", BEGIN_SECONDS)
        assert stopped_in(server, number) < 2 + SLACK_SECONDS
    assert_given_back(serve, id)


def test_a_third_signal_ends_the_process(serve: Serve) -> None:
    """Even while a handler holds the whole loop: exit code 1, and the job exists."""
    with serve("--grace", "60") as server:
        id = start_job(server, "block")
        for _ in range(100):  # signals that come too fast for one another count as one
            server.send(signal.SIGTERM)
            try:
                assert server.exit_code(0.1) == 1
            except TimeoutError:
                continue
            break
        else:
            raise AssertionError("100 signals did not end it")
    with serve("--workers", "0") as server:
        job = server.get(f"/jobs/{id}").json()
        assert (job["status"], job["attempt"], job["crashes"]) == ("QUEUED", 0, 1)


def test_a_hang_beyond_the_grace_is_ended(serve: Serve) -> None:
    """One signal is enough even if the loop never runs again: after grace + 10 s the last net ends the process."""
    with serve("--grace", "0.2") as server:
        start_job(server, "block")
        start = time.monotonic()
        assert server.kill(signal.SIGTERM) == 1
        assert 10 < time.monotonic() - start < 10.2 + 2 + SLACK_SECONDS


def test_readiness_and_submissions_end_at_once(serve: Serve) -> None:
    """While running jobs have their grace /readyz and POST /jobs answer 503 draining, and reads go on."""
    with serve("--grace", "60") as server:
        id = start_job(server, "wait")
        address = server.client  # a connection from before the signal
        assert address.get("/readyz").status_code == 200
        server.send(signal.SIGTERM)
        assert server.log.wait("draining", BEGIN_SECONDS)
        ready = until_503(lambda: server.get("/readyz").status_code)
        assert ready, "it still says that it is ready"
        refused = server.post("/jobs", json={"kind": "work"})
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/draining")
        assert 1 <= int(refused.headers["retry-after"]) <= 300
        assert server.get(f"/jobs/{id}").json()["status"] == "RUNNING"
        assert stopped_in(server) < 2 + SLACK_SECONDS


def until_503(ask: Callable[[], int]) -> bool:
    """Ask for at most a second: the log line may be a moment ahead of the answer."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if ask() == 503:
            return True
    return False


def test_submissions_go_on_through_the_drain_delay(serve: Serve) -> None:
    """With --drain-delay the server is not ready at once, but takes what load balancers still send."""
    with serve("--drain-delay", "60", "--grace", "0.2") as server:
        assert server.get("/readyz").status_code == 200
        server.send(signal.SIGTERM)
        assert server.log.wait("draining", BEGIN_SECONDS)
        assert until_503(lambda: server.get("/readyz").status_code)
        assert server.post("/jobs", json={"kind": "work", "payload": {}}).status_code == 201
        assert stopped_in(server) < 2 + SLACK_SECONDS


def test_those_who_wait_are_answered(serve: Serve) -> None:
    """A long poll of a job that still runs is answered with the job as it is when the server stops."""
    with serve("--grace", "0.2") as server:
        id = start_job(server, "wait")
        answers: list[Any] = []
        poll = threading.Thread(target=lambda: answers.append(server.get(f"/jobs/{id}?wait=60")))
        with socket.create_connection(server.address):  # its accept shows that the poll before it was accepted too
            poll.start()
            assert server.get("/healthz").status_code == 200
            assert stopped_in(server) < 0.2 + 2 + SLACK_SECONDS
        poll.join(BEGIN_SECONDS)
        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "RUNNING")]


def never_reads(server: ServerProcess) -> socket.socket:
    """A client that asks and asks, and does not read the answers."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(server.address)
    client.settimeout(0.5)
    request = b"GET /jobs?limit=200 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    try:
        for _ in range(20_000):
            client.sendall(request)
    except TimeoutError:
        pass  # the server reads no more from it, as nothing can be written to it
    return client


def idle(server: ServerProcess) -> socket.socket:
    """A client that keeps its connection, and asks nothing more."""
    client = socket.create_connection(server.address)
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    return client


def half_a_request(server: ServerProcess) -> socket.socket:
    """A client in the middle of a body."""
    client = socket.create_connection(server.address)
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    client.sendall(head + b'{"kind":')
    return client


@pytest.mark.parametrize("client", [never_reads, idle, half_a_request], ids=lambda client: client.__name__)
def test_no_client_holds_the_server(serve: Serve, client: Callable[[ServerProcess], socket.socket]) -> None:
    """A client that never reads, one that is idle, one in mid-request: exit code 0 within grace + 2 s all the same."""
    with serve("--grace", "0.2") as server:
        server.post("/jobs", json=[{"kind": "wait", "payload": "x" * 4_000, "delay": 3600}] * 200).raise_for_status()
        with client(server):
            assert stopped_in(server) < 0.2 + 2 + SLACK_SECONDS


@BOTH
def test_signals_work_as_pid_1(tmp_path: Path, number: int) -> None:
    """In a PID namespace of its own, as in a container without an init, the server stops in order too."""
    space = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    env = {JOURNAL: str(tmp_path / "journal")}
    grace = ("--grace", "0.2")
    with running_server(tmp_path, *grace, handlers=[REGISTRY], env=env, command=[*space, *COMMAND]) as server:
        start_job(server, "stuck")
        (pid,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        status = Path(f"/proc/{pid}/status").read_text()
        assert next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1] == "1"
        start = time.monotonic()
        os.kill(int(pid), number)
        assert server.exit_code() == 0, str(server.log)
        assert time.monotonic() - start < 0.2 + 2 + SLACK_SECONDS


def test_without_work_it_stops_at_once(tmp_path: Path) -> None:
    """`python -m jobqueue` with nothing to do is gone well before any grace."""
    with running_server(tmp_path, "--grace", "60") as server:
        assert server.get("/readyz").status_code == 200
        assert stopped_in(server) < 2 + SLACK_SECONDS
        assert not subprocess.run(["pgrep", "-P", str(server.pid)], check=False, capture_output=True).stdout
