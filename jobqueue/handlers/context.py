"""What a handler is given beside its payload: which attempt this is, and the means to say how far it has come.

`Context` goes to async handlers in the server, `ProcessContext` to those in a process of their own (`child/`): the same
fields and limits, awaited there and plain calls here. Where a report goes is injected by whoever runs the handler.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from jobqueue.handlers.verdict import between, encode, plain, text
from jobqueue.job import Json, LogLine, Progress

MAX_MESSAGE_CHARS = 1_000
MAX_LINE_BYTES = 8 << 10
MAX_DATA_BYTES = 64 << 10
LEVELS = ("debug", "info", "warning", "error")

NO_PARENTS: Mapping[str, Any] = MappingProxyType({})


class Facts(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Which attempt this is.

    id: the job's. attempt: the try that this is, from 1. epoch: grows with every start of the job, so it can serve as
    fencing token. deadline: when the attempt times out, as Unix time in seconds. parents: the jobs that this one
    depends on, by id, each with "status" and "result" (a value, or None); one that was removed is not among them.
    trace_parent: the submission's W3C Trace Context.
    """

    id: str
    attempt: int
    epoch: int
    deadline: float
    queue: str = "default"
    parents: Mapping[str, Any] = NO_PARENTS
    trace_parent: str | None = None


class Context(Facts, frozen=True, eq=False, kw_only=True):
    """The first argument of an async handler. The two `report_` functions are where its reports go."""

    report_progress: Callable[[Progress], Awaitable[None]]
    report_log: Callable[[LogLine], Awaitable[None]]

    async def progress(self, percent: float | None = None, message: str | None = None, data: Any = None) -> None:
        """Say how far the work has come: percent from 0 to 100, a message of up to 1,000 characters, any JSON.

        Raises ValueError if percent is no number, or data is not JSON of at most 64 KiB.
        """
        await self.report_progress(progress_report(percent, message, data))

    async def log(self, message: object, level: str = "info") -> None:
        """Write a line of up to 8 KiB into the job's log. Raises ValueError on an unknown level."""
        await self.report_log(log_line(message, level))


class ProcessContext(Facts, frozen=True, eq=False, kw_only=True):
    """The first argument of a handler that runs in a process: the same, with plain calls from any of its threads."""

    report: Callable[[Progress | LogLine], None]

    def progress(self, percent: float | None = None, message: str | None = None, data: Any = None) -> None:
        """Say how far the work has come, as `Context.progress`. Raises RuntimeError once the attempt has ended."""
        self.report(progress_report(percent, message, data))

    def log(self, message: object, level: str = "info") -> None:
        """Write a line into the job's log, as `Context.log`. Raises RuntimeError once the attempt has ended."""
        self.report(log_line(message, level))


def progress_report(percent: float | None, message: object, data: object) -> Progress:
    """A progress report within its limits; percent is brought into 0..100, as sums stray. Raises ValueError."""
    if percent is not None:
        if not between(percent, -math.inf, math.inf):
            raise ValueError(f"percent must be a number from 0 to 100, not {percent!r}")
        percent = float(min(max(percent, 0), 100))
    encoded: Json | None = None
    if data is not None:
        try:
            encoded = encode(data, MAX_DATA_BYTES)
        except ValueError as error:
            raise ValueError(f"the data of a progress report {error}") from None
    return Progress(percent, None if message is None else text(message, MAX_MESSAGE_CHARS), encoded)


def log_line(message: object, level: str) -> LogLine:
    """A line of the log within its limits. Raises ValueError on an unknown level."""
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    whole = str(message)
    encoded = plain(whole[: MAX_LINE_BYTES + 1]).encode()  # a character is at least a byte: no more could be kept
    if len(encoded) <= MAX_LINE_BYTES:
        return LogLine(level, encoded.decode())
    mark = f"... (cut: {len(whole):,} characters in all)"
    return LogLine(level, encoded[: MAX_LINE_BYTES - len(mark)].decode("utf-8", "ignore") + mark)
