"""Small builders for tests: a clock that stands still, and a desk that runs the rules on a store, one batch a call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from jobqueue.actors.commands import ties
from jobqueue.clock import SECOND, Micros, micros
from jobqueue.job import Draft, Ending, Error, Job, LaneKey, LogLine, Options, Outcome, Progress, Status
from jobqueue.queue import Queue
from jobqueue.rules import admission, configuring, dependencies, idempotency, lifecycle, ripening
from jobqueue.rules.admission import Node, Want
from jobqueue.rules.idempotency import Accepted, IdempotencyKey
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs, Removed, Store
from jobqueue.stores.memory import MemoryStore

T = TypeVar("T")

EPOCH: Micros = 1_800_000_000 * SECOND  # 2027-01-15T08:00:00Z
DAY = 86_400.0
FAILURE = Error("ValueError", "no good")

_numbers = count(1)


def new_id() -> str:
    """An id never used before, of the form of a UUIDv7."""
    return f"01920000-0000-7000-8000-{next(_numbers):012x}"


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait: a store in memory, or one with `Inline` threads."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise AssertionError("it waited")


class Inline:
    """A runner without a thread: the work is done where it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, work: Callable[[], T], /) -> T:
        return work()

    def close(self) -> None:
        """There is nothing to end."""


