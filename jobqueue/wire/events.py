"""What happens to jobs, as it is told: one step of a job's life or one report of its progress as server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from jobqueue.clock import Micros, iso
from jobqueue.job import Job, Progress, Status
from jobqueue.wire.shown import STATUS_NAMES, progress_fields

MEDIA_TYPE = "text/event-stream"
_FIRST_END = int(Status.DONE)
_encode = msgspec.json.encode


class Step(msgspec.Struct, gc=False):
    """A job has come to this status; or, where there is `progress`, one that runs has said how far it is.

    Small and plain, since thousands are kept and most are never read: no job, payload or result hangs on it, and the
    collector need not look at it. told: it as an event, once that was asked for.
    """

    id: str
    queue: str
    kind: str
    status: int
    reason: str | None
    attempt: int
    at: Micros
    progress: Progress | None = None
    told: bytes | None = None

    @property
    def ends(self) -> bool:
        """Whether the job has ended with it."""
        return self.status >= _FIRST_END

    def same(self, other: Step) -> bool:
        """Whether both say the same, but for their time."""
        return (
            self.id == other.id
            and self.status == other.status
            and self.attempt == other.attempt
            and self.reason == other.reason
            and self.progress == other.progress
        )


def present(job: Job) -> Sequence[Step]:
    """A job as it is: its status, and while it runs how far it is; `at` is when it ended, started, or was accepted."""
    at = job.finished_at or job.started_at or job.created_at
    steps = [Step(job.id, job.queue, job.kind, int(job.status), job.reason, job.attempt, at)]
    if job.status is Status.RUNNING and job.progress is not None:
        steps.append(Step(job.id, job.queue, job.kind, int(job.status), None, job.attempt, at, job.progress))
    return steps


def event(step: Step, id: str) -> bytes:
    """A step as an event of this id."""
    said: dict[str, Any] = {"id": step.id, "queue": step.queue, "kind": step.kind}
    if step.progress is not None:
        said |= {"attempt": step.attempt, **progress_fields(step.progress), "at": iso(step.at)}
        return _event(b"progress", id, _encode(said))
    reason = step.reason if step.ends else None
    said |= {"status": STATUS_NAMES[step.status], "reason": reason, "attempt": step.attempt, "at": iso(step.at)}
    return _event(b"job", id, _encode(said))


def gap(missed: int | None, id: str) -> bytes:
    """The event that says that some were missed: so many of all jobs together, or nobody knows how many."""
    return _event(b"gap", id, _encode({"missed": missed}))


def comment(id: str) -> bytes:
    """A comment, and where the listener is now: an id without data moves Last-Event-ID on and tells nothing else."""
    return b":\nid: %s\n\n" % id.encode()


def _event(name: bytes, id: str, data: bytes) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name, id.encode(), data)
