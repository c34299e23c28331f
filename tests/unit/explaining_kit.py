"""What the tests of explanations do again and again: ask for one, and set a queue up."""

from __future__ import annotations

from typing import Any

from jobqueue.job import Job
from jobqueue.queue import Queue
from jobqueue.rules import explaining
from jobqueue.rules.explaining import Around, Cause, Explanation
from jobqueue.stores.contract import Needs
from tests.helpers import Desk

SERVED = Around(local=("default",))


async def explain(desk: Desk, job: Job, around: Around = SERVED) -> Explanation:
    """Why the job is not running; that must change nothing."""

    def rule(table: Any, times: Any) -> Explanation:
        found = explaining.explain(table, job.id, around, times)
        assert table.changes.empty()
        return found

    needs = Needs(jobs={job.id}, lines={job.queue})
    if around.quarantine.alone is not None:
        needs.jobs.add(around.quarantine.alone)
    return await desk.do(rule, needs)


async def causes(desk: Desk, job: Job, around: Around = SERVED) -> list[str]:
    """The causes by name, in their order."""
    return [cause.cause for cause in (await explain(desk, job, around)).causes]


async def only(desk: Desk, job: Job, around: Around = SERVED) -> Cause:
    """The only cause."""
    (cause,) = (await explain(desk, job, around)).causes
    return cause


async def configure(desk: Desk, **settings: Any) -> None:
    """Give the queue `default` settings."""
    await desk.do(lambda table, _: table.configure(Queue("default", **settings)))
