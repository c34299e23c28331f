"""`serve` over real sockets in this process: where it listens, two servers side by side, and how it ends."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from jobqueue.http import Limits
from jobqueue.http.asgi import Receive, Scope, Send
from tests.unit.http_kit import GET, Answer, echo
from tests.unit.http_server_kit import LAST, ask, fails_to_start, running


async def test_a_server_tells_its_port() -> None:
    """Port 0 is any free one."""
    async with running() as server:
        (answer,) = await server.ask()

    assert answer.body == b"/last"
    assert "date" in answer.headers
    assert "server" not in answer.headers
    assert server.counters.requests == 1


async def test_a_server_listens_on_ipv6_and_several_addresses() -> None:
    """All of them, and each is told."""
    async with running(binds=("[::1]:0", "127.0.0.1:0")) as server:
        assert [address.rpartition(":")[0] for address in server.addresses] == ["http://[::1]", "http://127.0.0.1"]
        assert len(await server.ask()) == 1


async def test_the_app_learns_who_asks() -> None:
    """The scope names both ends."""
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with running(app) as server:
        stream = await server.connect()
        ours, theirs = stream.socket.getsockname(), stream.socket.getpeername()
        await ask(stream)

    assert scopes[-1]["client"] == ours
    assert scopes[-1]["server"] == theirs


async def test_taken_ports_are_told_together() -> None:
    """With the exit code for it, and the rest of what is wrong."""
    async with running() as server:
        taken = server.addresses[0].removeprefix("http://")
        error = await fails_to_start(binds=[taken, "nonsense", "127.0.0.1:99999", "127.0.0.1:0"])

    assert error.exit_code == 2
    assert error.lines == (
        f"cannot listen on {taken}: Address already in use",
        "cannot listen on nonsense: it is not of the form host:port or unix:path",
        "cannot listen on 127.0.0.1:99999: there is no such port",
    )


async def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    """The file goes when the server ends; one that a dead server left is replaced, a live one is not."""
    path = tmp_path / "jobqueue.sock"
    dead = trio.socket.socket(trio.socket.AF_UNIX)
    await dead.bind(str(path))
    dead.close()

    async with running(binds=(f"unix:{path}",)):
        (answer,) = await ask(await trio.open_unix_socket(path))
        error = await fails_to_start(binds=[f"unix:{path}"])

    assert answer.status == 200
    assert error.lines == (f"cannot listen on unix:{path}: another server listens there",)
    assert not path.exists()


async def test_another_file_is_not_taken_for_a_socket(tmp_path: Path) -> None:
    """Nothing is removed that was not ours."""
    path = tmp_path / "precious"
    path.write_text("data")
    error = await fails_to_start(binds=[f"unix:{path}"])

    assert error.lines == (f"cannot listen on unix:{path}: another file is there",)
    assert path.read_text() == "data"


async def test_an_app_that_cannot_start_is_a_startup_error() -> None:
    """Its reason comes out alone, not in a group of groups."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no bananas"})

    error = await fails_to_start(app=app)

    assert error.exit_code == 70
    assert "no bananas" in str(error)


async def test_two_servers_do_not_meet() -> None:
    """Nor does one of Hypercorn's own beside them."""
    async with (
        running(limits=Limits(max_requests_per_connection=1)) as one,
        running() as two,
        running(stock=True) as stock,
    ):
        await one.ask(GET)
        await two.ask(GET + LAST)
        (answer,) = await stock.ask()

    assert one.counters.requests == 1
    assert two.counters.requests == 2
    assert stock.counters.requests == 0
    assert answer.headers["server"] == "hypercorn-h11"


async def test_connections_over_the_bound_are_closed_at_once() -> None:
    """Those within it stay."""
    async with running(limits=Limits(max_connections=2)) as server:
        first, second, third = [await server.connect() for _ in range(3)]

        async with third:
            assert await third.receive_some() == b""
        for stream in (first, second):
            assert len(await ask(stream)) == 1
    assert server.counters.excess == 1


async def test_an_idle_connection_does_not_hold_the_end() -> None:
    """It closes at once, long before the grace is over."""
    with trio.fail_after(3):
        async with running(grace_seconds=60.0) as server:
            stream = await server.connect()
            await stream.send_all(GET)
            await stream.receive_some()
            server.stop.set()

            assert await stream.receive_some() == b""
            await server.ended.wait()
            await stream.aclose()


async def test_a_running_request_is_answered_within_the_grace() -> None:
    """Then the server ends without waiting for the rest of it."""
    began, release = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            began.set()
            await release.wait()
        await echo(scope, receive, send)

    with trio.fail_after(3):
        async with running(app, grace_seconds=60.0) as server, trio.open_nursery() as nursery:
            found: list[Answer] = []

            async def client() -> None:
                found.extend(await server.ask(GET))

            nursery.start_soon(client)
            await began.wait()
            server.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            release.set()
            await server.ended.wait()

    assert found[0].status == 200
    assert found[0].headers["connection"] == "close"


async def test_a_request_that_outlasts_the_grace_is_cancelled() -> None:
    """The server does not wait for ever."""
    began = trio.Event()

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        began.set()
        await trio.sleep_forever()

    with trio.fail_after(3):
        async with running(app, grace_seconds=0.1) as server, await server.connect() as stream:
            await stream.send_all(GET)
            await began.wait()
            server.stop.set()
            await server.ended.wait()
