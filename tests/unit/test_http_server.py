"""`serve` over real sockets in this process: where it listens, TLS, two servers side by side, and how it ends."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.errors import StartupError
from jobqueue.http import Counters, Limits, serve
from jobqueue.http.asgi import App, Receive, Scope, Send
from tests.unit.http_kit import GET, Answer, answers, echo, head, piece, start

Trusting = Callable[[trio.SocketStream], trio.SSLStream[trio.SocketStream]]

LAST = head(b"Connection: close", start=b"GET /last HTTP/1.1")


class Running:
    """A server that listens."""

    def __init__(self, addresses: list[str], counters: Counters, stop: trio.Event, ended: trio.Event) -> None:
        self.addresses = addresses
        self.counters = counters
        self.stop = stop
        self.ended = ended

    async def connect(self) -> trio.SocketStream:
        """A connection to its first address."""
        host, _, port = self.addresses[0].rpartition("/")[2].rpartition(":")
        return await trio.open_tcp_stream(host.strip("[]"), int(port))

    async def ask(self, data: bytes = LAST) -> list[Answer]:
        """The answers to `data`, on a connection of its own."""
        return await ask(await self.connect(), data)


async def ask(stream: trio.abc.Stream, data: bytes = LAST) -> list[Answer]:
    """The answers to `data` until the server closes."""
    async with stream:
        await stream.send_all(data)
        return answers(b"".join([piece async for piece in stream]))


@contextlib.asynccontextmanager
async def running(app: App = echo, binds: tuple[str, ...] = ("127.0.0.1:0",), **options: Any) -> AsyncIterator[Running]:
    """A server of `app`, stopped in the end."""
    ids = map(str, itertools.count(1))
    stop, ended = trio.Event(), trio.Event()
    given: dict[str, Any] = {"limits": Limits(), "counters": Counters(), "grace_seconds": 5.0} | options

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve(
            app,
            binds=binds,
            new_request_id=lambda: next(ids),
            shutdown_trigger=stop.wait,
            task_status=task_status,
            **given,
        )
        ended.set()

    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(run)
        yield Running(addresses, given["counters"], stop, ended)
        stop.set()


async def fails_to_start(**options: Any) -> StartupError:
    """The error of a server that cannot start."""
    with pytest.raises(StartupError) as caught:
        await serve(
            options.pop("app", echo),
            limits=Limits(),
            counters=Counters(),
            new_request_id=str,
            grace_seconds=0,
            shutdown_trigger=trio.sleep_forever,
            **{"binds": ["127.0.0.1:0"], **options},
        )
    return caught.value


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = {"certfile": str(folder / "cert.pem"), "keyfile": str(folder / "key.pem")}
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", files["certfile"], "-keyout", files["keyfile"]]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return files


@pytest.fixture
def trusting(certificate: dict[str, Any]) -> Trusting:
    """Makes a client's TLS of a connection; it would speak HTTP/2 if it could."""
    context = ssl.create_default_context(cafile=certificate["certfile"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    return partial(trio.SSLStream, ssl_context=context, server_hostname="localhost", https_compatible=True)


async def test_tls_is_served(certificate: dict[str, Any], trusting: Trusting) -> None:
    """As HTTP/1.1, whatever else the client speaks."""
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with running(app, **certificate) as server:
        stream = trusting(await server.connect())
        (answer,) = await ask(stream)

    assert server.addresses[0].startswith("https://")
    assert stream.selected_alpn_protocol() == "http/1.1"
    assert scopes[-1]["scheme"] == "https"
    assert answer.status == 200


async def test_body_and_answer_may_cross_over_tls(certificate: dict[str, Any], trusting: Trusting) -> None:
    """As they may without it: the answers are unread while a megabyte of lines comes in."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, piece(b"x" * 4_000_000, more=True))
            while (await receive()).get("more_body"):
                pass
        await send(piece(b"done"))

    async with running(app, **certificate) as server, trusting(await server.connect()) as stream:
        await stream.send_all(head(b"Content-Length: 1000000") + b"y" * 1_000_000)
        (answer,) = answers(b"".join([data async for data in stream]))

    assert answer.body == b"x" * 4_000_000 + b"done"


async def test_plain_http_on_a_tls_port_harms_nobody(certificate: dict[str, Any], trusting: Trusting) -> None:
    """It is closed; the next client is served."""
    async with running(**certificate) as server:
        async with await server.connect() as stream:
            await stream.send_all(GET)
            assert b"HTTP" not in await stream.receive_some()
        (answer,) = await ask(trusting(await server.connect()))

    assert answer.status == 200
    assert server.counters.errors == 0


async def test_a_certificate_that_cannot_be_used_is_a_startup_error(certificate: dict[str, Any]) -> None:
    """One line that says which."""
    missing = await fails_to_start(certfile="/nowhere/cert.pem", keyfile=certificate["keyfile"])
    half = await fails_to_start(certfile=certificate["certfile"])
    swapped = await fails_to_start(certfile=certificate["keyfile"], keyfile=certificate["certfile"])

    assert "/nowhere/cert.pem" in str(missing)
    assert str(half) == "TLS needs both a certificate and its key"
    assert swapped.exit_code == 2
