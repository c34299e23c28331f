"""One request and its answer, as the app sees them: the `receive` and `send` of ASGI.

The body is pulled: the socket is read when the app asks, so a client cannot send faster than the app takes. An app may
receive and send from two tasks at once. Nothing here waits on its own; all waiting is the connection's (`Wire`).
"""

from __future__ import annotations

from typing import Protocol

import trio

from jobqueue.errors import JobQueueError
from jobqueue.http.answer import Answer, AnswerError
from jobqueue.http.asgi import Message
from jobqueue.http.problem import problem_body, problem_headers
from jobqueue.http.request import Request

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GONE: dict[str, str] = {"type": "http.disconnect"}


class Wire(Protocol):
    """What an exchange needs of its connection."""

    @property
    def closing(self) -> bool:
        """The connection takes no request after this one."""

    @property
    def date_line(self) -> bytes:
        """The Date header of this second, with its line end."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`; where that fails the caller is cancelled."""

    async def fill(self, request: Request) -> None:
        """Read on until `request.settled`."""


class Exchange:
    """`started`: some of the answer may have been sent; `ended`: all of it was."""

    __slots__ = ("_answer", "_begin", "_continued", "_over", "_request", "_taken", "_wire", "ended", "started")

    def __init__(self, request: Request, wire: Wire) -> None:
        self.started = False
        self.ended = False
        self._request = request
        self._wire = wire
        self._begin: Message | None = None  # http.response.start, held until the body's first piece
        self._answer = Answer(
            head_only=request.method == "HEAD",
            chunks_allowed=request.version == "1.1",
            closes=not request.keep_alive,
        )
        self._taken = False  # the app has the whole body
        self._continued: trio.Event | None = None
        self._over: trio.Event | None = None

    @property
    def closes(self) -> bool:
        """The connection ends after this answer."""
        return self._answer.closes

    async def receive(self) -> Message:
        """ASGI's receive: a piece of the body; after its end, wait until the answer is sent.

        `http.disconnect` means that the body will never be whole (`request.error` says why), or that all is over. When
        the client leaves while the app waits here or elsewhere, the app is cancelled.
        """
        request = self._request
        if not self._taken and not self.ended:
            if not request.settled:
                await self._ask_for_body()
            if request.error is None:
                self._taken = request.complete
                return {"type": "http.request", "body": request.take(), "more_body": not request.complete}
        elif not self.ended:
            self._over = self._over or trio.Event()
            await self._over.wait()
        return dict(_GONE)

    async def send(self, message: Message) -> None:
        """ASGI's send. Raises AnswerError for what is no answer, or comes out of turn."""
        kind = message["type"]
        if kind == "http.response.start" and self._begin is None:
            self._begin = message
        elif kind == "http.response.body" and self._begin is not None and not self.ended:
            await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise AnswerError(f"{kind} out of turn")

    async def refuse(self, error: JobQueueError, request_id: str) -> None:
        """Answer with a problem, in the place of an app that did not, and close."""
        self._answer.closes = True
        self._begin = {"status": error.status, "headers": problem_headers(error)}
        await self._send_body(problem_body(error, request_id), more=False)

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._continued is not None:
            await self._continued.wait()
        data = self._answer.go_on(body, more=more) if self.started else self._first(body, more=more)
        if data:
            await self._wire.write(data)
        if not more:
            self.ended = True
            if self._over is not None:
                self._over.set()

    def _first(self, body: bytes, *, more: bool) -> bytes:
        """The head with the first piece of the body.

        A body that is not whole yet may never be read to its end, and then its rest stands where the next request
        should: so the connection closes after such an answer.
        """
        begin = self._begin or {}
        answer = self._answer
        answer.closes = answer.closes or not self._request.complete or self._wire.closing
        data = answer.begin(begin["status"], begin.get("headers", ()), self._wire.date_line, body, more=more)
        self.started = True
        return data

    async def _ask_for_body(self) -> None:
        """Read on, and tell a client that waits for leave to send (RFC 9110 section 10.1.1) to do so."""
        request = self._request
        if request.expects_continue and not self.started:
            request.expects_continue = False
            self._continued = trio.Event()
            try:
                await self._wire.write(_CONTINUE)
            finally:
                self._continued.set()
                self._continued = None
        await self._wire.fill(request)
