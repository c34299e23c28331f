"""Ten thousand requests, each damaged by chance: the server answers what it can, and is as before in the end.

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

from tests.e2e.raw_http import TOY, ServerProcess, eventually, vitals

COUNT = int(os.environ.get("MUTATIONS", "10000"))
SEED = os.environ.get("MUTATION_SEED", "7")
THREADS = 64
REPLAY = f"MUTATION_SEED={SEED} MUTATIONS={COUNT} pytest tests/e2e/test_mutations.py"

HOST = b"Host: localhost\r\n"
BODY = b'{"kind":"simulate"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
GOOD = b"POST /jobs HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY
SEEDS = [
    GOOD,
    b"POST /jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n13\r\n" + BODY + b"\r\n0\r\nX: y\r\n\r\n",
    b"POST /jobs HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-ndjson\r\nContent-Length: 6\r\n\r\n{}\n{}\n",
    b"POST /jobs HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH + b"\r\n" + BODY,
    b"GET /jobs/abc HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /readyz HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /events HTTP/1.0\r\n" + HOST + b"\r\n",
    b"HEAD http://localhost/jobs HTTP/1.1\r\n" + HOST + b"\r\n",
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
KNOWN = {200, 201, 400, 404, 405, 408, 413, 414, 417, 431, 501}
STATUS_LINE = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The server that gets it all."""
    with ServerProcess(TOY) as server:
        yield server


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


def attack(server: ServerProcess, number: int) -> set[int]:
    """Send one mutant in two parts, and leave in one of three ways; the statuses that came back."""
    chance = random.Random(f"{SEED}-{number}")  # each has its own, so that threads do not matter
    data = mutant(chance)
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


def test_mutated_requests_do_no_harm(server: ServerProcess) -> None:
    """Only known answers, no error inside, nothing left open, and good requests are served as ever."""
    at_rest = vitals(server)
    with ThreadPoolExecutor(THREADS) as threads:
        outcomes = list(threads.map(lambda number: attack(server, number), range(COUNT)))

    assert server.alive, f"the server died; again: {REPLAY}"
    statuses = Counter(status for seen in outcomes for status in seen)
    assert set(statuses) <= KNOWN | {100}, f"{statuses}; again: {REPLAY}"
    assert eventually(lambda: vitals(server) == at_rest), f"{vitals(server)} is not {at_rest}; again: {REPLAY}"
    assert server.ask(GOOD).status == 201
