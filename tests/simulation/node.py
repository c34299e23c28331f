"""Lives of the program on one disk: boot, serve, crash or drain, boot again."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import cast

import trio

from jobqueue import server
from jobqueue.config import Config
from jobqueue.errors import JobQueueError
from jobqueue.handlers import builtins
from jobqueue.job import NEVER, Ending, Error, Outcome, Status
from jobqueue.mailbox import Closed
from jobqueue.signals import Stopping
from jobqueue.stores.contract import Store
from tests.simulation.handlers import registry
from tests.simulation.medium import Medium
from tests.simulation.runs import Run
from tests.simulation.wire import Answer, Exchange, Sim

DOWN_SECONDS = (0.0, 0.3, 4.0, 12.0)
GRACE_SECONDS = (0.0, 1.0, 8.0)
QUEUES = ("default", "mail")


class Life:
    """One process, from its start to its end."""

    def __init__(self, sim: Sim, number: int) -> None:
        self._sim = sim
        self.number = number
        self.workers = sim.plan.workers
        self.alive = True
        self.draining = False
        self.serving = False
        self.failed = False
        self.started_at = trio.current_time()
        self.up_at = NEVER
        self.shields: list[trio.CancelScope] = []
        self.server: server.Server
        self._requests: trio.Nursery
        self._scope = trio.CancelScope()
        self._asked = trio.Event()
        self._at_once = trio.Event()
        self._medium = Medium(sim.disk, self)

    async def run(self) -> None:
        """Until it has ended in one of the ways in which it may."""
        with self._scope:
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever ended the process is judged
                self._judge(error)
        self.serving = False
        self.alive = False
        self._medium.wreck()

    def crash(self, why: str) -> None:
        """End it as kill -9 does: first the disk is gone, so whatever runs on the way out saves nothing."""
        if not self.alive:
            return
        killer = why if why in self._sim.oracle.jobs else None
        self._sim.trace("CRASH", why)
        self._sim.oracle.deaths[self.number] = killer
        self.alive = self.serving = False
        self._scope.cancel()
        for shield in self.shields:
            shield.cancel()

    def signal(self) -> None:
        """SIGTERM: the first drains, the second gives back at once."""
        self._sim.trace("SIGTERM")
        (self._at_once if self._asked.is_set() else self._asked).set()

    async def request(self, exchange: Exchange) -> None:
        """Take a connection, if the port is open."""
        if self.serving:
            self._requests.start_soon(exchange.run, self, name="request")
        else:
            exchange.ended.set()

    def echo(self, run: Run) -> None:
        """Report the end of an attempt once more."""
        if self.serving and not self.draining:
            self._requests.start_soon(self._echo, run, name="echo")

    async def _echo(self, run: Run) -> None:
        ending = Ending.DONE if run.how == "returned" else Ending.ERROR
        error = None if run.how == "returned" else Error("Echo", "again")
        self._sim.trace("   echo", run.id[-4:], run.epoch)
        try:
            await self.server.state.turn([Outcome(run.id, run.epoch, ending, run.result, error)], (), ())
        except (JobQueueError, Closed):
            return

    async def _serve(self) -> None:
        sim = self._sim
        rng = sim.chance.rng
        world = sim.chance.world(sim.wall, self.number)
        grace = rng.choice(GRACE_SECONDS)
        config = Config(workers=self.workers, queues=QUEUES, max_queued=sim.plan.max_queued, grace=grace)
        handlers = registry(self, sim.oracle, rng, builtins(world))
        stopping = cast("Stopping", self._Signals(self._asked, self._at_once))
        async with (
            server.assembled(config, world, cast("Store", self._medium), handlers) as self.server,
            trio.open_nursery() as self._requests,
        ):
            sim.trace("UP", self.number)
            self.up_at = sim.wall.now()
            self.serving = True
            try:
                await self._asked.wait()
                await self._drain(config, stopping)
            finally:
                self.serving = False

    async def _drain(self, config: Config, stopping: Stopping) -> None:
        """As the server does on a signal."""
        self.draining = True
        all_left = (await server._drain(config, self.server, stopping)).all_left
        self._sim.trace("DRAINED", f"all left: {all_left}")
        self.serving = False
        if not (
            self._sim.disk.struck or self._sim.plan.has("slow")
        ):  # a stop does not wait for them; the next boot gives back
            self._nothing_runs()
        await trio.sleep(server.HTTP_SECONDS)
        self._requests.cancel_scope.cancel()
        if not all_left:
            await self._medium.__aexit__()
            self.crash("left stuck work behind")

    @dataclass
    class _Signals:
        asked: trio.Event
        at_once: trio.Event

    def _nothing_runs(self) -> None:
        for job in self._sim.oracle.jobs.values():
            if job.status is Status.RUNNING:
                self._sim.oracle.blame(f"{job.id} is still RUNNING after a drain")

    def _judge(self, error: Exception) -> None:
        """The process ended by an exception: only a disk may be the reason."""
        leaves = _leaves(error)
        self._sim.trace("DIED", *(type(leaf).__name__ for leaf in leaves))
        self._sim.oracle.deaths[self.number] = None
        if not self.alive:
            return
        if self.failed and server.exit_code(error) == server.EXIT_STORAGE:
            return
        booting = not hasattr(self, "server")
        if booting and self._sim.disk.struck and all(isinstance(leaf, JobQueueError) for leaf in leaves):
            return
        text = "".join(traceback.format_exception(error))
        self._sim.oracle.blame(f"the process died of {leaves!r}\n{text}")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


class Lives:
    """One life after the other."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self.life: Life | None = None
        self.over = False
        sim.steps.crash = self.crash
        sim.lives = self

    async def run(self) -> None:
        """Boot, until `over`."""
        number = 0
        while not self.over:
            number += 1
            self.life = Life(self._sim, number)
            await self.life.run()
            self.life = None
            for fault in self._sim.disk.audit():
                self._sim.oracle.blame(f"after life {number}: {fault}")
            if not self.over:
                await trio.sleep(self._sim.chance.rng.choice(DOWN_SECONDS))

    def crash(self, why: str) -> None:
        """Kill the process, if there is one."""
        if self.life is not None:
            self.life.crash(why)

    def signal(self) -> None:
        """Ask it to stop."""
        if self.life is not None and self.life.serving:
            self.life.signal()

    async def ask(self, exchange: Exchange) -> Answer:
        """Send a request to whatever life there is; the answer may be none."""
        if self.life is not None:
            await self.life.request(exchange)
            await exchange.ended.wait()
        return exchange.answer
