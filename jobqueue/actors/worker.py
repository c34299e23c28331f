"""A worker: takes the next attempt, runs its handler to the end, hands the outcome in with the next ask.

Cancel, timeout and drain all arrive as one order and end one cancel scope; the slot is free only when the work has
ended. The orders of a worker come on a channel of its own, lent to the state actor with each ask: an attempt then costs
no channel, no task and no scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
import trio

from jobqueue.actors.commands import CANCEL, DRAIN, TIMEOUT, Order
from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.parents import parents_of
from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.clock import SECOND, World
from jobqueue.errors import JobQueueError
from jobqueue.handlers import Context, Fatal, Handlers, Processes, attempt
from jobqueue.handlers.context import NO_PARENTS
from jobqueue.job import Ending, Error, Job, LogLine, Outcome, Progress, Reason
from jobqueue.mailbox import Closed, Orders

log = structlog.get_logger(__name__)

ENDINGS = {CANCEL: Ending.CANCELLED, TIMEOUT: Ending.TIMEOUT}  # a drain, or a lost lease, releases


class Worker:
    """One slot. `processes` runs its process handlers."""

    def __init__(
        self,
        name: str,
        queues: tuple[str, ...],
        dispatch: Dispatch,
        state: State,
        reads: Reads,
        handlers: Handlers,
        processes: Processes,
        world: World,
    ) -> None:
        self._name = name
        self._queues = queues
        self._dispatch = dispatch
        self._state = state
        self._reads = reads
        self._handlers = handlers
        self._processes = processes
        self._world = world
        self._orders: Orders[Order] = Orders()
        self._job: Job | None = None
        self._scope = trio.CancelScope()
        self._order: Order | None = None  # the last one that came
        self._ordered: str | None = None  # why the present attempt was told to end

    async def run(self) -> None:
        """Work until the dispatcher closes. Raises only what is a bug of ours; `run` may then be called again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            done = self._left_over()
            try:
                while True:
                    done = await self._work(done)
            except Closed:
                nursery.cancel_scope.cancel()

    async def _work(self, done: Outcome | None) -> Outcome:
        """Attempt after attempt in one cancel scope, until an order ends one; its outcome. Raises Closed.

        One scope serves many attempts because only an order for the present one ever ends it.
        """
        with self._cancellable() as scope:
            while not scope.cancel_called:
                self._job = await self._dispatch.next(self._name, self._queues, self._orders, done)
                self._obey()
                done = await self._perform(self._job)
                if self._ordered is None or done.ending is Ending.DONE:
                    self._job = None
        if self._job is not None:  # its work was ended by the order, even if its handler made another exception of that
            done = self._outcome_of_order(self._job)
            self._job = None
        assert done is not None  # noqa: S101 - the scope ends only after an attempt
        return done

    def _cancellable(self) -> trio.CancelScope:
        """A scope for an order to end."""
        self._ordered = None
        self._scope = trio.CancelScope()
        return self._scope

    def _left_over(self) -> Outcome | None:
        """What a crash of this actor left running."""
        job, self._job = self._job, None
        if job is None:
            return None
        error = Error("WorkerCrashed", "the worker that ran this attempt failed; see the server's log")
        return Outcome(job.id, job.epoch, Ending.ERROR, error=error)

    async def _listen(self) -> None:
        while True:
            self._order = await self._orders.take()
            self._obey()

    def _obey(self) -> None:
        """End the present attempt if the last order is for it; the order may have come before the attempt did."""
        job, order = self._job, self._order
        if job is not None and order is not None and (job.id, job.epoch) == (order.id, order.epoch):
            self._ordered = order.why
            self._scope.cancel()

    async def _perform(self, job: Job) -> Outcome:
        """Run the attempt; when this returns, its work has ended."""
        registration = self._handlers.get(job.kind)
        if registration is None:
            return self._unknown(job)
        parents = NO_PARENTS
        if job.options.depends_on:
            try:
                parents = await parents_of(self._reads, job.options.depends_on)
            except Closed:
                return Outcome(job.id, job.epoch, Ending.RELEASED)
            except (Fatal, JobQueueError) as error:
                told = Error(type(error).__name__, str(error))
                return Outcome(job.id, job.epoch, Ending.ERROR, error=told, fatal=isinstance(error, Fatal))
        return await attempt(registration, self._context(job, parents), job.payload, self._processes)

    def _outcome_of_order(self, job: Job) -> Outcome:
        ending = ENDINGS.get(self._ordered or DRAIN, Ending.RELEASED)
        error = None
        if ending is Ending.TIMEOUT:
            error = Error("Timeout", f"the attempt took longer than {job.options.timeout:g} s")
        return Outcome(job.id, job.epoch, ending, error=error)

    def _unknown(self, job: Job) -> Outcome:
        kinds = ", ".join(self._handlers.kinds())
        message = (
            f"no local worker knows the kind {job.kind}; known kinds: {kinds}. "
            "For remote workers use a queue outside --queues, or --workers 0"
        )
        error = Error("UnknownKind", message)
        return Outcome(job.id, job.epoch, Ending.ERROR, error=error, fatal=True, reason=Reason.UNKNOWN_KIND)

    def _context(self, job: Job, parents: Mapping[str, Any]) -> Context:
        started_at = job.started_at or 0

        async def report_progress(progress: Progress) -> None:
            await self._report(job, progress, ())

        async def report_log(line: LogLine) -> None:
            await self._report(job, None, (line,))

        return Context(
            id=job.id,
            attempt=job.attempt,
            epoch=job.epoch,
            deadline=started_at / SECOND + job.options.timeout,
            queue=job.queue,
            parents=parents,
            trace_parent=job.options.trace_parent,
            report_progress=report_progress,
            report_log=report_log,
        )

    async def _report(self, job: Job, progress: Progress | None, lines: tuple[LogLine, ...]) -> None:
        """Progress and logs are worth less than the work: what cannot be kept is dropped."""
        try:
            await self._state.report(job.id, job.epoch, progress, lines)
        except (JobQueueError, Closed) as error:
            log.warning("report dropped", job=job.id, detail=str(error))
