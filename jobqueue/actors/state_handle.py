"""The handle of the state actor: what others may ask of the owner of the job table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from jobqueue.actors.commands import (
    HEAVY,
    Amend,
    Cancel,
    ChangeEach,
    Command,
    Configure,
    DropSchedule,
    Explain,
    Fire,
    Order,
    PutSchedule,
    Remove,
    Report,
    Retry,
    Settled,
    Submit,
    SubmitEach,
    Trigger,
    Turn,
    What,
)
from jobqueue.actors.notes import Drain, Feel, Look, Measure, Move, Note, Pulse, StopAll, Vitals, Watch
from jobqueue.clock import ManualClock, Micros
from jobqueue.errors import JobQueueError
from jobqueue.job import Draft, Job, LogLine, Outcome, Progress
from jobqueue.mailbox import Address, Orders, Pending, Reply, one_shot
from jobqueue.queue import Queue
from jobqueue.rules.admission import Want
from jobqueue.rules.amending import Amendment
from jobqueue.rules.explaining import Around, Explanation
from jobqueue.rules.idempotency import Accepted, IdempotencyKey
from jobqueue.rules.scheduling import Fired
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Filter

Message = Command | Note
ALL = Filter()


def weigh(message: Message) -> int:
    """Its share of a batch; most weigh next to nothing."""
    return message.weigh() if isinstance(message, HEAVY) else 1


class State:
    """The handle: what others may ask of the state actor."""

    __slots__ = ("_address",)

    def __init__(self, address: Address[Message]) -> None:
        self._address = address

    async def submit(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> Accepted:
        """Accept drafts; answered after the commit. Raises QueueFull, KeyReuse, Draining, Overloaded, store errors."""
        return await self._address.ask(lambda reply: Submit(drafts, key, reply), shed=True)

    async def submit_each(
        self, asked: Sequence[tuple[Draft, IdempotencyKey | None]]
    ) -> Sequence[Accepted | JobQueueError]:
        """Accept drafts each by itself, in order; what became of each. Raises Draining and store errors."""
        return await self._address.ask(lambda reply: SubmitEach(asked, reply))

    async def turn(
        self, results: Sequence[Outcome], wants: Sequence[Want], orders: Sequence[Sequence[Orders[Order]]]
    ) -> Settled:
        """Hand results in and get claimed jobs: one commit for all."""
        return await self._address.ask(lambda reply: Turn(results, wants, orders, reply))

    async def cancel(self, id: str) -> Job:
        """Cancel; the job as it is after the commit. Raises NotFound, BadState."""
        return await self._address.ask(lambda reply: Cancel(id, reply))

    async def retry(self, id: str) -> Job:
        """Retry; the job after the commit. Raises NotFound, BadState."""
        return await self._address.ask(lambda reply: Retry(id, reply))

    async def amend(self, id: str, amendment: Amendment) -> Job:
        """Change a job; as it is after the commit. Raises NotFound, Removed, BadState, OutOfRange."""
        return await self._address.ask(lambda reply: Amend(id, amendment, reply))

    async def remove(self, id: str) -> Job:
        """Remove an ended job; as it was. Raises NotFound, Removed, BadState."""
        return await self._address.ask(lambda reply: Remove(id, reply))

    async def change_each(self, what: What, ids: Sequence[str], wanted: Filter = ALL) -> int:
        """Cancel, retry or delete each of the jobs that is still wanted, as far as it can be; how many were changed."""
        return await self._address.ask(lambda reply: ChangeEach(what, ids, wanted, reply))

    async def explain(self, job: Job, around: Around) -> Explanation:
        """Why the job is not running. Raises NotFound, Removed, Overloaded."""
        return await self._address.ask(lambda reply: Explain(job.id, job.queue, around, reply), shed=True)

    async def report(self, id: str, epoch: int, progress: Progress | None, lines: Sequence[LogLine]) -> Job:
        """Keep progress and log lines of a running attempt. Raises LeaseLost."""
        return await self._address.ask(lambda reply: Report(id, epoch, progress, lines, reply))

    async def fire(self, since: Micros, until: Micros) -> Fired:
        """Fire what is due up to `until`; the clock has been watched from `since` on. Raises Draining, store errors."""
        return await self._address.ask(lambda reply: Fire(since, until, reply))

    async def put_schedule(self, schedule: Schedule) -> tuple[Schedule, bool]:
        """Keep a schedule; as it now is, and whether it is new. Raises Invalid: too many."""
        return await self._address.ask(lambda reply: PutSchedule(schedule, reply))

    async def drop_schedule(self, name: str) -> None:
        """Forget a schedule. Raises NotFound."""
        await self._address.ask(lambda reply: DropSchedule(name, reply))

    async def trigger(self, name: str) -> Accepted:
        """Make a job of the schedule now. Raises NotFound, and what a submission raises."""
        return await self._address.ask(lambda reply: Trigger(name, reply), shed=True)

    async def watch(self, id: str) -> Pending[Job | None]:
        """Where the job arrives when it has ended, or None when the server drains. Look whether it has after this."""
        watcher: Reply[Job | None]
        watcher, pending = one_shot()
        await self._address.ask(lambda reply: Watch(id, watcher, reply), shed=True)
        return pending

    async def drain(self, *, refuse: bool) -> None:
        """No longer be ready; with `refuse` also refuse submissions from now on, and answer those who wait."""
        await self._address.ask(lambda reply: Drain(reply, refuse=refuse))

    async def stop_all(self, *, give_back: bool = False) -> None:
        """Order every running attempt to stop; with `give_back` its job is QUEUED again when this returns."""
        await self._address.ask(lambda reply: StopAll(reply, give_back=give_back))

    async def configure(self, queue: str, change: Callable[[Queue], Queue]) -> Queue:
        """Change a queue's settings, or make a queue; as they now are. Raises what `change` raises; Invalid."""
        return await self._address.ask(lambda reply: Configure(queue, change, reply))

    async def flow(self) -> Mapping[str, tuple[float, float]]:
        """For each queue how many jobs a second were submitted, and how many ended, over the last minute."""
        return await self._address.ask(Measure)

    async def vitals(self) -> Vitals:
        """How it does."""
        return await self._address.ask(Look)

    async def pulse(self, clock: ManualClock) -> Pulse:
        """What keeps a manual clock where it is, and where it may go on to."""
        return await self._address.ask(lambda reply: Feel(clock, reply))

    async def move(self, clock: ManualClock, at: Micros) -> Micros:
        """Move a manual clock; what is due then is committed when this returns. Raises Draining, store errors."""
        return await self._address.ask(lambda reply: Move(clock, at, reply))
