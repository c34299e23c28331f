"""One seed, from its start to its verdict."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
import trio

from jobqueue.stores.contract import RowRefused
from tests.simulation.clients import Client
from tests.simulation.disk import Disk, FileDisk, MemoryDisk
from tests.simulation.listeners import Listener
from tests.simulation.node import Lives
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan, draw
from tests.simulation.planners import Planner
from tests.simulation.tuners import Tuner
from tests.simulation.wire import Sim
from tests.simulation.world import TAIL, Chance, Steps, Trace, Wall, seeded_run

DISKS: dict[str, type[Disk]] = {"memory": MemoryDisk, "sqlite": FileDisk}
QUIET_SECONDS = 600.0  # once the faults are over all must end within this
PATIENCE_SECONDS = (
    5_000.0  # and as long as the wall clock is set back: a delayed job then holds its place so much longer
)
ECHO_CHANCE = 0.3


@dataclass(frozen=True)
class Verdict:
    """What became of a seed."""

    plan: Plan
    store: str
    violations: Sequence[str]
    digest: str
    steps: int
    seconds: float
    tail: Sequence[str]

    @property
    def replay(self) -> str:
        """The command that shows it again."""
        store = "" if self.store == "memory" else f" --store {self.store}"
        return f"python -m tests.simulation {self.plan.seed}{store}"


def simulate(
    seed: int,
    store: str = "memory",
    *,
    only: Sequence[str] | None = None,
    using: Sequence[str] | None = None,
    keep: int = TAIL,
) -> Verdict:
    """Run a seed. `only`, `using`: these faults, features instead of the drawn ones. `keep`: how much of the trace."""
    plan = draw(seed, only, using)
    trace = Trace(keep=keep)
    steps = Steps(trace, plan.crash_steps)
    chance, wall = Chance(seed), Wall()
    oracle = Oracle(plan, trace, wall.now)
    disk = DISKS[store](plan, chance.rng, oracle, wall.now)
    sim = Sim(plan, chance, wall, trace, steps, oracle, disk)
    seconds: list[float] = []
    try:
        with _listening(sim), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            seeded_run(seed, partial(_main, sim, seconds), steps)
    except BaseException as error:
        if not (oracle.violations and isinstance(error, ExceptionGroup)):  # else it died as it was stopped for them
            error.add_note(f"seed {seed}, store {store}\n" + "\n".join(trace.tail))
            raise
    finally:
        disk.close()
    oracle.violations += [f"warned: {warning.message}" for warning in warned]
    return Verdict(plan, store, oracle.violations, trace.digest(), steps.count, sum(seconds), trace.tail)


async def _main(sim: Sim, seconds: list[float]) -> None:
    """Clients and faults; then quiet, in which all must end; then an orderly end."""
    plan, oracle = sim.plan, sim.oracle
    base = trio.lowlevel.current_statistics().tasks_living
    lives = Lives(sim)
    with trio.CancelScope() as whole:
        oracle.stop = whole.cancel
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lives.run)
            async with trio.open_nursery() as faults:
                for at in plan.drains:
                    faults.start_soon(_at, at, lives.signal)
                for at, by in plan.jumps:
                    faults.start_soon(_at, at, partial(sim.wall.jump, by))
                if plan.has("echo"):
                    faults.start_soon(_echo, sim, lives)
                known: list[str] = []
                if plan.uses("events"):
                    for index in range(2):
                        faults.start_soon(Listener(f"l{index}", sim, lives, known).run)
                if plan.uses("queues"):
                    faults.start_soon(Tuner("tuner", sim, lives, []).run)
                with trio.move_on_after(PATIENCE_SECONDS + plan.set_back) as patience:
                    async with trio.open_nursery() as clients:
                        for index in range(plan.clients):
                            clients.start_soon(Client(f"c{index}", sim, lives, known).run)
                if patience.cancelled_caught:
                    oracle.blame("the clients never got their answers")
                faults.cancel_scope.cancel()
            await _quiet(sim, lives)
            await _end(lives)
            nursery.cancel_scope.cancel()
    seconds.append(trio.current_time())
    if not oracle.violations:
        oracle.finish()
        left = trio.lowlevel.current_statistics().tasks_living - base
        if left:
            oracle.blame(f"{left} tasks were left behind")


async def _at(seconds: float, strike: Callable[[], object]) -> None:
    await trio.sleep(seconds)
    strike()


async def _echo(sim: Sim, lives: Lives) -> None:
    """Ends of attempts are reported once more, soon or late."""
    rng = sim.chance.rng
    while True:
        await trio.sleep(rng.choice((0.0, 0.3, 1.0)) + 0.01)
        runs = [run for run in sim.oracle.ledger.ended() if run.how in ("returned", "raised")]
        if lives.life is not None and runs and rng.random() < ECHO_CHANCE:
            job = sim.oracle.jobs.get((run := rng.choice(runs[-5:])).id)
            if job is not None and (run.how == "returned" or job.epoch > run.epoch):
                lives.life.echo(run)


async def _quiet(sim: Sim, lives: Lives) -> None:
    """No more faults: within the time everything must have ended."""
    sim.trace("QUIET")
    sim.disk.faulty = False
    sim.steps.no_more_crashes()
    sim.wall.settle()
    with trio.move_on_after(QUIET_SECONDS) as quiet:
        if sim.plan.uses("queues"):
            await Tuner("tuner", sim, lives, []).relax()
        if sim.plan.uses("schedules"):
            await Planner("planner", sim, lives, []).stop()
        while sim.oracle.unended():  # noqa: ASYNC110 - the oracle is told of moves, and has no tasks to wake
            await trio.sleep(1.0)
    if quiet.cancelled_caught:
        jobs = [sim.oracle.jobs[id] for id in sim.oracle.unended()]
        sim.oracle.blame(f"after {QUIET_SECONDS} quiet seconds {[(job.id, job.status.name) for job in jobs]} go on")


async def _end(lives: Lives) -> None:
    """SIGTERM, and no further life."""
    lives.over = True
    while lives.life is not None:
        lives.signal()
        await trio.sleep(5.0)


@contextmanager
def _listening(sim: Sim) -> Iterator[None]:
    """The program's log goes into the trace; an error in it that no fault explains is a violation."""

    def hear(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        said = event["event"]
        error = event.get("exc_info")
        sim.trace("  log", method, said, repr(error) if error else "")
        life = sim.dying()
        expected = (said in ("store failing", "schedules held up") and sim.disk.struck) or isinstance(error, RowRefused)
        if method in ("error", "critical") and not expected and not life:
            sim.oracle.blame(f"the log says {event}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(level)
