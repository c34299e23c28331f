"""What brings other servers down, tried on ours: it lives, serves others meanwhile, and is as before in the end."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.raw_http import JSON, NDJSON, Raw, eventually, post, request
from tests.e2e.watched_server import TOY, Vitals, Watched, watched

POST = post(b'{"kind":"a"}')
CHUNKED = request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n")
LINES = request(b"POST /jobs", NDJSON + b"Transfer-Encoding: chunked\r\n") + b'd\r\n{"kind":"a"}\n\r\n'
PAGE = request(b"GET /jobs?limit=200")
READY = request(b"GET /readyz")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server under attack, with a job that never starts and pages of jobs to list."""
    with watched(tmp_path_factory.mktemp("attacks")) as server:
        yield server


@pytest.fixture(scope="module")
def poll(server: Watched) -> bytes:
    """A request that is not answered for a minute."""
    accepted = server.ask(post(b'{"kind":"a","delay":3600}'))
    return request(b"GET /jobs/%s?wait=60" % accepted.json()["id"].encode())


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first attack."""
    return server.settled()


def leave(raw: Raw, *, politely: bool) -> None:
    """Close, or reset."""
    if politely:
        with raw:
            pass
    else:
        raw.reset()


def test_clients_that_pipeline_and_leave_do_no_harm(server: Watched, poll: bytes) -> None:
    """At any point, politely or not."""
    for i in range(50):
        for data in (POST * 2, POST[:-5], CHUNKED, LINES, PAGE * 20, poll + POST, poll * 2):
            raw = server.connect()
            raw.send(data[: len(data) - i % 3])
            leave(raw, politely=i % 2 == 0)
    assert server.ask(READY).status == 200


def test_clients_that_leave_amid_a_flood_do_no_harm(tmp_path: Path) -> None:
    """Nor those that leave a stream without end."""
    with watched(tmp_path, program=TOY) as toy:
        at_rest = toy.settled()
        for i in range(50):
            for data in (request(b"GET /flood") * 2, request(b"GET /ticks")):
                raw = toy.connect()
                raw.send(data)
                leave(raw, politely=i % 2 == 0)
        assert toy.rests(at_rest), f"{toy.state} is not {at_rest}"


def test_forty_bad_chunks_do_no_harm(server: Watched) -> None:
    """Each in the middle of a body, and the client does not wait for the answer."""
    for start in (CHUNKED, LINES):
        for _ in range(40):
            with server.connect() as raw:
                raw.send(start, b"5\r\nhello\r\n", b"\xff\xff\r\n")
    assert server.ask(READY).status == 200


@pytest.mark.parametrize("line", [b"GET /jobs/none", b"GET /readyz", b"POST /submit"], ids=bytes.decode)
def test_http_2_frames_do_no_harm(server: Watched, line: bytes) -> None:
    """After an upgrade that was not granted they are no request, nor are they without one."""
    settings = b"\0\0\0\4\0\0\0\0\0"
    priorities = b"\0\0\5\2\0\0\0\0\1\0\0\0\0\20" * 1001
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    for data in (
        request(line, wish) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + priorities,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + priorities,
        request(line, b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n") + b"x",
    ):
        with server.connect() as raw:
            assert raw.ask(data).status in (200, 400, 404)
    assert server.ask(READY).status == 200


def test_connections_beyond_the_bound_are_closed(tmp_path: Path) -> None:
    """Those within it are served meanwhile, and their places are given back."""
    with watched(tmp_path, "--max-connections", "20") as server:
        at_rest = server.settled()
        with contextlib.ExitStack() as held, server.connect() as last:
            for _ in range(19):
                held.enter_context(server.connect())
            assert last.ask(READY).status == 200
            for _ in range(30):
                with server.connect() as excess:
                    assert excess.ends()
            assert last.ask(READY).status == 200
            assert last.ask(POST).status == 201
        assert eventually(lambda: is_served(server))
        assert server.rests(at_rest), f"{server.state} is not {at_rest}"


def is_served(server: Watched) -> bool:
    """Whether a new client gets an answer."""
    try:
        return server.ask(READY).status == 200
    except OSError:
        return False


def test_one_address_cannot_keep_others_out(tmp_path: Path) -> None:
    """It may hold half of the connections; /readyz stays up for everybody else."""
    own = own_address()
    assert own is not None, "this test needs an address of this machine beside the loopback ones"
    options = ("--host", "0.0.0.0", "--auth", "open", "--max-connections", "20")
    with watched(tmp_path, *options) as server, contextlib.ExitStack() as held:
        for _ in range(10):
            raw = held.enter_context(Raw(server.port, host=own))
            assert raw.ask(READY).status == 200
        for _ in range(10):
            with Raw(server.port, host=own) as excess:
                assert excess.ends()
        for _ in range(10):
            assert server.ask(READY).status == 200


def own_address() -> str | None:
    """An address of this machine by which others reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a way
        except OSError:
            return None
        address = str(sock.getsockname()[0])
    return None if address.startswith("127.") else address


def test_running_out_of_files_is_survived(tmp_path: Path) -> None:
    """The kernel holds the rest of the clients until there is room."""
    with watched(tmp_path, around=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]) as server:
        at_rest = server.settled()
        flood = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for sock in flood:
            sock.close()
        assert server.ask(POST).status == 201
        assert eventually(lambda: server.state[:2] == at_rest[:2]), f"{server.state} is not {at_rest}"


def test_a_full_queue_is_429(tmp_path: Path) -> None:
    """By each way in, with a time to come again; what is queued is served on."""
    with watched(tmp_path, "--max-queued", "1") as server:
        assert server.ask(post(b'{"kind":"a","delay":3600}')).status == 201
        for data in (POST, post(b'[{"kind":"a"}]'), post(b"{}", path=b"/submit")):
            with server.connect() as raw:
                answer = raw.ask(data)
                assert (answer.status, answer.problem) == (429, "queue-full")
                assert 1 <= int(answer.headers["retry-after"]) <= 300
                assert raw.ask(READY).status == 200
        assert b'"/problems/queue-full"' in server.ask(post(b'{"kind":"a"}\n', NDJSON)).body


def test_the_end_does_not_wait_for_bad_clients(tmp_path: Path) -> None:
    """Idle, with half a head, body or stream, one that never reads, a long poll: exit 0 after the grace."""
    with watched(tmp_path, "--grace", "0.5") as server, contextlib.ExitStack() as clients:
        job = server.ask(post(b"[%s]" % b",".join([b'{"kind":"a","delay":3600}'] * 200))).json()["jobs"][0]["id"]
        idle, head, body, lines, deaf, poll = (
            clients.enter_context(server.connect(receive_buffer=4096)) for _ in range(6)
        )
        assert idle.ask(POST).status == 201
        head.send(POST[:20])
        body.send(POST[:-5])
        lines.send(LINES)
        deaf.send(PAGE * 100)
        poll.send(request(b"GET /jobs/%s?wait=60" % job.encode()))
        assert server.ask(POST).status == 201
        began = time.monotonic()

        assert server.process.kill(signal.SIGTERM) == 0
        assert time.monotonic() - began < 10


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
