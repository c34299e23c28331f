"""A small app under the real connections, for what the real server never does: crash, flood, and stream without end.

It serves until SIGTERM; what the command line says it does not read.
"""

from __future__ import annotations

import signal
import uuid
from functools import partial

import structlog
import trio

from jobqueue import logs
from jobqueue.errors import NotFound
from jobqueue.http import Counters, Limits, problem_body, problem_headers, serve
from jobqueue.http.asgi import Receive, Scope, Send

PIECE = b"x" * 65536


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request."""
    if scope["type"] != "http":
        raise NotImplementedError
    match scope["path"]:
        case "/crash":
            raise RuntimeError("the secret of the inside")
        case "/crash-late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            raise RuntimeError("the secret of the inside")
        case "/flood":
            await _stream(send, PIECE, 0)
        case "/ticks":
            await _stream(send, b": tick\n\n", 0.2)
        case path:
            error = NotFound(f"nothing is at {path}")
            await send({"type": "http.response.start", "status": 404, "headers": problem_headers(error)})
            await send({"type": "http.response.body", "body": problem_body(error, scope["state"]["request_id"])})


async def _stream(send: Send, piece: bytes, every_seconds: float) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await trio.sleep(every_seconds)


async def _terminated() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        await anext(aiter(signals))


async def _run() -> None:
    start = partial(
        serve,
        app,
        binds=["127.0.0.1:0"],
        limits=Limits(),
        counters=Counters(),
        new_request_id=lambda: str(uuid.uuid4()),
        grace_seconds=0.5,
        shutdown_trigger=_terminated,
    )
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(start)
        structlog.get_logger().info("listening", address=address)


def main() -> None:
    """Serve until SIGTERM."""
    logs.configure("json", "info")
    trio.run(_run)
