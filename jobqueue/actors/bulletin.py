"""The bulletin: what the state actor has committed, put up for the herald, at once and never waiting for anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jobqueue.actors.commands import Command, Report
from jobqueue.clock import Micros
from jobqueue.job import Job, Status
from jobqueue.mailbox import Address, Inbox, Nudge, mailbox
from jobqueue.rules.changes import Changes
from jobqueue.wire.events import Step

COMMITS = 4096  # that wait to be taken

QUEUED, RUNNING = Status.QUEUED, Status.RUNNING
_QUEUED = int(QUEUED)


class Commit(NamedTuple):
    """The steps of one commit. Reports come first: an end may have shared the commit with the last of them."""

    reports: Sequence[Step]
    changes: Sequence[Step]


class Bulletin:
    """Bounded: a commit that finds no room is dropped, and who takes the others sees that it was full."""

    __slots__ = ("_address", "_inbox", "_nudge")

    def __init__(self) -> None:
        self._address: Address[Commit]
        self._inbox: Inbox[Commit]
        self._address, self._inbox = mailbox(COMMITS)
        self._nudge = Nudge()

    def publish(self, changes: Changes, commands: Sequence[Command], answers: Sequence[Any], at: Micros) -> None:
        """Put up the steps of one commit, which was decided at that moment."""
        steps = steps_of(changes, at)
        reports = reports_of(commands, answers, at) if changes.progress else ()
        if steps or reports:
            self._address.post(Commit(reports, steps))
            self._nudge.give()

    async def wait(self) -> None:
        """Wait until there is something new."""
        await self._nudge.take()

    def take(self) -> tuple[Sequence[Commit], bool]:
        """Take it down; and whether some of it may have been dropped."""
        commits = self._inbox.take()
        return commits, len(commits) >= COMMITS


def steps_of(changes: Changes, at: Micros) -> list[Step]:
    """The changes of status. What was queued and started in one commit was both."""
    steps: list[Step] = []
    for id, (before, after) in changes.jobs.items():
        if after is None:
            continue
        came = None if before is None else before.status
        status = after.status
        if before is not None and came is status and before.epoch == after.epoch:
            continue
        if status is RUNNING and came is not QUEUED:
            steps.append(Step(id, after.queue, after.kind, _QUEUED, None, after.attempt - 1, at))
        steps.append(Step(id, after.queue, after.kind, status._value_, after.reason, after.attempt, at))
    return steps


def reports_of(commands: Sequence[Command], answers: Sequence[Any], at: Micros) -> list[Step]:
    """The reports of progress that were kept."""
    return [
        Step(job.id, job.queue, job.kind, int(job.status), None, job.attempt, at, command.progress)
        for command, job in zip(commands, answers, strict=True)
        if isinstance(command, Report) and command.progress is not None and isinstance(job, Job)
    ]
