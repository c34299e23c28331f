"""What the reaper sees of a connection, and how long each thing in it has looked as it looks now. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from jobqueue.http.limits import Cause

if TYPE_CHECKING:
    from jobqueue.http.limits import Limits
    from jobqueue.http.request import Request


class Phase(enum.Enum):
    """Where a connection is; OPENING and IDLE are those in which nobody would miss it."""

    OPENING = enum.auto()  # before the first byte
    HEAD = enum.auto()  # some of a head is here
    BUSY = enum.auto()  # a request is being answered
    IDLE = enum.auto()  # between two requests
    LINGER = enum.auto()  # all is said


class Watched(Protocol):
    """What a connection shows of itself, and what can be done to it."""

    phase: Phase
    stage: int  # grows with every change of phase
    moves: int  # grows with every read and write
    writing: bool
    request: Request
    chart: Chart
    fd: int  # -1: no socket

    @property
    def waiting(self) -> bool:
        """The app waits for a piece of the body."""

    def cut(self, *, reset: bool = False) -> None:
        """End the connection now, and the app that works for it; `reset`: drop what the client did not read."""

    def expire_body(self) -> None:
        """End the app's wait for a body that comes too slowly."""


class Since:
    """For how long a thing has looked as it looks now; counted from the first look, so never too long."""

    __slots__ = ("_at", "_sight")

    def __init__(self) -> None:
        self._sight: object = None
        self._at = 0.0

    def age(self, sight: object, now: float) -> float:
        """Seconds since `sight` was first seen in an unbroken row of looks."""
        if sight != self._sight:
            self._sight = sight
            self._at = now
        return now - self._at


class Chart:
    """The reaper's notes on one connection."""

    __slots__ = ("_content", "_last_look", "_stage", "_waited", "_waiting", "_write", "age", "ended", "silence")

    def __init__(self) -> None:
        self.age = 0.0  # of the present stage
        self.silence = 0.0  # since the last content of a body came, or was first waited for
        self.ended = False  # by the reaper
        self._stage = Since()
        self._write = Since()
        self._content = Since()
        self._waiting = False
        self._waited = 0.0  # for the body of the present request
        self._last_look = 0.0

    def judge(self, it: Watched, now: float, limits: Limits, *, draining: bool) -> Cause | None:
        """Which bound `it` is over, if any."""
        self.age = self._stage.age(it.stage, now)
        match it.phase:
            case Phase.BUSY:
                return self._judge_busy(it, now, limits, draining=draining)
            case Phase.IDLE:
                return Cause.IDLE if self.age >= limits.idle_seconds else None
            case Phase.LINGER:
                return Cause.LINGER if self.age >= limits.linger_seconds else None
            case _:
                return Cause.SLOW_HEAD if self.age >= limits.head_seconds else None

    def _judge_busy(self, it: Watched, now: float, limits: Limits, *, draining: bool) -> Cause | None:
        stuck = self._write.age((it.writing, it.moves), now)
        bound = limits.draining_write_seconds if draining else limits.write_seconds
        if it.writing and stuck >= bound:
            return Cause.BLOCKED_WRITE
        return Cause.SLOW_BODY if self._body_is_slow(it, now, limits) else None

    def _body_is_slow(self, it: Watched, now: float, limits: Limits) -> bool:
        """Only the app's waits count: a body that nobody reads is not slow."""
        self.silence = self._content.age((it.stage, it.waiting, it.request.received), now)
        elapsed = now - self._last_look
        if not self.age:
            self._waited = 0.0
        elif it.waiting and self._waiting:
            self._waited += elapsed
        self._waiting = it.waiting
        self._last_look = now
        if not it.waiting:
            return False
        if it.request.streamed:
            return self.silence >= limits.stream_body_seconds
        due = self._waited * limits.body_bytes_per_second
        return self._waited >= limits.body_seconds and it.request.received < due
