"""A small app under the real connections, so that attacks on HTTP can be tried without the rest of the server.

`python -m tests.e2e.toy_app [max connections]` logs its address, serves until SIGTERM, and has 2 s of grace.
"""

from __future__ import annotations

import json
import signal
import sys
import uuid
from functools import partial

import trio

from jobqueue.errors import BodyTooLarge, InvalidJson, JobQueueError, MethodNotAllowed, NotFound
from jobqueue.http import Counters, Limits, problem_body, problem_headers, serve
from jobqueue.http.asgi import Receive, Scope, Send

MAX_BODY_BYTES = 1024 * 1024
WAIT_SECONDS = 30


class Toy:
    """Jobs that are stored and never run."""

    def __init__(self) -> None:
        self.jobs: dict[str, object] = {}
        self.counters = Counters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError
        try:
            await self._route(scope, receive, send)
        except JobQueueError as error:
            body = problem_body(error, scope["state"]["request_id"])
            await send({"type": "http.response.start", "status": error.status, "headers": problem_headers(error)})
            await send({"type": "http.response.body", "body": body})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if path == "/jobs":
            await self._submit(scope, receive, send)
        elif method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(method, headers=(("allow", "GET, HEAD, POST"),))
        elif path == "/vitals":
            await self._vitals(send)
        elif path == "/wait":
            await trio.sleep(WAIT_SECONDS)
            await _answer(send, 200, {})
        elif path == "/events":
            await _events(send)
        elif path == "/flood":
            await _flood(send)
        elif path == "/crash":
            raise RuntimeError("the secret of the inside")
        elif path.startswith("/jobs/") and path.removeprefix("/jobs/") in self.jobs:
            await _answer(send, 200, {"id": path.removeprefix("/jobs/")})
        else:
            raise NotFound(f"nothing is at {path}")

    async def _submit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(scope["method"], headers=(("allow", "POST"),))
        if (b"content-type", b"application/x-ndjson") in scope["headers"]:
            await _lines(receive, send)
            return
        body = await _body(scope, receive)
        if body is None:
            return
        try:
            job = json.loads(body)
        except ValueError as error:
            raise InvalidJson(str(error)) from error
        name = str(uuid.uuid4())
        self.jobs[name] = job
        await _answer(send, 201, {"id": name})

    async def _vitals(self, send: Send) -> None:
        counters = self.counters
        tasks = trio.lowlevel.current_statistics().tasks_living
        vitals = {"tasks": tasks, "connections": counters.open_connections, "errors": counters.errors}
        await _answer(send, 200, vitals | {"reaped": counters.reaped})


async def _answer(send: Send, status: int, value: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The body; None if it never comes. Refused by its announced length already, if that is too much."""
    lengths = [int(value) for name, value in scope["headers"] if name == b"content-length"]
    body = b""
    more = True
    while more:
        if len(body) > MAX_BODY_BYTES or max(lengths, default=0) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a body may have {MAX_BODY_BYTES} bytes")
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        more = message["more_body"]
    return body


async def _lines(receive: Receive, send: Send) -> None:
    """Answer each line with its number, while more come in."""
    numbers, queue = trio.open_memory_channel[int](1000)

    async def read() -> None:
        with numbers:
            count, more = 0, True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                for _ in range(message.get("body", b"").count(b"\n")):
                    await numbers.send(count)
                    count += 1

    await send({"type": "http.response.start", "status": 200, "headers": []})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        async for number in queue:
            await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
    await send({"type": "http.response.body"})


async def _events(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while True:
        await send({"type": "http.response.body", "body": b": tick\n\n", "more_body": True})
        await trio.sleep(0.2)


async def _flood(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


async def _terminated() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        await anext(aiter(signals))


async def main(max_connections: int) -> None:
    """Serve until SIGTERM."""
    toy = Toy()
    start = partial(
        serve,
        toy,
        binds=["127.0.0.1:0"],
        limits=Limits(max_connections=max_connections),
        counters=toy.counters,
        new_request_id=lambda: str(uuid.uuid4()),
        grace_seconds=2,
        shutdown_trigger=_terminated,
    )
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(start)
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
