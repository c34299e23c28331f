"""The reader: reads that decide nothing, many in one hop to the store, and none of them an end of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import pytest
import trio

from jobqueue.actors.reader import GET_MOST, INBOX, Reader, Reads
from jobqueue.actors.state_handle import State
from jobqueue.clock import Micros
from jobqueue.errors import Internal, NotFound, Overloaded, Removed, StoreUnavailable
from jobqueue.job import Job, Status
from jobqueue.mailbox import Closed
from jobqueue.server import running
from jobqueue.stores import contract
from jobqueue.stores.contract import Filter
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Call, add, claim, settle, settled
from tests.helpers import draft, new_id


class Reading(Engine):
    """The engine, which notes what is read in one go, may hold a read at a door, and may fail."""

    def __init__(self, clock: Callable[[], Micros]) -> None:
        super().__init__(clock)
        self.gets: list[int] = []
        self.read_door: trio.Event | None = None
        self.read_fault: Exception | None = None
        self.faulty_id = ""

    async def _read(self) -> None:
        if self.read_door is not None:
            await self.read_door.wait()
        await trio.lowlevel.checkpoint()
        if self.read_fault is not None:
            raise self.read_fault

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | contract.Removed | None]:
        """As the memory engine."""
        self.gets.append(len(ids))
        await self._read()
        if self.faulty_id in ids:
            raise OverflowError("inside")
        return await super().get(ids, whole=whole)

    async def page(self, wanted: Filter, before: int | None, limit: int, *, wide: bool = True) -> contract.Page:
        """As the memory engine."""
        await self._read()
        return await super().page(wanted, before, limit, wide=wide)


@pytest.fixture
def engine(outside: Outside) -> Reading:
    return Reading(outside.now)


@pytest.fixture
async def reads(engine: Reading) -> AsyncIterator[Reads]:
    async with running(Reader(engine)) as reads:
        yield reads


async def test_a_read_after_an_answer_sees_it(state: State, reads: Reads) -> None:
    """What was answered before the read was asked for is in what it returns."""
    job = await add(state)
    assert await reads.job(job.id) == job
    (started,) = await claim(state)
    assert (await reads.job(job.id)).status is Status.RUNNING
    await settle(state, started)
    assert (await reads.job(job.id)).status is Status.DONE


async def test_reads_that_wait_together_are_one(
    engine: Reading, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """What came while the store was being read is asked for in one call, up to a bound, and each gets its own."""
    jobs = (await state.submit([draft() for _ in range(GET_MOST + 50)])).jobs
    engine.read_door = trio.Event()
    first = Call(nursery, lambda: reads.job(jobs[0].id))
    await settled()
    calls = [Call(nursery, partial(reads.job, job.id)) for job in jobs]
    await settled()
    engine.read_door.set()
    for job, call in zip(jobs, calls, strict=True):
        assert await call.wait() == job
    assert await first.wait() == jobs[0]
    assert engine.gets == [1, GET_MOST, 50]


async def test_what_is_not_there_spoils_no_neighbour(
    engine: Reading, outside: Outside, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """Of reads that go together the unknown id is NotFound, the removed one Removed, the others are answered."""
    gone = await add(state)
    await state.cancel(gone.id)
    outside.shift += 8 * 86_400
    here = await add(state)
    await trio.sleep(5)
    engine.read_door = trio.Event()
    calls = [Call(nursery, partial(reads.job, id)) for id in (here.id, here.id, gone.id, new_id(), here.id)]
    await settled()
    engine.read_door.set()
    with pytest.raises(Removed):
        await calls[2].wait()
    with pytest.raises(NotFound):
        await calls[3].wait()
    assert [(await call.wait()).id for call in (calls[0], calls[1], calls[4])] == [here.id] * 3


async def test_an_error_of_the_store_is_told_to_all_who_asked(
    engine: Reading, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """503 for each, and when the store is there again the next read succeeds."""
    job = await add(state)
    engine.read_fault = StoreUnavailable("busy")
    calls = [Call(nursery, lambda: reads.job(job.id)) for _ in range(3)]
    calls.append(Call(nursery, lambda: reads.page(Filter(), None, 10)))
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call.wait()
    engine.read_fault = None
    assert await reads.job(job.id) == job
    assert len((await reads.page(Filter(), None, 10)).jobs) == 1


async def test_a_bug_in_a_read_is_told_and_ends_nothing(
    engine: Reading, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """Promise 6: a read that fails in a way nobody expected is a 500 for who asked; the reader goes on."""
    job = await add(state)
    engine.read_fault = OverflowError("inside")
    calls = [Call(nursery, lambda: reads.page(Filter(), 1 << 70, 10)), Call(nursery, lambda: reads.job(job.id))]
    for call in calls:
        with pytest.raises(Internal) as told:
            await call.wait()
        assert "inside" not in str(told.value)
    engine.read_fault = None
    assert await reads.job(job.id) == job


async def test_a_bug_in_one_read_spoils_no_neighbour(
    engine: Reading, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """Of reads that go together only the one that is at fault gets the 500."""
    jobs = (await state.submit([draft() for _ in range(4)])).jobs
    engine.faulty_id = jobs[2].id
    engine.read_door = trio.Event()
    calls = [Call(nursery, partial(reads.job, id)) for id in (jobs[0].id, *(job.id for job in jobs))]
    await settled()
    engine.read_door.set()
    with pytest.raises(Internal):
        await calls.pop(3).wait()
    assert [(await call.wait()).seq for call in calls] == [1, 1, 2, 4]


async def test_lists_are_shed_jobs_are_not(engine: Reading, state: State, reads: Reads, nursery: trio.Nursery) -> None:
    """At the limit a list is refused at once with Overloaded; a job by its id waits its turn."""
    job = await add(state)
    engine.read_door = trio.Event()
    calls = [Call(nursery, lambda: reads.job(job.id))]
    await settled()
    calls += [Call(nursery, lambda: reads.job(job.id)) for _ in range(INBOX + 10)]
    await settled()
    with pytest.raises(Overloaded):
        await reads.page(Filter(), None, 10)
    engine.read_door.set()
    for call in calls:
        assert await call.wait() == job


async def test_a_reader_that_left_disturbs_nobody(
    engine: Reading, state: State, reads: Reads, nursery: trio.Nursery
) -> None:
    """Who hangs up is not answered; who stays is."""
    job = await add(state)
    engine.read_door = trio.Event()
    leaving = Call(nursery, lambda: reads.job(job.id))
    staying = Call(nursery, lambda: reads.job(job.id))
    await settled()
    leaving.leave()
    engine.read_door.set()
    assert await staying.wait() == job


async def test_the_rest_of_the_reads(engine: Reading, state: State, reads: Reads) -> None:
    """History, log and counts come as the store has them."""
    await state.submit([draft(), draft()])
    (job,) = await claim(state)
    await settle(state, job)
    assert [record.epoch for record in await reads.attempts(job.seq)] == [1]
    assert await reads.lines(job.seq) == []
    counts = (await reads.counts())["default"]
    assert (counts[Status.QUEUED], counts[Status.DONE]) == (1, 1)


async def test_after_its_end_nobody_waits(engine: Reading, nursery: trio.Nursery) -> None:
    """Reads that wait when the reader ends, and those that come later, are Closed."""
    engine.read_door = trio.Event()
    with trio.CancelScope() as scope:
        async with running(Reader(engine)) as reads:
            under_way = Call(nursery, lambda: reads.job(new_id()))
            await settled()
            waiting = Call(nursery, lambda: reads.job(new_id()))
            await settled()
            scope.cancel()
    with pytest.raises(Closed):
        await waiting.wait()
    with pytest.raises(Closed):
        await reads.counts()
    under_way.leave()
