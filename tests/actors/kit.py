"""What the tests of the actors do again and again: have a job accepted, claim it, end it, wait; and whole servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import trio
import trio.testing

from jobqueue import server
from jobqueue.actors.commands import Order, Settled
from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.actors.worker import Worker
from jobqueue.config import Config
from jobqueue.errors import JobQueueError
from jobqueue.handlers import Context, Handlers, Registration
from jobqueue.job import Ending, Job, Json, Outcome
from jobqueue.mailbox import Nudge, Orders
from jobqueue.rules.admission import Want
from jobqueue.rules.lifecycle import Limits
from jobqueue.server import Server, running
from jobqueue.signals import Stopping
from tests.actors.engine import Engine, Outside
from tests.helpers import draft

T = TypeVar("T")

GRACE = 8.0  # seconds, of a server's stop


@asynccontextmanager
async def serving(
    engine: Engine, outside: Outside, claimable: Nudge | None = None, limits: Limits | None = None
) -> AsyncIterator[State]:
    """A state actor at work."""
    actor = StateActor(engine, outside.world(), limits or Limits(), claimable or Nudge())
    await actor.recover()
    async with running(actor) as state:
        yield state


async def add(state: State, kind: str = "noop", **fields: Any) -> Job:
    """Have one job accepted."""
    return (await state.submit([draft(kind, **fields)])).jobs[0]


async def claim(
    state: State, most: int = 1, *, queue: str = "default", orders: Sequence[Orders[Order]] = ()
) -> list[Job]:
    """Start up to `most` jobs."""
    channels = list(orders) or [Orders[Order]() for _ in range(most)]
    workers = tuple(f"w{number}" for number in range(most))
    return list((await state.turn((), [Want((queue,), workers)], [channels])).claims.jobs[0])


async def settle(state: State, *jobs: Job, ending: Ending = Ending.DONE, **fields: Any) -> list[Job | JobQueueError]:
    """Report how the attempts ended; what became of each."""
    outcomes = [Outcome(job.id, job.epoch, ending, **fields) for job in jobs]
    return list((await state.turn(outcomes, (), ())).fates)


def turn(state: State, *jobs: Job, wants: int = 0) -> Callable[[], Awaitable[Settled]]:
    """For a task of its own: a turn that ends the jobs and wants others."""
    outcomes = [Outcome(job.id, job.epoch, Ending.DONE) for job in jobs]
    want = [Want(("default",), ("w",) * wants)] if wants else []
    return lambda: state.turn(outcomes, want, [[Orders() for _ in range(wants)]] if wants else [])


async def take(dispatch: Dispatch, worker: str = "w", done: Outcome | None = None, *queues: str) -> Job:
    """Wait for a job as a taker does."""
    return await dispatch.next(worker, queues or ("default",), Orders(), done)


async def taking(dispatch: Dispatch, nursery: trio.Nursery, *workers: str, queue: str = "default") -> list[Call]:
    """Takers that have come in this order, and wait."""
    calls = []
    for worker in workers:
        calls.append(Call(nursery, partial(take, dispatch, worker, None, queue)))
        await settled()
    return calls


async def settled() -> None:
    """Let every task go on until all of them wait."""
    await trio.testing.wait_all_tasks_blocked()


class Faulty(Handlers):
    """A registry with a bug of ours in it: for jobs of the kind `bug` the worker itself fails."""

    def get(self, kind: str) -> Registration | None:
        """The handler, or a failure."""
        if kind == "bug":
            raise ZeroDivisionError("a bug of ours")
        return super().get(kind)


Handler = Callable[[Context, Any], Awaitable[Any]]
Hire = Callable[..., Worker]


async def noop(_ctx: Context, _payload: Any) -> None:
    """A handler that has nothing to do."""


async def for_ever(_ctx: Context, _payload: Any) -> None:
    """A handler that never ends by itself."""
    await trio.sleep_forever()


async def ended(state: State, job: Job) -> Job:
    """The job when it has ended."""
    with await state.watch(job.id) as pending:
        after = await pending.get()
    assert after is not None
    return after


class NoProcesses:
    """For a worker without process handlers."""

    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        """Nothing is run."""
        raise NotImplementedError


class Tree:
    """A server without HTTP, and what stops it."""

    def __init__(self, config: Config, running: Server, stopping: Stopping) -> None:
        self.config = config
        self.server = running
        self.state = running.state
        self.stopping = stopping

    async def drain(self) -> bool:
        """Stop as a signal does; whether every worker has gone home."""
        return (await server._drain(self.config, self.server, self.stopping)).all_left


Plant = Callable[..., AbstractAsyncContextManager[Tree]]


class Call:
    """An ask that is under way in a task of its own: what it returned or raised, once it has."""

    def __init__(self, nursery: trio.Nursery, ask: Callable[[], Awaitable[Any]]) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.at: float | None = None
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        nursery.start_soon(self._run, ask)

    @property
    def over(self) -> bool:
        """Whether it has been answered."""
        return self.at is not None

    async def wait(self) -> Any:
        """What it returned; raises what it raised."""
        await self._over.wait()
        if self.error is not None:
            raise self.error
        return self.value

    def leave(self) -> None:
        """Stop waiting for the answer."""
        self._scope.cancel()

    async def _run(self, ask: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self._scope:
                try:
                    self.value = await ask()
                except Exception as error:  # noqa: BLE001 - told by wait()
                    self.error = error
                self.at = trio.current_time()
        finally:
            self._over.set()