class Clock:
    """Wall and monotonic time that move only by `advance`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> Micros:
        """UTC."""
        return EPOCH + micros(self.seconds)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


def draft(kind: str = "noop", *, delay: float | None = None, **fields: Any) -> Draft:
    """A draft; what `Draft` does not know goes to its options."""
    own = {name: fields.pop(name) for name in ("queue", "priority", "group", "payload") if name in fields}
    return Draft(kind, options=Options(**fields), delay=delay, **own)


def planted(status: Status, **fields: Any) -> Job:
    """A job as it stands in the table in the given status, with seq 1."""
    started = status in (Status.RUNNING, Status.DONE, Status.FAILED)
    values: dict[str, Any] = {
        "seq": 1,
        "id": new_id(),
        "kind": "noop",
        "queue": "default",
        "priority": 0,
        "group": None,
        "payload": "null",
        "options": Options(),
        "created_at": EPOCH,
        "status": status,
        "place": 1,
        "epoch": int(started),
        "attempt": int(started),
        "started_at": EPOCH if started else None,
        "finished_at": EPOCH if status.ended else None,
        "next_attempt_at": EPOCH + SECOND if status is Status.SCHEDULED else None,
        "worker": "w0" if started else None,
        "boot_id": "boot-1" if status is Status.RUNNING else None,
    }
    job = Job(**(values | fields))
    due_at = EPOCH + micros(Limits().retention[status]) if status.ended else lifecycle.due_at(job)
    return job if due_at is None else lifecycle.replace(job, due_at=due_at)


def memory() -> Desk:
    """A desk on a memory store."""
    clock = Clock()
    return Desk(MemoryStore(clock.now), clock)


@dataclass
class Desk:
    """Runs the rules on a store, one batch a call, declaring what each reads; it is also the node that claims."""

    store: Store
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    chance: Callable[[], float] = lambda: 0.5
    boot_id: str = "boot-1"
    drained_per_second: float | None = None
    isolation: Isolation = field(default_factory=Isolation)
    untold: bool = False  # the last batch left children who have yet to hear of an end

    def times(self) -> Times:
        """What the rules of a batch are told now."""
        rate = self.drained_per_second
        return Times(
            self.clock.now(),
            self.chance,
            new_id,
            self.boot_id,
            self.limits,
            rate,
            lambda _, count: count / rate if rate else None,
        )

    async def do(self, rule: Callable[[Table, Times], T], needs: Needs | None = None) -> T:
        """One batch."""
        times = self.times()

        def decide(table: Table) -> T:
            result = rule(table, times)
            self.untold = dependencies.resolve(table, times)
            return result

        return await self.store.apply(lambda: needs or Needs(), decide)

    async def submit(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> Accepted:
        """Accept drafts."""
        needs = Needs(lanes={LaneKey(draft.queue, draft.priority, draft.group) for draft in drafts})
        ties.declare(needs, drafts)
        if key is not None:
            needs.keys.add((key.scope, key.key))
        return await self.do(lambda table, times: idempotency.accept(table, drafts, key, times), needs)

    async def add(self, kind: str = "noop", **fields: Any) -> Job:
        """Accept one job."""
        return (await self.submit([draft(kind, **fields)])).jobs[0]

    async def plant(self, job: Job) -> Job:
        """Put a job into the table as it is."""

        def rule(table: Table, times: Times) -> Job:
            table.next_seq()
            return table.add(job)

        return await self.do(rule, Needs(lanes={job.lane}))

    async def claim(self, most: int = 1, *queues: str) -> list[Job]:
        """Start up to `most` jobs of the queues (`default`) for one group of workers."""
        claimed = await self.turn((), [Want(queues or ("default",), tuple(f"w{index}" for index in range(most)))])
        return list(claimed[0])

    async def turn(self, outcomes: Sequence[Outcome], wants: Sequence[Want]) -> Sequence[tuple[Job, ...]]:
        """Settle and claim in one batch, as a dispatcher's turn does."""
        needs = Needs(jobs={outcome.id for outcome in outcomes})
        if self.isolation.alone:
            needs.jobs.add(self.isolation.alone[0])
        for want in wants:
            for queue in want.queues:
                needs.claims[queue] = needs.claims.get(queue, 0) + len(want.workers)
        before = sum(counts[Status.RUNNING] for counts in (await self.store.counts()).values())

        def rule(table: Table, times: Times) -> admission.Claims:
            for outcome in outcomes:
                lifecycle.settle(table, outcome, times)
            node = Node(before - len(outcomes), self.isolation, self.clock.monotonic())
            return admission.claim(table, wants, node, times)

        claims = await self.do(rule, needs)
        self.isolation = claims.isolation
        return claims.jobs

    async def settle(self, job: Job, ending: Ending = Ending.DONE, **fields: Any) -> Job:
        """Report how the attempt ended."""
        if ending in (Ending.ERROR, Ending.TIMEOUT):
            fields.setdefault("error", FAILURE)
        outcome = Outcome(job.id, job.epoch, ending, **fields)
        return await self.do(lambda table, times: lifecycle.settle(table, outcome, times), Needs(jobs={job.id}))

    async def cancel(self, job: Job) -> Job:
        """Cancel."""
        return await self.do(lambda table, times: lifecycle.cancel(table, job.id, times), Needs(jobs={job.id}))

    async def retry(self, job: Job) -> Job:
        """Retry."""
        return await self.do(lambda table, _: lifecycle.retry(table, job.id), Needs(jobs={job.id}))

    async def progress(self, job: Job, progress: Progress) -> Job:
        """Report progress."""
        return await self.do(
            lambda table, _: lifecycle.report_progress(table, job.id, job.epoch, progress), Needs(jobs={job.id})
        )

    async def log(self, job: Job, *messages: str) -> Job:
        """Write lines."""
        lines = [LogLine("info", message) for message in messages]
        return await self.do(
            lambda table, times: lifecycle.write_log(table, job.id, job.epoch, lines, times), Needs(jobs={job.id})
        )

    async def remove(self, job: Job) -> None:
        """Remove an ended job."""
        await self.do(lambda table, _: table.remove(table.job(job.id)), Needs(jobs={job.id}))

    async def configure(self, name: str = "default", **settings: Any) -> Queue:
        """Change a queue's settings."""
        return await self.do(
            lambda table, _: configuring.configure(table, name, lambda queue: lifecycle.replace(queue, **settings))
        )

    async def ripen(self) -> int:
        """Do all that is due; in how many batches."""
        batches = 1
        while await self.do(ripening.ripen, Needs(most_due=ripening.MOST)) or self.untold:
            batches += 1
        return batches

    async def restart(self, boot_id: str) -> list[Job]:
        """The process died: in its next life give back what it was running."""
        self.boot_id = boot_id
        self.isolation = Isolation()

        def rule(table: Table, times: Times) -> list[Job]:
            return [lifecycle.recover(table, job, times) for job in table.orphans(boot_id, 500)]

        return await self.do(rule, Needs(orphans_of=boot_id))

    async def look(self, job: Job) -> Job | Removed | None:
        """What a reader sees."""
        return (await self.store.get([job.id]))[0]

    async def get(self, job: Job) -> Job:
        """The job as a reader sees it."""
        found = await self.look(job)
        assert isinstance(found, Job)
        return found
