"""Ten thousand requests, each damaged by chance: the real server answers what it can, and is as before in the end.

`MUTATIONS` sets how many, `MUTATION_SEED` which ones; a failure prints how to run the same again.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.watched_server import Watched, watched

COUNT = int(os.environ.get("MUTATIONS", "10000"))
SEED = os.environ.get("MUTATION_SEED", "7")
THREADS = 64
REPLAY = f"MUTATION_SEED={SEED} MUTATIONS={COUNT} pytest tests/e2e/test_mutations.py"

HOST = b"Host: localhost\r\n"
BODY = b'{"kind":"a","payload":{"n":[1,"\xc3\xa9"]},"tags":["t"],"delay":0.1}'
ARRAY = b'[{"kind":"a"},{"kind":"b","queue":"other","priority":7}]'
LINES = b'{"kind":"a"}\n{"kind":"b","idempotency_key":"k"}\n'
TIED = b'[{"kind":"a","unique":{"key":"k","while":"exists"}},{"kind":"b","group":"g","depends_on":["#0"]}]'
JOB = b"01920000-0000-7000-8000-000000000000"  # of the length of an id, and replaced by one


def sent(line: bytes, body: bytes, *headers: bytes) -> bytes:
    """A request of another method, with a body."""
    more = b"".join(header + b"\r\n" for header in (*headers, b"Content-Length: %d" % len(body)))
    return b"%s HTTP/1.1\r\n%s%s\r\n%s" % (line, HOST, more, body)


def posted(path: bytes, body: bytes, *headers: bytes) -> bytes:
    """A submission with a length."""
    return sent(b"POST %s" % path, body, *headers)


def chunked(path: bytes, *pieces: bytes, type: bytes) -> bytes:
    """A submission in chunks, with a trailer."""
    head = b"POST %s HTTP/1.1\r\n%s%s\r\nTransfer-Encoding: chunked\r\n\r\n" % (path, HOST, type)
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX: y\r\n\r\n"


def asked(line: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """A request without a body."""
    return b"%s HTTP/%s\r\n%s%s\r\n" % (line, version, HOST, b"".join(header + b"\r\n" for header in headers))


JSON = b"Content-Type: application/json"
NDJSON = b"Content-Type: application/x-ndjson"
GOOD = posted(b"/jobs", BODY, JSON)
SEEDS = [
    GOOD,
    posted(b"/jobs", BODY, JSON, b"Idempotency-Key: k", b"Prefer: wait=1"),
    posted(b"/jobs", ARRAY, JSON),
    chunked(b"/jobs", BODY[:9], BODY[9:], type=JSON),
    chunked(b"/jobs", LINES[:9], LINES[9:], type=NDJSON),
    posted(b"/jobs", LINES, NDJSON),
    posted(b"/jobs", BODY, JSON, b"Connection: upgrade", b"Upgrade: websocket"),
    posted(b"/jobs", BODY, JSON, b"Expect: 100-continue"),
    posted(b"/submit", b'{"payload":"x"}', b"Content-Type: application/x-www-form-urlencoded"),
    posted(b"/jobs/%s/cancel" % JOB, b""),
    posted(b"/jobs/%s/retry" % JOB, b"{}", JSON),
    asked(b"GET /jobs/%s?wait=1" % JOB),
    asked(b"GET /jobs/%s?fields=id,status" % JOB, b"Connection: Upgrade", b"Upgrade: h2c", b"If-None-Match: *"),
    asked(b"GET /status/%s" % JOB, version=b"1.0"),
    asked(b"GET /jobs?limit=2&status=FAILED,QUEUED&tag=t&created_after=2026-01-01T00:00:00Z"),
    asked(b"GET /jobs/%s/logs" % JOB),
    posted(b"/jobs", TIED, JSON),
    posted(b"/jobs/cancel", b'{"filter":{"queue":"other","payload.a":1},"dry_run":true}', JSON),
    posted(b"/schedules/s/trigger", b""),
    sent(b"PATCH /queues/other", b'{"paused":true,"rate":{"limit":5,"per":60},"weights":{"g":2}}', JSON),
    sent(b"PUT /schedules/s", b'{"cron":"0 3 * * *","timezone":"Europe/Berlin","job":{"kind":"a"}}', JSON),
    sent(b"PATCH /jobs/%s" % JOB, b'{"priority":3,"run_at":null}', JSON),
    asked(b"DELETE /jobs/01920000-0000-7000-8000-00000000000f"),
    asked(b"GET /jobs/%s/explain" % JOB),
    asked(b"GET /jobs?payload.to=x&group=g&kind=a&limit=3"),
    asked(b"GET /jobs/%s/events" % JOB, b"Last-Event-ID: x-1"),
    asked(b"GET /readyz"),
    asked(b"HEAD http://localhost/jobs"),
]
SCRAPS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\xff",
    b"0",
    b"f" * 40,
    b"%00",
    b"//",
    b"chunked",
    b"Content-Length: 1\r\n",
    b"HTTP/1.0",
    b"CONNECT ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
KNOWN = {100, 200, 201, 202, 304, 400, 403, 404, 405, 408, 409, 413, 414, 415, 417, 422, 431, 501}
STATUS_LINE = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that gets it all."""
    with watched(tmp_path_factory.mktemp("mutations")) as server:
        yield server


@pytest.fixture(scope="module")
def job(server: Watched) -> bytes:
    """The id of a job that waits."""
    return str(server.ask(posted(b"/jobs", b'{"kind":"a","delay":3600}', JSON)).json()["id"]).encode()


def mutant(chance: random.Random) -> bytes:
    """One to three good requests in a row, with one to four things done to them."""
    data = bytearray(chance.choice(SEEDS) * chance.randint(1, 3))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.choice(["cut", "insert", "change", "cross"]):
            case "cut":
                del data[at : at + chance.randint(1, 8)]
            case "insert":
                data[at:at] = chance.choice(SCRAPS)
            case "change":
                data[at : at + 1] = bytes([chance.randrange(256)])
            case "cross":
                data[at:at] = chance.choice(SEEDS)
    return bytes(data)


def attack(server: Watched, job: bytes, number: int) -> set[int]:
    """Send one mutant in two parts, and leave in one of three ways; the statuses that came back."""
    chance = random.Random(f"{SEED}-{number}")  # each has its own, so that threads do not matter
    data = mutant(chance).replace(JOB, job)
    cut = chance.randrange(len(data) + 1)
    seen = b""
    with contextlib.suppress(ConnectionError), server.connect() as raw:
        raw.send(data[:cut], data[cut:])
        match chance.choice(["reset", "leave", "half-close", "half-close"]):
            case "reset":
                raw.reset()
            case "half-close":
                raw.send_eof()
                try:
                    while piece := raw.sock.recv(65536):
                        seen += piece
                except TimeoutError:
                    raise AssertionError(f"mutant {number} has no end: {data!r}; again: {REPLAY}") from None
    return {int(status) for status in STATUS_LINE.findall(seen)}


def test_mutated_requests_do_no_harm(server: Watched, job: bytes) -> None:
    """Only known answers, no fault inside, nothing left open, and good requests are served as ever."""
    at_rest = server.settled()
    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = list(threads.map(lambda number: attack(server, job, number), range(COUNT)))

    statuses = Counter(status for seen in outcomes for status in seen)
    assert set(statuses) <= KNOWN, f"{statuses}; again: {REPLAY}"
    assert server.ask(GOOD).status == 201, f"again: {REPLAY}"
    assert server.rests(at_rest), f"{server.state} is not {at_rest}; again: {REPLAY}\n{server.process.log}"
