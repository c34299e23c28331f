"""What brings other servers down, tried on ours: it lives, serves others meanwhile, and is as before in the end."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e.raw_http import JSON, TOY, ServerProcess, Vitals, eventually, post, request, vitals

POST = post(b'{"kind":"simulate"}')
CHUNKED = request(b"POST /jobs", JSON + b"Transfer-Encoding: chunked\r\n")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The server under attack."""
    with ServerProcess(TOY) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: ServerProcess) -> Vitals:
    """The vital signs of the server before the first of them."""
    return vitals(server)


def test_clients_that_pipeline_and_leave_do_no_harm(server: ServerProcess) -> None:
    """At any point, politely or not."""
    for i in range(50):
        for data in (POST * 2, POST[:-5], CHUNKED, request(b"GET /flood") * 2, request(b"GET /wait") + POST):
            raw = server.connect()
            raw.send(data[: len(data) - i % 3])
            if i % 2:
                raw.reset()
            else:
                with raw:
                    pass
    assert server.ask(POST).status == 201


def test_forty_bad_chunks_do_no_harm(server: ServerProcess) -> None:
    """Each in the middle of a body, and the client does not wait for the answer."""
    for _ in range(40):
        with server.connect() as raw:
            raw.send(CHUNKED, b"5\r\nhello\r\n", b"\xff\xff\r\n")
    assert server.ask(POST).status == 201


def test_http_2_frames_do_no_harm(server: ServerProcess) -> None:
    """After an upgrade that was not granted they are no request."""
    settings = b"\0\0\0\4\0\0\0\0\0"
    priorities = b"\0\0\5\2\0\0\0\0\1\0\0\0\0\20" * 1001
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    for data in (
        request(b"GET /jobs/none", wish) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + priorities,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + priorities,
        request(b"GET /jobs/none", b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        + b"x",
    ):
        with server.connect() as raw:
            assert raw.ask(data).status in (400, 404)
    assert server.ask(POST).status == 201


def test_connections_beyond_the_bound_are_closed() -> None:
    """Those within it are served meanwhile, and their places are given back."""
    with ServerProcess([*TOY, "20"]) as server:
        with contextlib.ExitStack() as held, server.connect() as last:
            for _ in range(19):
                held.enter_context(server.connect())
            assert last.ask(POST).status == 201
            for _ in range(30):
                with server.connect() as excess:
                    assert excess.ends()
            assert last.ask(POST).status == 201
        assert eventually(lambda: is_served(server))


def is_served(server: ServerProcess) -> bool:
    """Whether a new client gets an answer."""
    try:
        return server.ask(POST).status == 201
    except OSError:
        return False


def test_running_out_of_files_is_survived() -> None:
    """The kernel holds the rest of the clients until there is room."""
    with ServerProcess(["sh", "-c", f"ulimit -n 64; exec {' '.join(TOY)}"]) as server:
        flood = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for sock in flood:
            sock.close()
        assert server.ask(POST).status == 201


def test_the_end_does_not_wait_for_bad_clients() -> None:
    """An idle one, half a head, half a body, one that never reads, a long poll: exit 0 when the grace is over."""
    with ServerProcess(TOY) as server, contextlib.ExitStack() as clients:
        idle, head, body, deaf, poll = [clients.enter_context(server.connect(receive_buffer=4096)) for _ in range(5)]
        assert idle.ask(POST).status == 201
        head.send(POST[:20])
        body.send(POST[:-5])
        deaf.send(request(b"GET /flood"))
        poll.send(request(b"GET /wait"))
        assert server.ask(POST).status == 201
        began = time.monotonic()
        server.terminate()

        assert server.ended() == 0
        assert time.monotonic() - began < 5


def test_after_all_this_the_server_is_as_before(server: ServerProcess, at_rest: Vitals) -> None:
    """Same open files, same tasks, no connection left, and no error inside."""
    assert eventually(lambda: vitals(server) == at_rest), f"{vitals(server)} is not {at_rest}"
