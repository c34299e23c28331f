"""One connection from its opening to its end, in one task: read, parse, let the app answer, and so on.

It stands where Hypercorn would run its own (`server.py` puts it there). The app runs in this task too, so a request
costs no task, no channel and no timer. Time is kept by the reaper, which sees the fields that it calls `Watched`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Any

import trio

from jobqueue.errors import BadRequest, Internal, JobQueueError, RequestTimeout
from jobqueue.http.asgi import Scope
from jobqueue.http.exchange import Exchange
from jobqueue.http.fence import keep_inside
from jobqueue.http.hub import Hub
from jobqueue.http.parser import Parser
from jobqueue.http.request import Request
from jobqueue.http.transport import Transport
from jobqueue.http.watched import Chart, Phase

_READ_BYTES = 64 * 1024
_WRITE_BYTES = 16 * 1024  # a longer write is cut in such pieces, so that its progress can be seen
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


async def serve_connection(hub: Hub, state: Mapping[str, Any], stream: trio.abc.Stream) -> None:
    """Serve `stream` until either side closes it, or close it at once if it is one too many.

    The caller closes the stream in the end. Only Cancelled (of a scope outside) and KeyboardInterrupt leave.
    """
    transport = Transport(stream)
    try:
        client, server = transport.addresses()
    except OSError:
        return  # it left already
    host = client[0] if client else None
    if not hub.admit(host):
        return
    connection = Connection(hub, transport)
    connection.scope_base |= {"state": state, "client": client, "server": server}
    hub.connections[connection] = None
    try:
        await connection.run()
    except BaseException as error:  # noqa: BLE001 - keep_inside raises what must pass
        keep_inside(error, hub.counters, "connection failed")
    finally:
        del hub.connections[connection]
        hub.dismiss(host)


class Connection:
    """What one client sends and gets; `Watched` for the reaper, `Wire` for its exchanges."""

    def __init__(self, hub: Hub, transport: Transport) -> None:
        self.phase = Phase.OPENING
        self.stage = 0
        self.moves = 0
        self.writing = False
        self.request = Request()
        self.chart = Chart()
        self.fd = transport.fd
        self.scope_base: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "scheme": "https" if transport.secure else "http",
            "root_path": "",
            "client": None,
            "server": None,
            "state": {},
        }
        self._hub = hub
        self._transport = transport
        self._stream = transport.stream
        self._parser = Parser(hub.limits)
        self._scope = trio.CancelScope()
        self._body_scope: trio.CancelScope | None = None
        self._requests_left = hub.limits.max_requests_per_connection

    async def run(self) -> None:
        """Serve the connection to its end."""
        with self._scope, contextlib.suppress(*_BROKEN):
            if isinstance(self._stream, trio.SSLStream):
                await self._stream.do_handshake()
            await self._serve()
            self._enter(Phase.LINGER)
            await self._stream.aclose()

    # What the reaper sees and does.

    @property
    def waiting(self) -> bool:
        """The app waits for a piece of the body."""
        return self._body_scope is not None

    def cut(self, *, reset: bool = False) -> None:
        """End the connection now, and the app that works for it; `reset`: drop what the client did not read."""
        sock = self._transport.socket if reset else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._scope.cancel()

    def expire_body(self) -> None:
        """End the app's wait for a body that comes too slowly."""
        if self._body_scope is not None:
            self.request.error = RequestTimeout("The body of the request came too slowly.")
            self._body_scope.cancel()

    # What an exchange needs.

    @property
    def closing(self) -> bool:
        """The connection takes no request after this one."""
        return self._hub.draining or self._requests_left <= 0

    @property
    def date_line(self) -> bytes:
        """The Date header of this second, with its line end."""
        return self._hub.date_line

    async def write(self, data: bytes) -> None:
        """Send all of `data`; if the client has left, the connection ends and the caller is cancelled.

        A write that was cancelled half-way leaves `writing` set: nothing can follow it.
        """
        if self.writing:
            raise RuntimeError("two tasks send at once, or a send was cancelled half-way")
        self.writing = True
        try:
            if len(data) <= _WRITE_BYTES:
                self.moves += 1
                await self._transport.send(data)
            else:
                await self._write_long(memoryview(data))
        except _BROKEN:
            self._scope.cancel()
            await trio.lowlevel.checkpoint()
        self.writing = False

    async def _write_long(self, data: memoryview) -> None:
        for start in range(0, len(data), _WRITE_BYTES):
            self.moves += 1
            await self._transport.send(data[start : start + _WRITE_BYTES])

    async def fill(self, request: Request) -> None:
        """Read on until `request.settled`."""
        try:
            with trio.CancelScope() as self._body_scope:
                while not request.settled:
                    if not await self._advance():
                        request.error = BadRequest("The connection ended within the body of the request.")
        finally:
            self._body_scope = None

    # The conversation.

    async def _serve(self) -> None:
        """Answer request after request, until one side wants no more."""
        while (request := await self._next_request()) is not None:
            if not await self._answer(request):
                return
            self._enter(Phase.IDLE)
        if self._parser.error is not None:
            await self._refuse(self._parser.error)

    async def _next_request(self) -> Request | None:
        parser = self._parser
        while not parser.ready:
            if parser.error is not None or not await self._advance():
                return None
            if not parser.ready and self.phase is not Phase.HEAD:
                self._enter(Phase.HEAD)
        return parser.ready.popleft()

    async def _answer(self, request: Request) -> bool:
        """Have one request answered; True if another may follow."""
        hub = self._hub
        hub.counters.requests += 1
        self._requests_left -= 1
        self.request = request
        self._enter(Phase.BUSY)
        if hub.context is not None:
            await hub.context.mark_request()
        request_id = hub.new_request_id()
        exchange = Exchange(request, self)
        error = request.error or await self._run_app(request, exchange, request_id)
        if not exchange.started and not self.writing:
            hub.counters.refused += 1
            await exchange.refuse(error or Internal(), request_id)
        if not exchange.ended:
            self.cut(reset=True)  # an answer that breaks off must not look whole
            return False
        parser = self._parser
        if not request.complete or (exchange.closes and (parser.error or parser.ready or parser.unparsed)):
            await self._linger()
        return request.complete and not exchange.closes

    async def _run_app(self, request: Request, exchange: Exchange, request_id: str) -> JobQueueError | None:
        """Let the app answer; what to say in its place if it did not."""
        scope: Scope = {
            **self.scope_base,
            "http_version": request.version,
            "method": request.method,
            "path": request.path,
            "raw_path": request.raw_path,
            "query_string": request.query,
            "headers": request.headers,
            "extensions": {},
            "state": {**self.scope_base["state"], "request_id": request_id},
        }
        try:
            await self._hub.app(scope, exchange.receive, exchange.send)
            self._require_answer(exchange)
        except BaseException as error:  # noqa: BLE001 - keep_inside raises what must pass
            keep_inside(error, self._hub.counters, "request failed", request_id=request_id, path=request.path)
        return request.error

    def _require_answer(self, exchange: Exchange) -> None:
        """An app that returns has answered, unless the body never came or the client has left."""
        if not (exchange.ended or self.request.error or self._scope.cancel_called):
            raise RuntimeError("the app returned without a whole answer")

    async def _refuse(self, error: JobQueueError) -> None:
        """Answer what is no request, and close."""
        self._hub.counters.refused += 1
        self.request = Request()
        self._enter(Phase.BUSY)
        await Exchange(self.request, self).refuse(error, self._hub.new_request_id())
        await self._linger()

    async def _linger(self) -> None:
        """Let the client read the answer before its own unread bytes turn that into a reset (RFC 9112 section 9.6)."""
        self._enter(Phase.LINGER)
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        left = self._hub.limits.linger_bytes
        while left > 0 and (data := await self._read()):
            left -= len(data)

    async def _advance(self) -> bool:
        """Parse one piece further, reading only if nothing is left to parse; False if the client sends no more."""
        if self._parser.unparsed:
            self._parser.step()
            return True
        data = await self._read()
        self._parser.feed(data)
        return bool(data)

    async def _read(self) -> bytes:
        """What the client sent; nothing if it sends no more."""
        try:
            data = await self._transport.receive(_READ_BYTES)
        except _BROKEN:
            return b""
        self.moves += 1
        return data

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.stage += 1
