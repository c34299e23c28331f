"""The handle of the state actor: what others may ask of the owner of the job table."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueue.actors.commands import Cancel, Command, Order, Report, Retry, Settled, Submit, SubmitEach, Turn
from jobqueue.actors.notes import Drain, Look, Note, StopAll, Vitals, Watch
from jobqueue.errors import JobQueueError
from jobqueue.job import Draft, Job, LogLine, Outcome, Progress
from jobqueue.mailbox import Address, Orders, Pending, Reply, one_shot
from jobqueue.rules.admission import Want
from jobqueue.rules.idempotency import Accepted, IdempotencyKey

Message = Command | Note


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

    async def report(self, id: str, epoch: int, progress: Progress | None, lines: Sequence[LogLine]) -> Job:
        """Keep progress and log lines of a running attempt. Raises LeaseLost."""
        return await self._address.ask(lambda reply: Report(id, epoch, progress, lines, reply))

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

    async def vitals(self) -> Vitals:
        """How it does."""
        return await self._address.ask(Look)
