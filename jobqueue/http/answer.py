"""One answer as bytes: its head, and its body in the framing that the head announced. Pure; `exchange.py` drives it.

Which framing is RFC 9112 section 6: a known length, else chunks, else (HTTP/1.0) the end of the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_BODILESS = frozenset({204, 304})
_FINAL = range(200, 600)
_OURS = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding"})  # decided here, not by the app
_LAST_CHUNK = b"0\r\n\r\n"


class AnswerError(RuntimeError):
    """What the app sent is no HTTP answer; a fault of the app."""


class Answer:
    """The bytes of one answer. `closes`: the connection ends with it, and its head says so."""

    __slots__ = ("_bare", "_chunked", "_chunks_allowed", "_head_only", "_left", "closes")

    def __init__(self, *, head_only: bool, chunks_allowed: bool, closes: bool) -> None:
        self.closes = closes
        self._head_only = head_only
        self._chunks_allowed = chunks_allowed
        self._bare = False  # no body, whatever the app sends
        self._chunked = False
        self._left: int | None = None  # bytes of a known length that are still to come

    def begin(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], date_line: bytes, body: bytes, *, more: bool
    ) -> bytes:
        """The head and the first piece of the body, to be sent in one go.

        Raises AnswerError, with nothing begun: no final status, a line break in a header, a body that does not fit.
        """
        if status not in _FINAL:
            raise AnswerError(f"{status} is no status of a final answer")
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, date_line]
        length = None
        for name, value in headers:
            lower = name.lower()
            if lower not in _OURS:
                lines.append(b"%s: %s\r\n" % (lower, value))
            elif lower == b"content-length":
                length = int(value)
            elif lower == b"connection" and value.lower() == b"close":
                self.closes = True
        lines.append(self._frame_line(status, length, body, more=more))
        if self.closes:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        self._refuse_injection(head, lines)
        return b"%s\r\n%s" % (head, self.go_on(body, more=more))

    def go_on(self, body: bytes, *, more: bool) -> bytes:
        """The next piece of the body as it goes over the wire; may be empty. Raises AnswerError if it does not fit."""
        if self._bare:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + _LAST_CHUNK
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise AnswerError("the body does not have the length that its content-length says")
        return body

    def _frame_line(self, status: int, length: int | None, body: bytes, *, more: bool) -> bytes:
        """Choose the framing; its header, empty if it needs none."""
        self._bare = self._head_only or status in _BODILESS
        if status in _BODILESS:
            return b""
        if length is None and not more and (body or not self._bare):
            length = len(body)
        if length is not None:
            self._left = length
            return b"content-length: %d\r\n" % length
        if self._chunks_allowed:
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        self.closes = True
        return b""

    def _refuse_injection(self, head: bytes, lines: list[bytes]) -> None:
        """A line break or NUL in a header would let whoever wrote it write headers, or a whole answer, of their own."""
        breaks = sum(1 for line in lines if line)
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
            raise AnswerError("a header holds a line break or a NUL")
