"""The oracle of events: a listener is told each change of its filter once, in order, or of a gap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import trio

from jobqueue.job import Job, Status
from tests.simulation.book import Deed, Move


class Told(NamedTuple):
    """A change of status, as an event tells it."""

    id: str
    queue: str
    kind: str
    status: str
    reason: str | None
    attempt: int


class Event(NamedTuple):
    """What came: a name (None: a comment), an id and data."""

    name: str | None
    id: str | None
    data: Mapping[str, Any]


@dataclass
class Life:
    """What happened in one life of the program. `last` is where the last commit begins; it may not be told yet."""

    log: list[Told] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    last: int = 0


class Stream:
    """All changes that listeners must be told, by life."""

    def __init__(self) -> None:
        self.lives: dict[int, Life] = {}
        self.jobs: dict[str, list[Told]] = {}

    def life(self, number: int) -> Life:
        """One of them."""
        return self.lives.setdefault(number, Life())

    def committed(self, deeds: Sequence[Deed], number: int) -> None:
        """A commit: of each job only what it was before and is after. What a boot gives back nobody can hear."""
        moves = [deed for deed in deeds if isinstance(deed, Move)]
        recovery = any(_of_another_life(move.before, number) for move in moves)
        changes: dict[str, tuple[Job | None, Job | None]] = {}
        for before, after, _ in moves:
            job = after or before
            assert job is not None
            changes[job.id] = (changes[job.id][0] if job.id in changes else before, after)
        told = [step for before, after in changes.values() for step in _steps(before, after)]
        for step in told:
            self.jobs.setdefault(step.id, []).append(step)
        if not recovery:
            life = self.life(number)
            life.last = len(life.log)
            life.log += told
            life.at += [trio.current_time()] * len(told)

    def job_fault(self, id: str, told: Sequence[Told], *, whole: bool) -> str | None:
        """A stream of one job brought this, and came to its own end if `whole`. What is wrong with that."""
        log = self.jobs.get(id, [])
        spans = (log[start : start + len(told)] for start in range(len(log)))
        if told and list(told) not in spans:
            return f"a listener of {id} was told {told}, but it was {log}"
        if whole and not (told and Status[told[-1].status].ended):
            return f"the stream of {id} ended after {told}"
        return None


def _of_another_life(before: Job | None, number: int) -> bool:
    return before is not None and before.boot_id not in (None, f"boot-{number}")


def _steps(before: Job | None, after: Job | None) -> Iterable[Told]:
    if after is None:
        return
    came = None if before is None else before.status
    if before is not None and came is after.status and before.epoch == after.epoch:
        return
    if after.status is Status.RUNNING and came is not Status.QUEUED:
        yield Told(after.id, after.queue, after.kind, "QUEUED", None, after.attempt - 1)
    reason = after.reason.value if after.reason is not None and after.status.ended else None
    yield Told(after.id, after.queue, after.kind, after.status.name, reason, after.attempt)


def parsed(body: bytes) -> list[Event]:
    """The events that came whole."""
    return [_event(block.decode()) for block in body.split(b"\n\n")[:-1]]


def _event(block: str) -> Event:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
    return Event(fields.get("event"), fields.get("id"), json.loads(fields.get("data", "{}")))


def told_by(events: Iterable[Event]) -> list[Told]:
    """What they tell of jobs."""
    return [Told(**{name: event.data[name] for name in Told._fields}) for event in events if event.name == "job"]
