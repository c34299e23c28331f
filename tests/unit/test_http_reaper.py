"""The reaper's bounds, each in virtual time: what lasts too long ends, what only takes its time does not."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from jobqueue.http.asgi import Receive, Scope, Send
from jobqueue.http.limits import Cause, Limits
from jobqueue.http.reaper import Reaper
from tests.unit.http_kit import GET, Client, answers, assert_reaped, body_of, connected, echo, head, piece, start

LATE = 2 * Limits().tick_seconds  # no bound is over later than this after its time


async def drip(client: Client, data: bytes, seconds: float) -> None:
    """Send byte by byte until the server hangs up."""
    try:
        for byte in data:
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(seconds)
    except trio.BrokenResourceError:
        pass


async def test_an_idle_connection_is_closed(autojump_clock: MockClock) -> None:
    """75 s after the last answer."""
    async with connected(echo, reaped=True) as client:
        await client.ask(GET)
        began = trio.current_time()
        assert await client.rest() == b""

        assert 75 <= trio.current_time() - began <= 75 + LATE
        assert_reaped(client, Cause.IDLE)


async def test_a_connection_without_a_request_is_closed(autojump_clock: MockClock) -> None:
    """5 s after its opening."""
    async with connected(echo, reaped=True) as client:
        began = trio.current_time()
        assert await client.rest() == b""

        assert 5 <= trio.current_time() - began <= 5 + LATE
        assert_reaped(client, Cause.SLOW_HEAD)


@pytest.mark.parametrize("idle_seconds", [0, 30])
async def test_a_slow_head_is_closed(autojump_clock: MockClock, idle_seconds: float) -> None:
    """5 s after its first byte, however it drips; also on a connection that was good before."""
    async with connected(echo, reaped=True) as client, trio.open_nursery() as nursery:
        if idle_seconds:
            await client.ask(GET)
            await trio.sleep(idle_seconds)
        began = trio.current_time()
        nursery.start_soon(drip, client, head(b"X: " + b"a" * 1000), 0.5)
        assert await client.rest() == b""

        assert 5 <= trio.current_time() - began <= 5 + LATE
        assert_reaped(client, Cause.SLOW_HEAD)


async def test_a_head_in_time_is_served(autojump_clock: MockClock) -> None:
    """4 s are no attack."""
    async with connected(echo, reaped=True) as client:
        await drip(client, GET, 4 / len(GET))

        assert answers(await client.said())[0].status == 200


async def test_a_slow_body_is_refused(autojump_clock: MockClock) -> None:
    """With 408, 10 s after the app asked for it."""
    async with connected(echo, reaped=True) as client, trio.open_nursery() as nursery:
        await client.send(head(b"Content-Length: 5000"))
        began = trio.current_time()
        nursery.start_soon(drip, client, b"x" * 5000, 0.5)
        (answer,) = answers(bytes(await client.stream.receive_some()))
        nursery.cancel_scope.cancel()

        assert 10 <= trio.current_time() - began <= 10 + 2 * LATE
        assert answer.problem["type"] == "/problems/timeout"
        assert answer.problem["status"] == 408
        assert_reaped(client, Cause.SLOW_BODY)


async def test_a_long_body_may_take_long(autojump_clock: MockClock) -> None:
    """As long as 1 KiB a second comes on average."""
    async with connected(echo, reaped=True) as client:
        await client.send(head(b"Content-Length: %d" % (60 * 1200)))
        for _ in range(60):
            await client.send(b"x" * 1200)
            await trio.sleep(1)

        assert answers(await client.said())[0].status == 200


async def test_a_body_is_not_slow_while_nobody_reads_it(autojump_clock: MockClock) -> None:
    """The app's own time is not the client's fault."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(60)
        await echo(scope, receive, send)

    async with connected(app, reaped=True) as client:
        await client.send(head(b"Content-Length: 4") + b"ab")
        await trio.sleep(65)
        (answer,) = await client.ask(b"cd")

        assert answer.body == b"abcd"


async def test_ndjson_may_take_for_ever(autojump_clock: MockClock) -> None:
    """Its lines come when there is something to say."""
    async with connected(echo, reaped=True) as client:
        await client.send(head(b"Content-Length: 20", b"Content-Type: application/x-ndjson"))
        await drip(client, b"x" * 20, 29)

        assert answers(await client.said())[0].body == b"x" * 20


async def test_ndjson_that_falls_silent_is_refused(autojump_clock: MockClock) -> None:
    """30 s after its last byte."""
    async with connected(echo, reaped=True) as client:
        await client.send(head(b"Content-Length: 20", b"Content-Type: application/x-ndjson") + b"x")
        began = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        data = bytes(await client.stream.receive_some())

        assert answers(data)[0].status == 408
        assert 30 <= trio.current_time() - began <= 30 + LATE
        assert_reaped(client, Cause.SLOW_BODY)


async def _floods(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start())
    await send(piece(b"x" * 10_000_000))


@pytest.mark.parametrize("draining", [False, True])
async def test_a_client_that_never_reads_is_closed(autojump_clock: MockClock, draining: bool) -> None:  # noqa: FBT001 - a column of the table
    """5 s after the last byte that it took; 1 s if the server wants to stop."""
    async with connected(_floods, reaped=True, pair=trio.testing.lockstep_stream_pair) as client:
        began = trio.current_time()
        await client.stream.send_all(GET)
        if draining:
            client.hub.drain()
        await client.ended.wait()

        bound = 1 if draining else 5
        assert bound <= trio.current_time() - began <= bound + LATE
        assert_reaped(client, Cause.BLOCKED_WRITE)


async def test_a_client_that_reads_slowly_is_served(autojump_clock: MockClock) -> None:
    """As long as it reads at all."""
    async with connected(_floods, reaped=True, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(GET)
        for _ in range(60):
            await client.stream.receive_some(16 * 1024)
            await trio.sleep(4)

        assert client.is_open()


async def test_answers_may_stay_unread_while_lines_come(autojump_clock: MockClock) -> None:
    """A client may send all its lines before it reads one answer; while bytes move, nothing is stuck."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, piece(b"x" * 1000, more=True))
            await body_of(receive)

    async with connected(app, reaped=True, pair=trio.testing.lockstep_stream_pair) as client:
        await client.stream.send_all(head(b"Content-Length: 20", b"Content-Type: application/x-ndjson"))
        for _ in range(19):
            await client.stream.send_all(b"x")
            await trio.sleep(4)
        assert client.is_open()
        await trio.sleep(5 + LATE)
        assert not client.is_open()
        assert_reaped(client, Cause.BLOCKED_WRITE)


async def test_a_refused_client_that_goes_on_sending_is_closed(autojump_clock: MockClock) -> None:
    """1 s after its answer."""
    async with connected(echo, reaped=True) as client, trio.open_nursery() as nursery:
        await client.send(b"rubbish\r\n\r\n")
        began = trio.current_time()
        nursery.start_soon(drip, client, b"x" * 1000, 0.1)
        await client.ended.wait()

        assert 1 <= trio.current_time() - began <= 1 + LATE


async def test_a_stall_of_the_server_is_not_the_clients_fault(autojump_clock: MockClock) -> None:
    """After a long pause of the whole process nobody is closed for what could not be read meanwhile."""
    async with connected(echo) as client:
        reaper = Reaper(client.hub)
        reaper.tick(0.25)
        reaper.tick(1000)
        await trio.testing.wait_all_tasks_blocked()

        assert client.is_open()
