"""A request and a response as plain values: what an endpoint sees, whichever door the request came through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from jobqueue import strictjson
from jobqueue.errors import BadRequest, BodyTooLarge, UnsupportedMediaType

Headers = Sequence[tuple[bytes, bytes]]
Write = Callable[[bytes], Awaitable[None]]

ARRAY_FACTOR = 8  # a body of many jobs may be this much larger than one of one job
MERGE_PATCH = "application/merge-patch+json"
_SPACE = b" \t\r\n"


class ClientGone(Exception):
    """The body will never come whole: nobody waits for an answer, or the connection gives its own."""


class Response(NamedTuple):
    """An answer. Where given, `stream` writes the body piece by piece instead of `body`, or `pieces` are the body.

    `stream` may write while it reads, and is meant to end; `pieces` may go on for as long as the client listens.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    stream: Callable[[Write], Awaitable[None]] | None = None
    pieces: AsyncGenerator[bytes, None] | None = None


BODILESS = (204, 304)  # statuses of answers that have no body, nor say how long it is
JSON_TYPE = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")


def json_response(body: bytes, status: int = 200, headers: Headers = ()) -> Response:
    """An answer of JSON; jobs change, so no cache may keep it unasked."""
    return Response(status, body, (JSON_TYPE, NO_STORE, *headers))


class Request:
    """A request. `receive` is ASGI's; the body is read only when it is asked for."""

    __slots__ = ("_by_name", "_receive", "_rest", "method", "params", "path", "query", "request_id", "scheme")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        *,
        params: Mapping[str, str],
        request_id: str,
        scheme: str = "http",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self._by_name = _joined(headers)
        self.params = params
        self.request_id = request_id
        self.scheme = scheme
        self._receive = receive
        self._rest = True

    def header(self, name: bytes) -> str | None:
        """The value of a header, by its lower-case name; None if it is absent. Several are joined by commas."""
        value = self._by_name.get(name)
        return None if value is None else value.decode("latin-1")

    def has_header(self, name: bytes) -> bool:
        """Whether a header is there."""
        return name in self._by_name

    async def chunk(self) -> bytes | None:
        """The next piece of the body, or None after its end. Raises ClientGone."""
        if not self._rest:
            return None
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        self._rest = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    async def body(self, most: int, *, array: bool = False) -> bytes:
        """The whole body. With `array`, one that begins with `[` may have ARRAY_FACTOR times the bytes.

        Raises BodyTooLarge, reading no further, and ClientGone.
        """
        declared = int(self.header(b"content-length") or 0)
        if declared > most * (ARRAY_FACTOR if array else 1):
            raise _too_large(most)
        pieces: list[bytes] = []
        size = 0
        bound = most
        blank = array  # nothing but white space so far
        while (piece := await self.chunk()) is not None:
            if blank and (begun := piece.lstrip(_SPACE)):
                blank = False
                bound = most * ARRAY_FACTOR if begun.startswith(b"[") else most
            size += len(piece)
            if size > bound or (declared > bound and not blank):
                raise _too_large(bound)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def json(
        self, most: int, *, array: bool = False, optional: bool = False, apart: str | None = None
    ) -> tuple[Any, bytes]:
        """The body as JSON, and as it came. With `optional` an empty body is an empty object.

        `array` as for `body`, `apart` as for `strictjson.loads`. Raises UnsupportedMediaType, and what those two raise.
        """
        self.refuse_coding()
        typed = self.media_type() == "application/json"
        if not typed and not optional:
            raise UnsupportedMediaType("send JSON: curl -H 'Content-Type: application/json'")
        raw = await self.body(most, array=array)
        if optional and not raw.strip(_SPACE):
            return {}, raw
        if not typed:
            raise UnsupportedMediaType("send JSON: curl -H 'Content-Type: application/json'")
        return strictjson.loads(raw, apart=apart), raw

    async def merge_patch(self, most: int) -> Any:
        """The body of a PATCH (RFC 7396), under its own media type or plain JSON; an empty one is an empty object.

        Raises as `json`.
        """
        if self.media_type() == MERGE_PATCH:
            self.refuse_coding()
            raw = await self.body(most)
            return strictjson.loads(raw) if raw.strip(_SPACE) else {}
        said, _ = await self.json(most, optional=True)
        return said

    def media_type(self) -> str:
        """The media type of the body, without parameters; empty if none is given."""
        value = self._by_name.get(b"content-type")
        return "" if value is None else _media_type(value)

    def refuse_coding(self) -> None:
        """Raises UnsupportedMediaType for a compressed body: it may hide any size."""
        coding = self.header(b"content-encoding")
        if coding is not None and coding.strip().lower() != "identity":
            raise UnsupportedMediaType(f"no content-encoding is taken, not {coding}")

    def queries(self) -> list[tuple[str, str]]:
        """The query's names and values. Raises BadRequest if it is malformed."""
        if not self.query:
            return []
        try:
            return parse_qsl(
                self.query.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=100,
            )
        except ValueError:
            raise BadRequest("the query is malformed") from None

    def number(self, name: str, most: int, *, least: int = 0) -> int | None:
        """A whole number of the query, at most `most`; None if absent. Raises BadRequest."""
        values = [value for key, value in self.queries() if key == name]
        if not values:
            return None
        text = values[-1]
        number = int(text.lstrip("0")[:20] or "0") if text.isascii() and text.isdigit() else -1
        if number < least:
            raise BadRequest(f"{name} must be a whole number from {least}")
        return min(number, most)


def _too_large(bound: int) -> BodyTooLarge:
    """The connection closes after it, even if the rest of the body has come already."""
    return BodyTooLarge(f"a body may have {bound:,} bytes", headers=(("connection", "close"),))


def _joined(headers: Headers) -> dict[bytes, bytes]:
    """Headers by name; the values of several with one name joined (RFC 9110 section 5.3)."""
    by_name = dict(headers)
    if len(by_name) != len(headers):
        by_name = {}
        for name, value in headers:
            by_name[name] = b"%s, %s" % (by_name[name], value) if name in by_name else value
    return by_name


@lru_cache(maxsize=256)
def _media_type(value: bytes) -> str:
    return value.decode("latin-1").partition(";")[0].strip().lower()
