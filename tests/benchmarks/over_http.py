"""What is measured from outside, over HTTP: each measure starts the server afresh, on a file of its own."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jobqueue.job import Status
from tests.benchmarks import load, servers
from tests.benchmarks.load import Unmeasured
from tests.benchmarks.machine import cpu_seconds, percentile, rss_mb
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Running

Figures = Mapping[str, float]

CONNECTIONS, MANY_CONNECTIONS = 32, 128
BULK, BULK_CONNECTIONS = 1_000, 4
STATUS_IDS = 1_000
PARKED = "parked"  # a queue that no worker serves
GAP_SECONDS = 0.01
SETTLE_SECONDS = 1.0
ONE_JOB = json.dumps(load.job())
BULK_ARRAY = json.dumps([load.job(queue=PARKED)] * BULK)
BULK_LINES = f"{json.dumps(load.job(queue=PARKED))}\n" * BULK


def loaded(server: Running, script: Path, connections: int, plan: Plan) -> dict[str, float]:
    """Warm up, then measure, with what the server used of its core."""
    load.wrk(server.port, script, connections, plan.warm_seconds)
    used = cpu_seconds(server.pid)
    figures = load.wrk(server.port, script, connections, plan.seconds)
    return {**figures, "cpu": 1e6 * (cpu_seconds(server.pid) - used) / figures["requests"]}


def stock(plan: Plan, folder: Path) -> Figures:
    """The peer answers a constant, to the same requests."""
    with servers.stock(folder) as server:
        posted = loaded(server, load.posting(folder, ONE_JOB), CONNECTIONS, plan)
        asked = loaded(server, load.asking(folder, ["0192f0c1-7e1a-7cc3-98c4-dc0c0c07398f"]), CONNECTIONS, plan)
    return {**posted, "get": asked["rate"]}


def post(plan: Plan, folder: Path) -> Figures:
    """Durable jobs one by one, which run as well."""
    with servers.ours(folder) as server:
        return _posted(server, CONNECTIONS, plan, folder)


def post_many(plan: Plan, folder: Path) -> Figures:
    """The same with more connections and workers."""
    with servers.ours(folder, workers=128) as server:
        return _posted(server, MANY_CONNECTIONS, plan, folder)


def post_slow_disk(plan: Plan, folder: Path) -> Figures:
    """The same on a disk whose every sync takes 5 ms more."""
    with servers.ours(folder, workers=128, slow_sync=True) as server:
        return _posted(server, MANY_CONNECTIONS, plan, folder)


def _posted(server: Running, connections: int, plan: Plan, folder: Path) -> Figures:
    figures = loaded(server, load.posting(folder, ONE_JOB), connections, plan)
    counts = server.counts()
    return {**figures, "run": 100 * counts.get(Status.DONE, 0) / sum(counts.values())}


def status(plan: Plan, folder: Path) -> Figures:
    """The status of one job after another, of a thousand that have ended."""
    with servers.ours(folder) as server:
        jobs = server.ask("POST", "/jobs", json.dumps([load.job()] * STATUS_IDS))["jobs"]
        return loaded(server, load.asking(folder, [job["id"] for job in jobs]), CONNECTIONS, plan)


def bulk_array(plan: Plan, folder: Path) -> Figures:
    """A thousand jobs a request, as an array."""
    return _bulk(plan, folder, BULK_ARRAY, load.JSON)


def bulk_lines(plan: Plan, folder: Path) -> Figures:
    """A thousand jobs a request, as a stream of lines."""
    return _bulk(plan, folder, BULK_LINES, load.NDJSON)


def _bulk(plan: Plan, folder: Path, body: str, media_type: str) -> Figures:
    with servers.ours(folder, "--max-queued=1000000000") as server:
        figures = loaded(server, load.posting(folder, body, media_type), BULK_CONNECTIONS, plan)
    return {**figures, "jobs": figures["rate"] * BULK, "cpu": figures["cpu"] / BULK}


def idle(plan: Plan, folder: Path) -> Figures:
    """Milliseconds from the submission, one at a time on an idle server, until its handler had started."""
    body = json.dumps(load.job("stamp")).encode()
    head = b"POST /jobs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nprefer: wait=10\r\n"
    request = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    taken = []
    with servers.ours(folder, workers=5) as server, _connected(server.port) as connection:
        for number in range(plan.idle_jobs + 20):
            time.sleep(GAP_SECONDS)
            began = time.monotonic_ns()
            connection.sendall(request)
            started = json.loads(_body(connection))["result"]
            if number >= 20:  # the first ones warm up
                taken.append((started - began) / 1e6)
    return {"p50": statistics.median(taken), "p99": percentile(taken, 99)}


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _body(connection: socket.socket) -> bytes:
    """The body of one answer with a content-length."""
    answer = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise Unmeasured("the server closed the connection")
        answer += piece
        head, blank, body = answer.partition(b"\r\n\r\n")
        if blank and len(body) == int(head.lower().partition(b"content-length:")[2].split()[0]):
            return body


def memory(plan: Plan, folder: Path) -> Figures:
    """MB held when idle, and how much more with jobs queued that nobody runs."""
    with servers.ours(folder, workers=5) as server:
        server.ask("GET", "/readyz")
        time.sleep(SETTLE_SECONDS)
        before = rss_mb(server.pid)
        for _ in range(plan.memory_jobs // BULK):
            server.ask("POST", "/jobs", BULK_ARRAY)
        time.sleep(SETTLE_SECONDS)
        return {"idle": before, "more": rss_mb(server.pid) - before}
