"""`serve` with a certificate: the same connections under TLS."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.http.asgi import Receive, Scope, Send
from tests.unit.http_kit import GET, answers, echo, head, piece, start
from tests.unit.http_server_kit import ask, fails_to_start, running

Trusting = Callable[[trio.SocketStream], trio.SSLStream[trio.SocketStream]]


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
