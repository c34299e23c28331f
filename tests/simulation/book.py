"""What all parts of the judge write in and read: the committed jobs, their histories, and what was found wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from jobqueue.clock import Micros
from jobqueue.job import AttemptRecord, Job
from jobqueue.queue import Queue
from jobqueue.schedule import Schedule
from tests.simulation.plan import Plan
from tests.simulation.world import Trace

SLACK_SECONDS = 3.0  # between the moment of an order, or of a job, and its effect
SLOW_SLACK_SECONDS = 100.0  # the same where commits take up to 10 s, and a spoiled batch one for each command
GONE = ("removed", 0, 0)  # the state of a job that is no more

State = tuple[str, int, int]


class Host(Protocol):
    """What the judge must know of a life of the program."""

    number: int
    draining: bool
    started_at: float
    up_at: Micros  # since when it has served


class Move(NamedTuple):
    """One change of one job, as a rule made it."""

    before: Job | None
    after: Job | None
    record: AttemptRecord | None


class Configured(NamedTuple):
    """A queue got these settings."""

    queue: Queue


class Planned(NamedTuple):
    """A schedule is now this; None = it is no more."""

    name: str
    schedule: Schedule | None


Deed = Move | Configured | Planned


class Mark(NamedTuple):
    """A moment at which somebody began to ask: how many states each job had had, and how many commits there were."""

    states: Mapping[str, int]
    tick: int


class Book:
    """What is committed, and what must not be. The first thing that is wrong is noted, and `stop` ends the run."""

    def __init__(self, plan: Plan, trace: Trace, now: Callable[[], Micros]) -> None:
        self.plan = plan
        self.trace = trace
        self.now = now
        self.slack = SLOW_SLACK_SECONDS if plan.has("slow") else SLACK_SECONDS
        self.stop: Callable[[], object] = lambda: None
        self.violations: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.removed: dict[str, Job] = {}
        self.history: dict[str, list[State]] = {}
        self.tick = 0  # commits so far

    def blame(self, what: str) -> None:
        """Something that must hold does not."""
        self.trace("VIOLATION", what)
        self.violations.append(what)
        self.stop()

    def check(self, fault: str | None) -> None:
        """Blame, if there is something to."""
        if fault is not None:
            self.blame(fault)

    def exact(self) -> bool:
        """Whether things must happen in time: the wall clock runs evenly, and the store takes what it is given."""
        return not any(self.plan.has(fault) for fault in ("jump", "full", "busy"))

    def unended(self) -> list[str]:
        """The jobs that have not ended."""
        return [id for id, job in self.jobs.items() if not job.status.ended]


def core(job: Job) -> tuple[str, int, int, int, int]:
    """What moves of a job are told apart by."""
    return job.status.name, job.epoch, job.attempt, job.crashes, job.place


def state(job: Job) -> State:
    """What an answer shows of it, for certain."""
    return job.status.name, job.epoch, job.attempt
