"""One request as the parser fills it and the exchange empties it."""

from __future__ import annotations

from urllib.parse import unquote

from jobqueue.errors import JobQueueError


class Request:
    """A request whose head is known and whose body may still be coming.

    `headers` have lower-case names. `parts` is content not yet taken, `received` all content so far, in bytes.
    `error` says why the body will never be whole.
    """

    __slots__ = (
        "complete",
        "error",
        "expects_continue",
        "headers",
        "host",
        "keep_alive",
        "length",
        "method",
        "parts",
        "query",
        "raw_path",
        "received",
        "streamed",
        "target",
        "version",
    )

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.host: bytes | None = None
        self.raw_path = b""
        self.query = b""
        self.length = 0  # as Content-Length has it; 0 without one
        self.keep_alive = False
        self.expects_continue = False
        self.streamed = False  # its content type is one that comes bit by bit, for as long as the client likes
        self.parts: list[bytes] = []
        self.received = 0
        self.complete = False
        self.error: JobQueueError | None = None

    @property
    def path(self) -> str:
        """The path with its escapes undone; what is not UTF-8 becomes U+FFFD, and so finds nothing."""
        text = self.raw_path.decode("ascii")
        return unquote(text) if "%" in text else text

    @property
    def settled(self) -> bool:
        """There is something to say about the body: a piece of it, its end, or that it never comes."""
        return bool(self.parts) or self.complete or self.error is not None

    def take(self) -> bytes:
        """The content that has come since the last call."""
        parts = self.parts
        self.parts = []
        return parts[0] if len(parts) == 1 else b"".join(parts)
