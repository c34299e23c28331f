"""What an app may do wrong, and what its client may do to it: nothing of it leaves the connection."""

from __future__ import annotations

import contextlib

import pytest
import structlog.testing
import trio
import trio.testing

from jobqueue.http.asgi import Receive, Scope, Send
from tests.unit.http_kit import GET, connected, head, piece, start


async def _fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("the secret of the inside")


async def _exits(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise SystemExit(3)


async def _fails_in_a_group(_scope: Scope, _receive: Receive, _send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(_fails, _scope, _receive, _send)


async def _forgets_to_answer(_scope: Scope, _receive: Receive, _send: Send) -> None:
    pass


async def _answers_nonsense(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start(200, (b"x", b"a\r\nSet-Cookie: b")))
    await send(piece())


@pytest.mark.parametrize("app", [_fails, _exits, _fails_in_a_group, _forgets_to_answer, _answers_nonsense])
async def test_an_app_that_fails_is_answered_for(app: type) -> None:
    """500 with nothing of the inside; the traceback is logged once, under the id that the client sees."""
    with structlog.testing.capture_logs() as logs:
        async with connected(app) as client:
            (answer,) = await client.ask(GET)

    assert answer.problem["status"] == 500
    assert answer.problem["type"] == "/problems/internal"
    assert answer.headers["connection"] == "close"
    assert b"secret" not in answer.body
    assert client.counters.errors == 1
    assert [(entry["event"], entry["request_id"]) for entry in logs] == [("request failed", "r1")]
    assert logs[0]["exc_info"] is not None


async def test_a_failure_is_answered_to_head_too() -> None:
    """With the head alone."""
    async with connected(_fails) as client:
        (answer,) = await client.ask(head(start=b"HEAD / HTTP/1.1"), "HEAD")

        assert (answer.status, answer.body) == (500, b"")


async def test_an_answer_that_breaks_off_does_not_look_whole() -> None:
    """The last chunk does not come, and the connection ends."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"half", more=True))
        raise ValueError

    async with connected(app) as client:
        await client.send(GET)
        data = await client.rest()

        assert data.endswith(b"\r\n4\r\nhalf\r\n")
        assert client.counters.errors == 1


async def test_a_client_that_left_cancels_the_app_that_sends_to_it() -> None:
    """And that is no error."""
    cancelled = trio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(piece(b"tick", more=True))
        except trio.Cancelled:
            cancelled.set()
            raise

    async with connected(app, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(GET)
        await client.stream.receive_some()
        await client.stream.aclose()
        await cancelled.wait()
        await trio.testing.wait_all_tasks_blocked()

        assert not client.is_open()
        assert client.counters.errors == 0


async def test_a_send_cut_half_way_ends_the_connection() -> None:
    """Nobody knows how much of it went out, so nothing can follow."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        with trio.move_on_after(0):
            await send(piece(b"x" * 100_000))
        with contextlib.suppress(RuntimeError):
            await send(piece(b"y"))

    async with connected(app, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(GET)
        data = await client.rest()

        assert b"y" not in data.partition(b"\r\n\r\n")[2]


async def test_two_tasks_cannot_send_at_once() -> None:
    """Their bytes would mix."""
    failed = trio.Event()

    async def second(send: Send) -> None:
        with pytest.raises(RuntimeError, match="two tasks"):
            await send(piece(b"b", more=True))
        failed.set()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, piece(b"a", more=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second, send)

    async with connected(app, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(GET)
        await failed.wait()
