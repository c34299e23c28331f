"""A Quart-Trio app on our connections: what it relies on, and what Hypercorn's own get wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from quart import Response, request
from quart_trio import QuartTrio

from jobqueue.http import Cause
from tests.unit.http_kit import GET, head, post
from tests.unit.http_server_kit import LAST, running


@pytest.fixture
def app() -> QuartTrio:
    """Three views, one for each way to answer."""
    app = QuartTrio(__name__)

    @app.get("/last")
    async def last() -> str:
        return "last"

    @app.post("/jobs")
    async def jobs() -> tuple[str | bytes, int]:
        return await request.get_data(), 201

    @app.get("/")
    async def stream() -> Response:
        async def events() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"%d\n" % number
                await trio.lowlevel.checkpoint()

        return Response(events(), content_type="text/plain")

    return app


async def test_quart_serves_request_after_request(app: QuartTrio) -> None:
    """Bodies in, streams out, and then it closes as it was asked to."""
    async with running(app) as server:
        data = post(b"hello") + GET + head(start=b"HEAD /last HTTP/1.1") + LAST
        found = await server.ask(data, "POST", "GET", "HEAD", "GET")

    assert [(answer.status, answer.body) for answer in found] == [
        (201, b"hello"),
        (200, b"0\n1\n2\n"),
        (200, b""),
        (200, b"last"),
    ]


async def test_a_client_that_leaves_cancels_the_view(app: QuartTrio) -> None:
    """Quart waits in receive all the while; that does not keep the reaper from looking."""
    began, cancelled = trio.Event(), trio.Event()

    @app.get("/wait")
    async def wait() -> str:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with trio.fail_after(5):
        async with running(app) as server:
            async with await server.connect() as stream:
                await stream.send_all(head(start=b"GET /wait HTTP/1.1"))
                await began.wait()
            await cancelled.wait()

    assert server.counters.reaped[Cause.CLIENT_GONE] == 1
    assert server.counters.errors == 0
