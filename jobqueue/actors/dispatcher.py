"""The dispatcher: pairs takers that wait with jobs that were claimed for them. It executes nothing and keeps no job.

A taker, a local worker or a remote worker's long poll, asks one thing: `next(done)`: here is the end of my last
attempt, give me the next. All results and wants that wait are folded into one `state.turn`, so one commit ends n jobs
and starts n more. It claims only for someone who waits: nothing is fetched ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import structlog
import trio

from jobqueue.actors.commands import Order, Settled
from jobqueue.actors.state_handle import State
from jobqueue.errors import JobQueueError
from jobqueue.job import Ending, Job, Outcome
from jobqueue.mailbox import Address, Closed, Inbox, Nudge, Orders, Reply, mailbox
from jobqueue.rules.admission import Want
from jobqueue.rules.explaining import Taker

log = structlog.get_logger(__name__)

INBOX = 1024  # as many takers as may wait at once
TURN_MOST = 1000  # results and wants a turn


class Next:
    """A taker's ask: what ended, and what it wants."""

    __slots__ = ("done", "orders", "queues", "reply", "worker")

    def __init__(
        self, worker: str, queues: tuple[str, ...], orders: Orders[Order], done: Outcome | None, reply: Reply[Job]
    ) -> None:
        self.worker = worker
        self.queues = queues
        self.orders = orders
        self.done = done
        self.reply = reply


class Claimable:
    """State says that there may be something to claim."""

    __slots__ = ()


class Close:
    """Give nothing out any more: takers are answered Closed, their results still taken in."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[None]) -> None:
        self.reply = reply


class Who:
    """Ask who asks for jobs."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[Sequence[Taker]]) -> None:
        self.reply = reply


class Returned:
    """A job that was handed out, but not taken."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Settle:
    """Answer once every taker that waits has got what there is to claim."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[None]) -> None:
        self.reply = reply


Message = Next | Claimable | Close | Returned | Who | Settle


class Dispatch:
    """The handle: what a taker may ask."""

    __slots__ = ("_address",)

    def __init__(self, address: Address[Message]) -> None:
        self._address = address

    async def next(
        self, worker: str, queues: tuple[str, ...], orders: Orders[Order], done: Outcome | None = None
    ) -> Job:
        """Hand in how the last attempt ended, and wait for the next one: a RUNNING job, whose start is committed.

        Raises Closed when there will be none.
        """
        return await self._address.ask(lambda reply: Next(worker, queues, orders, done, reply), late=self._give_back)

    def _give_back(self, job: Job) -> None:
        """The taker left in the moment in which the job came."""
        if not self._address.post(Returned(Outcome(job.id, job.epoch, Ending.RELEASED))):
            log.error("a job that nobody took could not be given back", job=job.id)

    async def takers(self) -> Sequence[Taker]:
        """Who has asked for jobs of which queues, and how long ago: the latest 1,024 sets of queues."""
        return await self._address.ask(Who)

    async def close(self) -> None:
        """Let every taker go, now and from now on."""
        await self._address.ask(Close)

    async def settle(self) -> None:
        """Wait until every taker that waits has got what there is to claim, and all results are handed in."""
        await self._address.ask(Settle)


class Dispatcher:
    """The loop behind `Dispatch`."""

    def __init__(self, state: State, claimable: Nudge) -> None:
        self._state = state
        self._claimable = claimable
        self._address: Address[Message]
        self._inbox: Inbox[Message]
        self._address, self._inbox = mailbox(INBOX)
        self.handle = Dispatch(self._address)
        self._takers: list[Next] = []
        self._sweep_at = INBOX
        self._results: list[Outcome] = []
        self._settling: list[Settle] = []
        self._dry: set[tuple[str, ...]] = set()  # queues that had nothing left, and of which no news came since
        self._asked: dict[tuple[str, ...], float] = {}  # when somebody asked last
        self._hungry = False  # a taker waits of whom that is not known
        self._closed = False

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump)
                while True:
                    for message in await self._inbox.gather(until=math.inf, most=TURN_MOST, weigh=_one):
                        self._take_in(message)
                    while self._results or self._hungry:
                        await self._turn()
                    if self._closed:
                        self._let_go()
                    while self._settling:
                        self._settling.pop().reply.send(None)
        finally:
            left = [message for message in self._inbox.close() if isinstance(message, Next | Close | Who | Settle)]
            for message in (*self._takers, *self._settling, *left):
                message.reply.fail(Closed())

    async def _pump(self) -> None:
        """Nudges come in by the inbox too, so that one loop touches the fields."""
        while True:
            await self._claimable.take()
            await self._address.send(Claimable())

    def _take_in(self, message: Message) -> None:
        match message:
            case Next():
                if message.done is not None:
                    self._results.append(message.done)
                self._takers.append(message)
                self._note(message.queues)
                if len(self._takers) >= self._sweep_at:
                    self._sweep()
                self._hungry = self._hungry or message.queues not in self._dry
            case Claimable() | Settle():
                self._dry.clear()
                self._hungry = bool(self._takers)
                if isinstance(message, Settle):
                    self._settling.append(message)
            case Who():
                message.reply.send(self._who())
            case Returned():
                self._results.append(message.outcome)
            case Close():
                self._closed = True
                message.reply.send(None)

    def _note(self, queues: tuple[str, ...]) -> None:
        asked = self._asked
        asked[queues] = trio.current_time()
        if len(asked) > INBOX:
            del asked[min(asked, key=asked.__getitem__)]

    def _who(self) -> Sequence[Taker]:
        self._sweep()
        now = trio.current_time()
        waiting = {taker.queues for taker in self._takers}
        return [Taker(queues, 0.0 if queues in waiting else now - at) for queues, at in self._asked.items()]

    async def _turn(self) -> None:
        """One ask for all that waits; its answer goes to the takers, first come, first served."""
        results, self._results = self._results, []
        self._hungry = False
        self._sweep()
        groups: dict[tuple[str, ...], list[Next]] = {}
        if not self._closed:
            for taker in self._takers:
                groups.setdefault(taker.queues, []).append(taker)
        wants = [Want(queues, tuple(taker.worker for taker in takers)) for queues, takers in groups.items()]
        orders = [[taker.orders for taker in takers] for takers in groups.values()]
        try:
            settled = await self._state.turn(results, wants, orders)
        except JobQueueError as error:  # only a store that failed for good: the process is about to end
            log.error("turn failed", detail=error.detail)
            self._closed = True
            return
        self._hand_out(settled, tuple(groups.values()))

    def _sweep(self) -> None:
        """Forget the takers who have left."""
        self._takers = [taker for taker in self._takers if not taker.reply.abandoned]
        self._sweep_at = max(INBOX, 2 * len(self._takers))

    def _hand_out(self, settled: Settled, groups: Sequence[Sequence[Next]]) -> None:
        served: set[int] = set()
        for takers, jobs in zip(groups, settled.claims.jobs, strict=True):
            if len(jobs) < len(takers):
                self._dry.add(takers[0].queues)
                if len(self._dry) > INBOX:
                    self._dry.clear()
            for taker, job in zip(takers, jobs, strict=False):
                served.add(id(taker))
                if not taker.reply.send(job):  # it left while we claimed for it
                    self._results.append(Outcome(job.id, job.epoch, Ending.RELEASED))
        if served:
            self._takers = [taker for taker in self._takers if id(taker) not in served]

    def _let_go(self) -> None:
        for taker in self._takers:
            taker.reply.fail(Closed())
        self._takers = []


def _one(message: Message) -> int:  # noqa: ARG001 - every message weighs the same
    return 1
