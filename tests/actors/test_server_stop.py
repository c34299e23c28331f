"""The stop of a server: its phases on a virtual clock, and what each signal asks for."""

from __future__ import annotations

import faulthandler
import os

import pytest
import trio

from jobqueue import server as tree
from jobqueue.config import Config
from jobqueue.errors import Draining, StorageFull
from jobqueue.job import Status
from jobqueue.mailbox import Closed
from jobqueue.signals import HANG_SECONDS, watching
from tests.actors.engine import Engine, Outside, nothing, raising
from tests.actors.kit import GRACE, Call, Plant, add, settled, take
from tests.helpers import draft

LATE = 2.0  # how much longer than the grace a stop may take
DONE, QUEUED, RUNNING, FAILED = Status.DONE, Status.QUEUED, Status.RUNNING, Status.FAILED


async def test_an_idle_server_stops_at_once(plant: Plant) -> None:
    """With nothing to wait for, nothing is waited for."""
    async with plant() as running:
        await settled()
        assert await running.drain()
        assert trio.current_time() == 0


async def test_running_jobs_have_the_grace(engine: Engine, plant: Plant) -> None:
    """What ends within the grace is DONE, and the stop takes no longer than it."""
    async with plant() as running:
        await running.state.submit([draft("sleep", payload="3"), draft("sleep", payload="7")])
        await settled()
        assert await running.drain()
        assert trio.current_time() == pytest.approx(7)
    assert engine.statuses() == [DONE, DONE]


async def test_what_does_not_end_in_the_grace_is_given_back(engine: Engine, plant: Plant) -> None:
    """It is told to end, and is QUEUED again, unspent and with no crash counted."""
    async with plant() as running:
        await add(running.state, "sleep", payload="1000")
        await settled()
        assert await running.drain()
        assert GRACE <= trio.current_time() <= GRACE + LATE
    assert [engine.only().status, engine.only().attempt, engine.only().crashes] == [QUEUED, 0, 0]


async def test_what_does_not_end_at_all_holds_nobody_up(engine: Engine, plant: Plant) -> None:
    """A handler that will not be cancelled is left behind within the bound, and its job is QUEUED again."""
    async with plant() as running:
        await add(running.state, "deaf", payload="60")
        await add(running.state, "sleep", payload="1")
        await settled()
        assert not await running.drain()
        assert GRACE <= trio.current_time() <= GRACE + LATE
        assert engine.statuses() == [QUEUED, DONE]
        assert engine.tables.jobs[min(engine.tables.jobs)].attempt == 0


async def test_a_stop_starts_nothing_new(engine: Engine, plant: Plant) -> None:
    """A slot that becomes free while the server stops takes no further job."""
    async with plant(workers=1) as running:
        await running.state.submit([draft("sleep", payload="1") for _ in range(3)])
        await settled()
        await running.drain()
    assert engine.statuses() == [DONE, QUEUED, QUEUED]


async def test_the_drain_delay_comes_first(engine: Engine, plant: Plant, nursery: trio.Nursery) -> None:
    """For so long the server says that it is not ready, and serves on: submissions are taken and run."""
    async with plant(drain_delay=20) as running:
        draining = Call(nursery, running.drain)
        await trio.sleep(19)
        assert (await running.state.vitals()).draining
        await add(running.state, "sleep", payload="0.5")
        await trio.sleep(1.5)
        with pytest.raises(Draining):
            await add(running.state)
        assert await draining.wait()
    assert engine.statuses() == [DONE]


async def test_all_who_wait_are_let_go_first(plant: Plant, nursery: trio.Nursery) -> None:
    """Long polls, for a job or for an end, are answered when the stop begins, not when it is over."""
    async with plant(workers=1) as running:
        job = await add(running.state, "sleep", payload="5")
        await settled()
        with await running.state.watch(job.id) as pending:
            polls = [
                Call(nursery, pending.get),
                Call(nursery, lambda: take(running.server.dispatch, "remote", None, "other")),
            ]
            await settled()
            draining = Call(nursery, running.drain)
            await settled()
            assert [poll.at for poll in polls] == [0, 0]
            assert not draining.over
            await draining.wait()
    assert isinstance(polls[1].error, Closed)


async def test_a_second_signal_gives_back_now(engine: Engine, plant: Plant, nursery: trio.Nursery) -> None:
    """It ends the grace: what runs is told to end, and the stop is over a moment later."""
    async with plant(grace=600) as running:
        await add(running.state, "sleep", payload="1000")
        await settled()
        running.stopping.ask()
        await running.stopping.asked.wait()
        draining = Call(nursery, running.drain)
        await trio.sleep(3)
        assert not draining.over
        running.stopping.ask()
        assert await draining.wait()
        assert 3 <= trio.current_time() <= 3 + LATE
    assert (engine.only().status, engine.only().attempt) == (QUEUED, 0)


async def test_a_second_signal_ends_the_drain_delay(engine: Engine, plant: Plant, nursery: trio.Nursery) -> None:
    """It cuts that short as well."""
    async with plant(grace=600, drain_delay=600) as running:
        await add(running.state, "deaf", payload="60")
        await settled()
        running.stopping.ask()
        draining = Call(nursery, running.drain)
        await trio.sleep(3)
        running.stopping.ask()
        assert not await draining.wait()
        assert trio.current_time() <= 3 + LATE
        assert engine.only().status is QUEUED


async def test_a_full_disk_does_not_hold_the_stop_up(engine: Engine, plant: Plant, nursery: trio.Nursery) -> None:
    """With results that have no room to be stored the stop ends in time all the same."""
    async with plant() as running:
        await add(running.state, "sleep", payload="1")
        await settled()
        engine.fault = raising(StorageFull("the disk is full"))
        await trio.sleep(2)
        draining = Call(nursery, running.drain)
        await trio.sleep(GRACE + LATE)
        over = draining.over
        engine.fault = nothing
        await draining.wait()
    assert over


# -- signals


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the last net would end the process, and -1 when it is ended at once."""
    fates: list[float] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **_: fates.append(seconds))
    monkeypatch.setattr(os, "_exit", lambda _: fates.append(-1))
    return fates


async def test_the_third_signal_ends_the_process(net: list[float]) -> None:
    """The first asks for a stop and hangs the last net, the second for a stop at once, the third waits for nothing."""
    with watching(GRACE) as stopping:
        stopping.ask()
        await stopping.asked.wait()
        assert not stopping.at_once.is_set()
        assert net == [GRACE + 10]
        stopping.ask()
        await stopping.at_once.wait()
        stopping.ask()
        assert net == [GRACE + 10, -1]


async def test_the_last_net_leaves_time_for_the_drain_delay(
    monkeypatch: pytest.MonkeyPatch, net: list[float], outside: Outside
) -> None:
    """A drain delay is part of a stop in order: the process is not ended in the midst of it."""
    seconds: list[float] = []

    class Stop(Exception):
        pass

    def stop_there(grace: float) -> None:
        seconds.append(grace)
        raise Stop

    monkeypatch.setattr(tree, "watching", stop_there)
    with pytest.raises(Stop):
        await tree.run(Config(store="memory:", grace=GRACE, drain_delay=30), outside.world())
    assert seconds[0] + HANG_SECONDS >= 30 + GRACE + LATE
