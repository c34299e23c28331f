"""The values that flow through the program: a job, what was asked of it, one attempt at it, and how that ended.

All are frozen. A change is a new value made by a rule in `rules/`; `stores/` keep them, `wire.py` shows them.
JSON inside (payload, result, progress data) is kept as compact UTF-8 text and never looked into.
"""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple

import msgspec

from jobqueue.clock import Micros

Json = str  # compact JSON text, checked once on its way in


class Status(enum.IntEnum):
    """Where a job is in its life (README, "A job's life"). The numbers are stored: never renumber."""

    SCHEDULED = 0
    BLOCKED = 1
    QUEUED = 2
    RUNNING = 3
    DONE = 4
    FAILED = 5
    CANCELLED = 6

    @property
    def ended(self) -> bool:
        """Nothing leaves it but an explicit retry."""
        return self > 3  # RUNNING; asked often, and naming it here is slow


class Reason(enum.StrEnum):
    """Why a job is FAILED or CANCELLED."""

    ERROR = "error"
    FATAL = "fatal"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    CRASH_LOOP = "crash-loop"
    UNKNOWN_KIND = "unknown-kind"
    UNDECODABLE = "undecodable"
    CANCELLED = "cancelled"
    DEPENDENCY = "dependency"
    REPLACED = "replaced"


class Ending(enum.StrEnum):
    """How one attempt ended: the `outcome` of its history."""

    DONE = "done"
    ERROR = "error"
    TIMEOUT = "timeout"
    RELEASED = "released"
    CRASHED = "crashed"
    LOST = "lost"
    CANCELLED = "cancelled"


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long to wait between two attempts; seconds (rules/retry.py has the arithmetic)."""

    backoff: Literal["exponential", "linear", "list"] = "exponential"
    initial: float = 1
    factor: float = 2
    max: float = 3600
    jitter: Literal["full", "equal", "none"] = "full"
    delays: tuple[float, ...] = ()


class Unique(msgspec.Struct, frozen=True, omit_defaults=True, rename={"until": "while"}):
    """A job that must be the only one of its key in its queue, and what a second one meets (rules/uniqueness.py).

    until: while it is queued (up to its first start), active (up to its end) or exists (up to its removal).
    """

    key: str
    until: Literal["queued", "active", "exists"] = "active"
    on_conflict: Literal["reject", "return", "replace"] = "reject"


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a submission may say beside kind, queue, priority, group and payload. The defaults are the server's."""

    tags: tuple[str, ...] = ()
    max_attempts: int = 5
    retry: Retry = Retry()
    timeout: float = 300
    run_at: Micros | None = None
    expires_at: Micros | None = None
    trace_parent: str | None = None
    trace_state: str | None = None
    depends_on: tuple[str, ...] = ()
    on_dependency_failure: Literal["cancel", "run"] = "cancel"
    unique: Unique | None = None


DEFAULT_OPTIONS = Options()


NOTHING_SAID = frozenset({"max_attempts", "retry", "timeout"})  # what a queue may have defaults for


class Draft(msgspec.Struct, frozen=True):
    """A job that is asked for and not yet accepted. `delay` in seconds counts from the commit.

    unsaid: the options that neither the submission nor its handler named, so that the queue may (`rules/defaults.py`).
    In `options.depends_on`, "#n" is the n-th draft of the same submission.
    """

    kind: str
    queue: str = "default"
    priority: int = 0
    group: str | None = None
    payload: Json = "null"
    options: Options = DEFAULT_OPTIONS
    delay: float | None = None
    unsaid: frozenset[str] = NOTHING_SAID


class LaneKey(NamedTuple):
    """A lane: jobs that run first in, first out. Suspects (see `rules/isolation.py`) wait in lanes of their own."""

    queue: str
    priority: int
    group: str | None
    suspect: bool = False


OPEN: Micros = 0
NEVER: Micros = (1 << 63) - 1
SPARED: Micros = 1 << 62  # on top of the `due_at` of an ended job that is kept for those who depend on it


class Lane(msgspec.Struct, frozen=True):
    """A lane's counters. `turn` is its virtual time: the lane with the smallest is served next.

    opens_at: until that moment nothing of it may start: its group is at a cap (`NEVER`: until one of its jobs ends).
    """

    key: LaneKey
    queued: int = 0
    running: int = 0
    turn: float = 0.0
    opens_at: Micros = OPEN


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a running attempt says it is; `data` is JSON."""

    percent: float | None = None
    message: str | None = None
    data: Json | None = None


class LogLine(msgspec.Struct, frozen=True):
    """One line that an attempt wrote."""

    level: str
    message: str


class Line(NamedTuple):
    """A line in the log of a job."""

    seq: int
    at: Micros
    attempt: int
    line: LogLine


class Job(msgspec.Struct, frozen=True):
    """One accepted job, whole.

    seq: its identity in the table, in order of commit. place: its order within its lane (a retry gets a new one).
    attempt counts spent tries, crashes the process deaths under it since an attempt last ended otherwise, epoch every
    start ever. due_at is the next moment at which time alone changes it. alone: it runs with nothing beside it.
    boot_id: the life of the process that runs it; None unless RUNNING here.
    """

    seq: int
    id: str
    kind: str
    queue: str
    priority: int
    group: str | None
    payload: Json
    options: Options
    created_at: Micros
    status: Status = Status.QUEUED
    reason: Reason | None = None
    place: int = 0
    attempt: int = 0
    crashes: int = 0
    epoch: int = 0
    alone: bool = False
    due_at: Micros | None = None
    started_at: Micros | None = None
    finished_at: Micros | None = None
    next_attempt_at: Micros | None = None
    cancel_requested_at: Micros | None = None
    worker: str | None = None
    boot_id: str | None = None
    result: Json | None = None
    error: Error | None = None
    progress: Progress | None = None

    @property
    def suspect(self) -> bool:
        """The process died under it often enough that it must next run alone (promise 4)."""
        return self.crashes >= SUSPECT_CRASHES

    @property
    def holds_key(self) -> bool:
        """As it stands, its unique key is its own, unless a replacement took it."""
        unique = self.options.unique
        if unique is None:
            return False
        match unique.until:
            case "queued":
                return not self.epoch and not self.status.ended
            case "active":
                return not self.status.ended
            case _:
                return True

    @property
    def lane(self) -> LaneKey:
        """Where it waits, or waited last."""
        return LaneKey(self.queue, self.priority, self.group, self.suspect)


SUSPECT_CRASHES = 2


class AttemptRecord(msgspec.Struct, frozen=True):
    """An attempt that has ended, as its history keeps it; `attempt` is the try it was, spent or not."""

    seq: int
    epoch: int
    attempt: int
    started_at: Micros
    finished_at: Micros
    ending: Ending
    worker: str | None = None
    result: Json | None = None
    error: Error | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What a taker reports of the attempt (id, epoch).

    result belongs to DONE, error to ERROR and TIMEOUT. retry_in overrides the policy's delay in seconds, fatal forbids
    a retry; reason, where given, is why the job is FAILED if it now is.
    """

    id: str
    epoch: int
    ending: Ending
    result: Json | None = None
    error: Error | None = None
    retry_in: float | None = None
    fatal: bool = False
    reason: Reason | None = None
