"""What a server should do, said again and simply: jobs in a dict, work that takes no time, a clock that is told.

Time only passes in `advance`. Between two commands everything that may run has run: so each command finds the jobs
waiting (SCHEDULED, BLOCKED, or QUEUED in a paused queue) or ended, never RUNNING.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAITING = ("SCHEDULED", "BLOCKED", "QUEUED")
ENDED = ("DONE", "FAILED", "CANCELLED")
DELAYS = (10.0, 100.0)  # before the second try, before all further ones


@dataclass
class ModelJob:
    """One job. Times are seconds since the model began; order is the order of acceptance."""

    id: str
    order: int
    queue: str
    kind: str
    payload: Any
    priority: int = 0
    group: str | None = None
    tags: tuple[str, ...] = ()
    max_attempts: int = 1
    delay: float | None = None
    expires: float | None = None
    unique: dict[str, str] | None = None
    parents: tuple[str, ...] = ()
    on_failure: str = "cancel"
    status: str = "QUEUED"
    reason: str | None = None
    attempt: int = 0
    epoch: int = 0
    due: float | None = None
    result: Any = None

    free: bool = False  # it was retried, and then depends on nobody

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def needs(self) -> tuple[str, ...]:
        """The parents that must stay, since the job has not ended."""
        return () if self.ended or self.free else self.parents

    def end(self, status: str, reason: str | None = None, result: Any = None) -> None:
        """It has ended."""
        self.status, self.reason, self.result, self.due = status, reason, result, None


class Refused(Exception):
    """A command that the server must refuse with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Model:
    """The jobs, the paused queues, the time."""

    now: float = 0.0
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    holders: dict[tuple[str, str], str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    # -- submissions

    def meets(self, queue: str, unique: dict[str, str] | None) -> ModelJob | None:
        """The job that a submission with this key would meet."""
        if unique is None or (queue, unique["key"]) not in self.holders:
            return None
        return self.jobs[self.holders[queue, unique["key"]]]

    def accept(self, job: ModelJob) -> None:
        """Take in a job for which room was made, and let it run if it may."""
        holder = self.meets(job.queue, job.unique)
        if holder is not None and not holder.ended:
            holder.end("CANCELLED", "replaced")
        self.jobs[job.id] = job
        if job.unique is not None:
            self.holders[job.queue, job.unique["key"]] = job.id
        if job.delay is not None:
            job.due = self.now + job.delay
        job.status = "BLOCKED" if job.parents else self.unblocked(job)
        self.settle()

    def unblocked(self, job: ModelJob) -> str:
        """What a job is that waits for no other."""
        if job.due is not None and job.due > self.now:
            return "SCHEDULED"
        job.due = None
        return "QUEUED"

    # -- commands

    def known(self, id: str) -> ModelJob:
        """The job. Raises Refused where it was removed."""
        if id in self.removed:
            raise Refused(410)
        return self.jobs[id]

    def cancel(self, id: str) -> ModelJob:
        """Cancel."""
        job = self.known(id)
        if job.status in ("DONE", "FAILED"):
            raise Refused(409)
        if job.status != "CANCELLED":
            job.end("CANCELLED", "cancelled")
            self.settle()
        return job

    def retry(self, id: str) -> ModelJob:
        """Start afresh."""
        job = self.known(id)
        if job.status not in ("FAILED", "CANCELLED"):
            raise Refused(409)
        holder = self.meets(job.queue, job.unique)
        if holder is not None and holder is not job:
            raise Refused(409)
        job.status, job.reason, job.attempt, job.due, job.expires, job.result = "QUEUED", None, 0, None, None, None
        job.delay, job.free = None, True
        if job.unique is not None and self.holds(job):
            self.holders[job.queue, job.unique["key"]] = job.id
        self.settle()
        return job

    def delete(self, id: str) -> None:
        """Remove an ended job."""
        job = self.known(id)
        if not job.ended or any(id in child.needs for child in self.jobs.values()):
            raise Refused(409)
        del self.jobs[id]
        self.removed.add(id)
        for place in [place for place, holder in self.holders.items() if holder == id]:
            del self.holders[place]

    def advance(self, seconds: float) -> None:
        """Let time pass, moment by moment."""
        until = self.now + seconds
        while (moment := self.next_moment()) is not None and moment <= until:
            self.now = max(self.now, moment)
            for job in sorted(self.jobs.values(), key=lambda job: job.order):
                if job.ended:
                    continue
                if job.expires is not None and job.expires <= self.now:
                    job.end("FAILED", "expired")
                elif job.status == "SCHEDULED" and job.due is not None and job.due <= self.now:
                    job.status, job.due = "QUEUED", None
            self.settle()
        self.now = until

    def next_moment(self) -> float | None:
        """When time next changes anything."""
        live = [job for job in self.jobs.values() if not job.ended]
        moments = [job.due for job in live if job.status == "SCHEDULED" and job.due is not None]
        moments += [job.expires for job in live if job.expires is not None]
        return min(moments, default=None)

    # -- what follows from it

    def settle(self) -> None:
        """Run what may run, tell children of their parents, until nothing changes any more."""
        changed = True
        while changed:
            changed = False
            self.let_go()
            for job in sorted(self.jobs.values(), key=lambda job: job.order):
                if job.status == "BLOCKED":
                    changed = self.hear(job) or changed
                elif job.status == "QUEUED" and job.queue not in self.paused:
                    self.run(job)
                    changed = True
        self.let_go()

    def hear(self, job: ModelJob) -> bool:
        """Look at the parents; True if that changed the job."""
        parents = [self.jobs[id] for id in job.parents]
        if job.on_failure == "cancel" and any(parent.status in ("FAILED", "CANCELLED") for parent in parents):
            job.end("CANCELLED", "dependency")
            return True
        if all(parent.ended for parent in parents):
            job.status = self.unblocked(job)
            return True
        return False

    def run(self, job: ModelJob) -> None:
        """One attempt."""
        job.attempt += 1
        job.epoch += 1
        if job.kind in ("ok", "parents") or (job.kind == "flaky" and job.attempt > 1):
            job.end("DONE", result=job.payload)
        elif job.kind == "fatal" or job.attempt >= job.max_attempts:
            job.end("FAILED", "fatal" if job.kind == "fatal" else "error")
        else:
            job.status, job.due = "SCHEDULED", self.now + DELAYS[min(job.attempt, len(DELAYS)) - 1]

    def let_go(self) -> None:
        """Free the unique keys whose time is over."""
        for place, id in list(self.holders.items()):
            if not self.holds(self.jobs[id]):
                del self.holders[place]

    def holds(self, job: ModelJob) -> bool:
        """Whether the job may keep its unique key as it stands."""
        until = (job.unique or {}).get("while", "active")
        return until == "exists" or (not job.ended and (until == "active" or not job.epoch))
