"""One connection in memory: what it answers, when it closes, and that nothing that an app does harms it."""

from __future__ import annotations

import pytest
import structlog.testing
import trio
import trio.testing
from hypercorn.trio.worker_context import WorkerContext

from jobqueue.http.asgi import Receive, Scope, Send
from jobqueue.http.limits import Limits
from tests.unit.http_kit import GET, HOST, answers, body_of, connected, deaf, echo, head, piece, post, start


async def test_requests_follow_each_other() -> None:
    """A connection stays open between requests."""
    async with connected(echo) as client:
        for path in (b"/1", b"/2", b"/3"):
            (answer,) = await client.ask(head(start=b"GET " + path + b" HTTP/1.1"))
            assert answer.body == path
        assert client.is_open()
        assert client.counters.requests == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    """However many come at once."""
    async with connected(echo) as client:
        found = await client.ask(b"".join(post(b"%d" % i) for i in range(500)))

        assert [answer.body for answer in found] == [b"%d" % i for i in range(500)]


async def test_a_request_may_come_byte_by_byte() -> None:
    """The network cuts as it likes."""
    async with connected(echo) as client:
        for byte in post(b"hello"):
            await client.stream.send_all(bytes([byte]))

        assert answers(await client.said())[0].body == b"hello"


@pytest.mark.parametrize("data", [head(b"Connection: close"), b"GET / HTTP/1.0\r\n\r\n"], ids=["close", "HTTP/1.0"])
async def test_a_client_that_wants_to_close_is_closed(data: bytes) -> None:
    """After its answer, which says so."""
    async with connected(echo) as client:
        await client.send(data)
        (answer,) = answers(await client.rest())

        assert answer.status == 200
        assert answer.headers["connection"] == "close"


async def test_what_follows_a_last_request_is_not_answered() -> None:
    """But read, so that it does not destroy the answer on its way."""
    async with connected(echo) as client:
        await client.send(head(b"Connection: close") + GET)
        await client.stream.send_eof()

        assert len(answers(await client.rest())) == 1


async def test_a_connection_serves_a_bounded_number_of_requests() -> None:
    """The last answer says that it is the last."""
    async with connected(echo, limits=Limits(max_requests_per_connection=2)) as client:
        first, second = await client.ask(GET * 2)

        assert "connection" not in first.headers
        assert second.headers["connection"] == "close"


async def test_what_is_no_request_is_refused_with_a_problem() -> None:
    """And without a word in the log: it is the client's fault."""
    with structlog.testing.capture_logs() as logs:
        async with connected(echo) as client:
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            await client.stream.send_eof()
            (answer,) = answers(await client.rest())

    assert answer.headers["connection"] == "close"
    assert answer.problem == {
        "type": "/problems/bad-request",
        "title": "Bad request",
        "status": 400,
        "detail": "The Host header is missing.",
        "errors": [],
        "request_id": "r1",
    }
    assert client.counters.refused == 1
    assert logs == []


async def test_requests_before_a_bad_one_are_answered_first() -> None:
    """They were good when they came."""
    async with connected(echo) as client:
        found = await client.ask(post(b"a") + post(b"b") + b"rubbish\r\n\r\n" + GET)

        assert [answer.status for answer in found] == [200, 200, 400]


async def test_a_refused_client_can_read_why() -> None:
    """What it goes on sending is read over for a while, since unread bytes would turn the close into a reset."""
    async with connected(echo) as client:
        await client.send(b"rubbish\r\n\r\n")
        await client.send(b"more" * 1000)
        assert client.is_open()

        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await client.stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        assert not client.is_open()


async def test_an_app_may_answer_without_reading_the_body() -> None:
    """Then the rest of it is read over, up to a bound, and the connection closes."""
    async with connected(deaf) as client:
        await client.send(head(b"Content-Length: 99000000") + b"x" * 100_000)
        (answer,) = answers(await client.rest())
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        await client.send(b"x" * 700_000)
        assert client.is_open()
        await client.send(b"x" * 700_000)
        assert not client.is_open()


async def test_a_bad_chunk_is_refused_before_the_app_hears_of_it() -> None:
    """Where it comes with the head."""
    async with connected(deaf) as client:
        (answer,) = await client.ask(head(b"Transfer-Encoding: chunked") + b"zz\r\n")

        assert answer.problem["status"] == 400


async def test_the_app_learns_what_it_needs() -> None:
    """The scope of ASGI, with the lifespan's state and an id of its own for each request."""
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with connected(app) as client:
        await client.ask(head(b"X-A: b", start=b"GET /%41?q=1 HTTP/1.1") + GET)

    first, second = scopes
    assert first["type"] == "http"
    assert first["method"] == "GET"
    assert first["http_version"] == "1.1"
    assert first["scheme"] == "http"
    assert (first["path"], first["raw_path"], first["query_string"]) == ("/A", b"/%41", b"q=1")
    assert first["headers"] == [(b"host", b"a"), (b"x-a", b"b")]
    assert first["state"] == {"of": "lifespan", "request_id": "r1"}
    assert second["state"]["request_id"] == "r2"


async def test_a_draining_server_closes_what_is_between_two_requests() -> None:
    """At once: nobody waits for an answer there."""
    async with connected(echo) as client:
        await client.ask(GET)
        client.hub.drain()

        assert await client.rest() == b""


async def test_a_draining_server_answers_what_it_began() -> None:
    """And tells the client that this was the last."""
    release = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await echo(scope, receive, send)

    async with connected(app) as client:
        await client.send(GET)
        client.hub.drain()
        release.set()
        (answer,) = answers(await client.rest())

        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert not client.hub.admit("127.0.0.1")


async def test_hypercorn_is_told_of_each_request() -> None:
    """It may have a bound of its own, and then ends the server."""
    async with connected(echo) as client:
        client.hub.context = context = WorkerContext(max_requests=1)
        await client.ask(GET)
        assert not context.terminate.is_set()
        await client.ask(GET)
        assert context.terminate.is_set()

        await context.terminated.set()
        client.hub.refresh()
        assert await client.rest() == b""


async def test_all_counts_return_to_nothing() -> None:
    """Whatever happened on a connection."""
    async with connected(echo) as client:
        await client.send(HOST)
        await client.stream.send_eof()
        await client.rest()
        await trio.testing.wait_all_tasks_blocked()

        assert client.counters.open_connections == 0
        assert client.counters.accepted == 1


async def test_the_body_is_read_when_the_app_asks() -> None:
    """So a client cannot send faster than the app takes."""
    asked = trio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await send(start())
        await send(piece(b"%d" % len(await body_of(receive) or b"")))

    async with connected(app, pair=trio.testing.lockstep_stream_pair) as client, trio.open_nursery() as nursery:
        await client.stream.send_all(head(b"Content-Length: 100000", b"Connection: close"))
        nursery.start_soon(client.stream.send_all, b"x" * 100_000)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        asked.set()
        data = await client.rest()

        assert answers(data)[0].body == b"100000"
