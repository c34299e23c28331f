"""A store that cannot be trusted any more: all get 503, and the state actor ends (promise 10)."""

from __future__ import annotations

import pytest
import trio

from jobqueue.actors.state import StateActor
from jobqueue.errors import StorageFull, StoreUnavailable
from jobqueue.mailbox import Closed, Nudge
from jobqueue.rules.changes import Changes
from jobqueue.rules.lifecycle import Limits
from jobqueue.stores.contract import RowRefused, StoreFailed
from tests.actors.engine import Engine, Outside, raising
from tests.actors.kit import Call, add, claim, settled, turn

FULL = StorageFull("the disk is full; nothing was changed")


class Serving:
    """A state actor whose end is noted."""

    def __init__(self, nursery: trio.Nursery, engine: Engine, outside: Outside) -> None:
        self.actor = StateActor(engine, outside.world(), Limits(), Nudge())
        self.state = self.actor.handle
        self.run = Call(nursery, self.actor.run)


@pytest.fixture
async def served(engine: Engine, outside: Outside, nursery: trio.Nursery) -> Serving:
    return Serving(nursery, engine, outside)


async def test_an_io_error_ends_the_actor(engine: Engine, served: Serving) -> None:
    """The one who asked gets 503, and the actor raises, so that the process ends."""
    engine.fault = raising(StoreFailed("I/O error"))
    with pytest.raises(StoreUnavailable) as told:
        await add(served.state)
    assert not isinstance(told.value, StoreFailed)
    with pytest.raises(StoreFailed):
        await served.run.wait()


async def test_after_an_io_error_all_who_wait_get_503(engine: Engine, served: Serving, nursery: trio.Nursery) -> None:
    """Those in the batch, those behind it and those who still come get 503; the store is never tried again."""
    engine.door = trio.Event()
    engine.fault = raising(StoreFailed("I/O error"))
    calls = [Call(nursery, lambda: add(served.state))]
    await settled()
    calls += [Call(nursery, lambda: add(served.state)) for _ in range(5)]
    await settled()
    engine.door.set()
    await settled()
    asked = engine.calls
    calls.append(Call(nursery, lambda: add(served.state)))
    calls.append(Call(nursery, served.state.vitals))
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call.wait()
    with pytest.raises(StoreFailed):
        await served.run.wait()
    assert engine.calls == asked


async def test_after_its_end_nobody_waits(engine: Engine, served: Serving) -> None:
    """An ask of an actor that has ended is Closed at once."""
    engine.fault = raising(StoreFailed("I/O error"))
    with pytest.raises(StoreUnavailable):
        await add(served.state)
    with pytest.raises(StoreFailed):
        await served.run.wait()
    with pytest.raises(Closed):
        await add(served.state)


async def test_an_io_error_amid_a_spoiled_batch_answers_all_of_it(
    engine: Engine, served: Serving, nursery: trio.Nursery
) -> None:
    """Where the store fails while a spoiled batch is carried out one by one, those not yet reached get 503 too."""
    engine.door = trio.Event()
    nursery.start_soon(add, served.state)
    await settled()
    calls = [Call(nursery, lambda: add(served.state)) for _ in range(5)]
    await settled()
    commits = len(engine.batches) + 1  # the one at the door

    def fault(changes: Changes) -> None:
        if len(changes.jobs) == 5:
            raise RowRefused("no")
        if len(engine.batches) == commits + 2:
            raise StoreFailed("I/O error")

    engine.fault = fault
    engine.door.set()
    await trio.sleep(10)
    assert [call.over for call in calls] == [True] * 5
    assert [type(call.error) for call in calls].count(StoreUnavailable) == 3
    with pytest.raises(StoreFailed):
        await served.run.wait()


async def test_a_watcher_is_told_of_an_io_error(engine: Engine, served: Serving, nursery: trio.Nursery) -> None:
    """Who waits for the end of a job does not go on waiting for an actor that has ended."""
    job = await add(served.state)
    with await served.state.watch(job.id) as pending:
        waiting = Call(nursery, pending.get)
        engine.fault = raising(StoreFailed("I/O error"))
        with pytest.raises(StoreUnavailable):
            await add(served.state)
        await trio.sleep(10)
        over = waiting.over
        waiting.leave()
        await settled()
    assert over


async def test_results_that_were_kept_are_told_of_an_io_error(
    engine: Engine, served: Serving, nursery: trio.Nursery
) -> None:
    """A turn that a full disk made wait gets 503 when the store then fails for good."""
    await add(served.state)
    (job,) = await claim(served.state)
    engine.fault = raising(FULL)
    call = Call(nursery, turn(served.state, job))
    await settled()
    engine.fault = raising(StoreFailed("I/O error"))
    with pytest.raises(StoreUnavailable):
        await call.wait()
