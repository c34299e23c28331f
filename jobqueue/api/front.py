"""The two doors, to the same endpoints.

Quart-Trio serves the whole table; before it stands an ASGI front for the few hot rows, without what a framework adds to
each request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import quart
import trio
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from jobqueue.api import problems
from jobqueue.api.exchange import BODILESS, ClientGone, Request, Response
from jobqueue.api.parts import Parts
from jobqueue.api.routes import ROUTES, Route, answer
from jobqueue.errors import (
    BadRequest,
    BodyTooLarge,
    Internal,
    JobQueueError,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
)

NOTHING = "there is nothing here"

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Front:
    """The ASGI app of a server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.quart = quart_app(parts)
        self._framework = cast("Any", self.quart)  # its type of ASGI names every message
        hot = [route for route in ROUTES if route.hot]
        self._exact = {(route.method, route.path): route for route in hot if "{" not in route.path}
        self._prefixed = {
            (route.method, route.path.removesuffix("{id}")): route for route in hot if route.path.endswith("{id}")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            route = self._exact.get((method, path))
            params: Mapping[str, str] = {}
            if route is None:
                cut = path.rfind("/") + 1
                route = self._prefixed.get((method, path[:cut]))
                params = {"id": path[cut:]}
            if route is not None and (not params or params["id"]):
                await self._serve(route, params, scope, receive, send)
                return
            if method != method.upper():  # to the framework `get` is GET; to HTTP it is unknown (RFC 9110 section 9.1)
                scope = {**scope, "method": ""}
        await self._framework(scope, receive, send)

    async def _serve(self, route: Route, params: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(
            scope["method"],
            scope["path"],
            scope["query_string"],
            scope["headers"],
            receive,
            params=params,
            request_id=scope.get("state", {}).get("request_id") or self._parts.new_id(),
            scheme=scope["scheme"],
        )
        try:
            response = await answer(route, request, self._parts)
        except ClientGone:
            return  # the connection says what there is to say
        status, body, headers, stream, _ = response  # no hot row answers in pieces without end
        if stream is None:
            length = (b"content-length", b"%d" % len(body))
            headers = (*headers, length) if status not in BODILESS else headers
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})

        async def write(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        gone = False
        try:
            await stream(write)
        except* ClientGone:
            gone = True
        if gone:
            return  # the answer breaks off, so it does not look whole
        await send({"type": "http.response.body", "body": b""})


def quart_app(parts: Parts) -> QuartTrio:
    """Quart with the whole table mounted, and every error of its own as a problem."""
    app = QuartTrio("jobqueue", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None  # the endpoints bound what they read
    app.config["RESPONSE_TIMEOUT"] = None  # the connection watches writes
    app.config["BODY_TIMEOUT"] = None  # and reads
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    for route in ROUTES:
        app.add_url_rule(
            route.path.replace("{", "<").replace("}", ">"),
            endpoint=f"{route.method} {route.path}",
            view_func=_view(route, parts),
            methods=[route.method],
            provide_automatic_options=False,
        )

    async def refuse(error: Exception) -> quart.Response:
        """What the framework refuses, in our words."""
        return await _to_quart(problems.problem(_translate(error), _request_id(parts)))

    app.register_error_handler(Exception, refuse)
    return app


def _view(route: Route, parts: Parts) -> Callable[..., Awaitable[quart.Response]]:
    async def view(**params: str) -> quart.Response:
        request = _from_quart(params, parts)
        if _scope()["path"].startswith("//"):  # the framework's table reads that as one slash
            return await _to_quart(problems.problem(NotFound(NOTHING), request.request_id))
        try:
            response = await answer(route, request, parts)
        except ClientGone:
            response = problems.problem(RequestTimeout(), request.request_id)
        return await _to_quart(response)

    return view


def _from_quart(params: Mapping[str, str], parts: Parts) -> Request:
    incoming = quart.request
    pieces = incoming.body.__aiter__()

    async def receive() -> Message:
        try:
            return {"type": "http.request", "body": await pieces.__anext__(), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    return Request(
        incoming.method,
        incoming.path,
        incoming.query_string,
        [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in incoming.headers],
        receive,
        params=params,
        request_id=_request_id(parts),
        scheme=incoming.scheme,
    )


def _scope() -> Scope:
    return cast("Scope", quart.request.scope)


def _request_id(parts: Parts) -> str:
    return _scope().get("state", {}).get("request_id") or parts.new_id()


async def _to_quart(response: Response) -> quart.Response:
    body = response.body
    if response.stream is not None:  # through this door a stream is answered when it is whole
        pieces: list[bytes] = []

        async def write(piece: bytes) -> None:
            pieces.append(piece)
            await trio.lowlevel.checkpoint()

        await response.stream(write)
        body = b"".join(pieces)
    made = quart.Response(response.pieces or body, status=response.status)
    made.headers.clear()
    for name, value in response.headers:
        made.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    if response.pieces is None and response.status not in BODILESS:
        made.headers["content-length"] = str(len(body))
    return made


def _translate(error: Exception) -> JobQueueError:
    if isinstance(error, JobQueueError):
        return error
    if not isinstance(error, HTTPException):
        problems.log.error("request failed", exc_info=error)
        return Internal()
    if error.code == 405:
        methods = sorted(getattr(error, "valid_methods", None) or ())
        allow = ", ".join(methods)
        return MethodNotAllowed(f"allowed here: {allow}", headers=(("allow", allow),))
    kinds: dict[int, type[JobQueueError]] = {404: NotFound, 408: RequestTimeout, 413: BodyTooLarge, 500: Internal}
    kind = kinds.get(error.code or 500, BadRequest)
    return kind(NOTHING if kind is NotFound else "")
