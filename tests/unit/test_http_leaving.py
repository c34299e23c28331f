"""Clients that leave while the app works for them: it is cancelled, soon but not rashly. In virtual time."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from jobqueue.http.asgi import Receive, Scope, Send
from jobqueue.http.limits import Cause, Limits
from tests.unit.http_kit import GET, answers, assert_reaped, connected, echo, head, post

LATE = 2 * Limits().tick_seconds  # no bound is over later than this after its time


def _socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Real sockets, since only those can be asked whether the other end has gone."""
    ours, theirs = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)),
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)),
    )


async def test_an_app_may_take_its_time(autojump_clock: MockClock) -> None:
    """While the client waits there is no bound of ours on it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(1000)
        await echo(scope, receive, send)

    async with connected(app, reaped=True, pair=_socket_pair) as client:
        await client.stream.send_all(GET)

        assert answers(bytes(await client.stream.receive_some()))[0].status == 200


@pytest.mark.parametrize("ahead", [b"", GET], ids=["silent", "sent ahead"])
async def test_a_client_that_leaves_cancels_the_app(autojump_clock: MockClock, ahead: bytes) -> None:
    """Within two ticks; what it sent ahead does not hide that it left."""
    cancelled = trio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with connected(app, reaped=True, pair=_socket_pair) as client:
        await client.stream.send_all(GET + ahead)
        await trio.sleep(3)
        assert not cancelled.is_set()
        began = trio.current_time()
        await client.stream.aclose()
        await cancelled.wait()

        assert trio.current_time() - began <= LATE
        await trio.testing.wait_all_tasks_blocked()
        assert_reaped(client, Cause.CLIENT_GONE)
        assert not client.is_open()


async def test_a_client_that_leaves_with_its_body_unread_cancels_the_app(autojump_clock: MockClock) -> None:
    """10 s after the app last looked: it might have read on, and found the rest."""
    cancelled = trio.Event()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with connected(app, reaped=True, pair=_socket_pair) as client:
        began = trio.current_time()
        await client.stream.send_all(head(b"Content-Length: 4") + b"ab")
        await client.stream.aclose()
        await cancelled.wait()

        assert 10 <= trio.current_time() - began <= 10 + LATE
        assert_reaped(client, Cause.CLIENT_GONE)


async def test_a_half_closed_client_gets_a_quick_answer(autojump_clock: MockClock) -> None:
    """`printf ... | nc` closes its half before the answer is there."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(0.2)
        await echo(scope, receive, send)

    async with connected(app, reaped=True, pair=_socket_pair) as client:
        await client.stream.send_all(post(b"hello"))
        await client.stream.send_eof()

        assert answers(await client.rest())[0].body == b"hello"


async def test_an_app_behind_a_shield_is_counted_once(autojump_clock: MockClock) -> None:
    """It is cancelled when the shield is down."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with connected(app, reaped=True, pair=_socket_pair) as client:
        await client.stream.send_all(GET)
        await client.stream.aclose()
        await trio.sleep(9)
        assert client.is_open()
        await trio.sleep(2)
        assert not client.is_open()
        assert_reaped(client, Cause.CLIENT_GONE)
