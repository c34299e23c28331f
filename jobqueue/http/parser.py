"""Bytes to requests: the first thing that happens to what a client sends. Pure: no clock, no socket, no Trio.

llhttp (through httptools) does the grammar of RFC 9112, `framing.py` adds what it leaves open, and here are the sizes.
Parsing goes piece by piece, so a client that sends a thousand requests at once has only a few of them in memory.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NoReturn

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from jobqueue.errors import BadRequest, HeadersTooLarge, JobQueueError, TargetTooLong
from jobqueue.http.framing import check_head
from jobqueue.http.limits import Limits
from jobqueue.http.request import Request

PIECE_BYTES = 4096  # parsed in one go, unless a body is known to be longer: at most 150 requests of memory for it

_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ")
_MAX_METHOD = 32
_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{0,33}").match  # RFC 9110 section 5.6.2
_FIELD_OVERHEAD = len(": \r\n")


class Parser:
    """Takes bytes in `feed`, puts requests in `ready`; `error` says why nothing more comes after those.

    A request is ready when its head is whole; its body goes on filling it. While `unparsed` holds something, `step`
    goes on with it, and `feed` must wait. After an error both do nothing.
    """

    def __init__(self, limits: Limits) -> None:
        self.ready: deque[Request] = deque()
        self.error: JobQueueError | None = None
        self.unparsed: bytes | memoryview = b""
        self._limits = limits
        self._llhttp = HttpRequestParser(self)
        self._message = Request()
        self._begun = False  # some of _message is here, and its end is not
        self._headed = False  # so is its whole head
        self._head_bytes = 0
        self._content_left = 0  # of a body with a Content-Length
        self._overhead = 0  # bytes since the last end of a head, piece of content or end of a message
        self._held = b""  # the beginning of a method
        self._method = ""  # the method for which POST stands in

    def feed(self, data: bytes | memoryview) -> None:
        """Parse the first piece of `data`, and keep the rest for `step`."""
        if self.error is not None:
            return
        size = max(PIECE_BYTES, self._content_left)
        if len(data) > size:
            view = memoryview(data)
            self.unparsed = view[size:]
            data = bytes(view[:size])
        self._parse(bytes(data))

    def step(self) -> None:
        """Parse one more piece of what was fed."""
        data = self.unparsed
        self.unparsed = b""
        self.feed(data)

    def _parse(self, piece: bytes) -> None:
        self._overhead += len(piece)
        if not self._begun:
            piece = self._known_method(piece)
        try:
            self._llhttp.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            rest = piece[upgrade.args[0] :]
            self._parse(self._head_without_upgrade() + rest)
        except HttpParserCallbackError:
            if self.error is None:
                raise  # a fault of ours
        except HttpParserError as error:
            self._fail(BadRequest(f"The request is not well-formed HTTP/1.1 ({error})."))
        if self._overhead > self._limits.max_head_bytes:  # a head, a chunk extension or trailers without end
            self._fail(HeadersTooLarge("The head of the request, or what stands between its chunks, is too large."))

    def _fail(self, error: JobQueueError) -> None:
        if self.error is not None:
            return
        self.error = error
        self.unparsed = b""
        if self._headed:
            self._message.error = error  # the app may be at it already

    def _known_method(self, piece: bytes) -> bytes:
        """The beginning of a message, with POST in the place of a method that llhttp does not know.

        Such a method is no fault of framing: the app answers 405. The real name is put back when the message begins.
        Amid pipelined requests that cannot be done: there it is a bad request.
        """
        piece = (self._held + piece).lstrip(b"\r\n")  # empty lines before a message: RFC 9112 section 2.2
        self._held = b""
        if piece.startswith(_METHODS):
            return piece
        token = _token(piece)
        method = token[0] if token else b""
        if len(method) == len(piece) <= _MAX_METHOD:
            self._held = piece
            return b""
        if not method or not piece.startswith(b" ", len(method)):
            return piece  # llhttp says what is wrong with it
        self._method = method.decode()
        return b"POST" + piece[len(method) :]

    def _head_without_upgrade(self) -> bytes:
        """The head of the message, to be read again without its wish to upgrade (RFC 9110 section 7.8: ignored).

        After such a head llhttp stops and takes the body for another protocol. Going on from there would parse the
        body as a request: a way to smuggle one in.
        """
        message = self._message
        self._llhttp = HttpRequestParser(self)
        self._begun = False
        lines = [b"%s %s HTTP/%s" % (message.method.encode(), message.target, message.version.encode())]
        lines += [b"%s: %s" % header for header in message.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # What llhttp calls. An exception there stops it; what comes out of feed_data then is an HttpParserCallbackError.

    def _refuse(self, error: JobQueueError) -> NoReturn:
        self._fail(error)
        raise error

    def on_message_begin(self) -> None:
        """Begin another request."""
        self._message = Request()
        self._message.method = self._method
        self._method = ""
        self._begun = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        message = self._message
        message.target += url
        self._head_bytes += len(url)
        if len(message.target) > self._limits.max_target_bytes:
            self._refuse(TargetTooLong(f"The request target is longer than {self._limits.max_target_bytes} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one whole header; one that follows the head is a trailer, and never becomes a header."""
        if self._headed:
            return
        message = self._message
        message.headers.append((name.lower(), value.rstrip(b" \t")))
        self._head_bytes += len(name) + len(value) + _FIELD_OVERHEAD
        limits = self._limits
        if self._head_bytes > limits.max_head_bytes or len(message.headers) > limits.max_headers:
            most = f"{limits.max_headers} headers and {limits.max_head_bytes} bytes"
            self._refuse(HeadersTooLarge(f"The head of a request may have {most}."))

    def on_headers_complete(self) -> None:
        """Check the head, and hand the request out."""
        message = self._message
        message.version = self._llhttp.get_http_version()
        message.method = message.method or self._llhttp.get_method().decode()
        self._overhead = 0
        try:
            check_head(message)
        except JobQueueError as error:
            self._refuse(error)
        if self._llhttp.should_upgrade():
            return  # it comes again, see _head_without_upgrade
        message.keep_alive = message.version == "1.1" and self._llhttp.should_keep_alive()
        self._content_left = message.length
        self._headed = True
        self.ready.append(message)

    def on_body(self, body: bytes) -> None:
        """Take a piece of content."""
        message = self._message
        message.parts.append(body)
        message.received += len(body)
        self._content_left -= len(body)
        self._overhead = 0

    def on_message_complete(self) -> None:
        """End the request."""
        if not self._headed:
            return  # it comes again
        self._message.complete = True
        self._begun = self._headed = False
        self._content_left = self._overhead = 0
