"""What server and child say to each other: JSON values, each behind its length in four bytes. No I/O here.

The server says `Run`, one at a time. The child says first `Ready` or `Unready`, then for each `Run` any number of
`Said` and one `Done` or `Failed`.
"""

from __future__ import annotations

import msgspec

from jobqueue.handlers.verdict import MAX_RESULT_BYTES, Verdict
from jobqueue.job import Json, LogLine, Progress

HEAD_BYTES = 4
MAX_TO_CHILD = (1 << 32) - 1  # as large as payloads may be
MAX_TO_PARENT = 2 * MAX_RESULT_BYTES + (64 << 10)  # a result as a string inside JSON doubles at most


class Run(msgspec.Struct, frozen=True, tag="run", kw_only=True):
    """Run the handler of `kind`; the rest is its context (`context.Facts`) and its payload."""

    kind: str
    id: str
    attempt: int
    epoch: int
    deadline: float
    queue: str
    parents: Json
    trace_parent: str | None
    payload: Json


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The registries are imported."""


class Unready(msgspec.Struct, frozen=True, tag="unready"):
    """They could not be; a line for each fault."""

    lines: tuple[str, ...]


class ProgressMade(msgspec.Struct, frozen=True, tag="progress"):
    progress: Progress


class LineWritten(msgspec.Struct, frozen=True, tag="log"):
    line: LogLine


class Done(msgspec.Struct, frozen=True, tag="done"):
    result: Json


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    verdict: Verdict


ToParent = Ready | Unready | ProgressMade | LineWritten | Done | Failed

to_child: msgspec.json.Decoder[Run] = msgspec.json.Decoder(Run)
to_parent: msgspec.json.Decoder[ToParent] = msgspec.json.Decoder(ToParent)


class Garbled(Exception):
    """What came over the socket is no frame: somebody else has written into it."""


def pack(message: Run | ToParent) -> bytes:
    """A message as a frame."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(HEAD_BYTES) + body


class Splitter:
    """Cuts a stream of bytes, as they come, into the bodies of frames of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in what came next."""
        self._bytes += data

    def pop(self) -> bytes | None:
        """The next body, or None until more has come. Raises Garbled on a length that no frame has."""
        if len(self._bytes) < HEAD_BYTES:
            return None
        size = int.from_bytes(self._bytes[:HEAD_BYTES])
        if not 0 < size <= self._most:
            raise Garbled(f"a frame of {size:,} bytes")
        end = HEAD_BYTES + size
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[HEAD_BYTES:end])
        del self._bytes[:end]
        return body
