"""The table as rules see it: the batch's own writes, the counters that follow, the moves that are legal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobqueue.errors import NotFound
from jobqueue.job import Ending, Job, Lane, LaneKey, Status
from jobqueue.rules import acceptance, lifecycle
from jobqueue.rules.lifecycle import Times, replace
from jobqueue.rules.table import LEGAL, IllegalMove, Table
from jobqueue.stores.contract import Needs
from jobqueue.stores.memory import Undeclared
from tests.helpers import Desk, draft, memory, planted

SCHEDULED, BLOCKED, QUEUED, RUNNING, DONE, FAILED, CANCELLED = Status
LANE = LaneKey("default", 0, None)

# README, "A job's life": what each status leaves to
LEAVES_TO = {
    SCHEDULED: {QUEUED, CANCELLED, FAILED},
    BLOCKED: {QUEUED, SCHEDULED, CANCELLED, FAILED},
    QUEUED: {RUNNING, CANCELLED, FAILED},
    RUNNING: {DONE, SCHEDULED, QUEUED, FAILED, CANCELLED},
    DONE: set(),
    FAILED: {QUEUED},
    CANCELLED: {QUEUED},
}


def moved(job: Job, status: Status) -> Callable[[Table, Times], Job]:
    """The rule that gives the job this status."""
    return lambda table, _: table.put(job, replace(job, status=status))


@pytest.mark.parametrize("status", list(Status), ids=lambda status: status.name)
async def test_legal_moves(status: Status) -> None:
    """A status leaves to those of the README's table and to no other; a change that keeps it is always legal."""
    assert set(LEGAL[status]) == LEAVES_TO[status] | {status}
    for after in Status:
        desk = memory()
        job = await desk.plant(planted(status))
        if after in LEGAL[status]:
            await desk.do(moved(job, after))
            assert (await desk.get(job)).status is after
        else:
            with pytest.raises(IllegalMove):
                await desk.do(moved(job, after))
            assert (await desk.get(job)).status is status


async def test_an_error_changes_nothing() -> None:
    """When a rule raises, nothing of its batch is kept."""
    desk = memory()
    job = await desk.add()

    def rule(table: Table, times: Times) -> None:
        acceptance.accept(table, [draft()], times)
        lifecycle.cancel(table, job.id, times)
        raise NotFound

    with pytest.raises(NotFound):
        await desk.do(rule, Needs(jobs={job.id}))
    assert await desk.get(job) == job
    assert list((await desk.store.counts())["default"]) == [0, 0, 1, 0, 0, 0, 0]


async def test_reads_see_the_writes_of_the_batch() -> None:
    """Within a batch each command sees what those before it did: jobs, counts, heads, lanes."""
    desk = memory()
    jobs = (await desk.submit([draft()] * 3)).jobs

    def rule(table: Table, times: Times) -> None:
        (new,) = acceptance.accept(table, [draft()], times)
        lifecycle.cancel(table, jobs[1].id, times)
        assert table.job(new.id) == new
        assert table.job(jobs[1].id).status is CANCELLED
        assert [job.seq for job in table.heads(LANE, 9)] == [1, 3, 4]
        assert [job.seq for job in table.heads(LANE, 2)] == [1, 3]
        assert table.count("default", QUEUED) == 3
        assert table.ready("default", 9) == [Lane(LANE, queued=3)]

    await desk.do(rule, Needs(jobs={jobs[1].id}, claims={"default": 9}))


async def test_ready_lanes_in_order() -> None:
    """Ready lanes come by priority, turn and group, whether loaded or changed in the batch; empty ones do not come."""
    desk = memory()
    await desk.submit([draft(group="b"), draft(group="a"), draft(priority=1), draft(queue="other")])

    def rule(table: Table, times: Times) -> list[Any]:
        acceptance.accept(table, [draft(group="c"), draft(priority=2)], times)
        table.serve(LaneKey("default", 0, "a"), 0, 1)
        everything = [(lane.key.priority, lane.key.group) for lane in table.ready("default", 9)]
        assert [(lane.key.priority, lane.key.group) for lane in table.ready("default", 3)] == everything[:3]
        return everything

    found = await desk.do(rule, Needs(claims={"default": 9}))
    assert found == [(2, None), (1, None), (0, "b"), (0, "c"), (0, "a")]


async def test_lanes_that_were_emptied_make_room() -> None:
    """When the batch has emptied the lanes that were first, those behind them come up."""
    desk = memory()
    jobs = (await desk.submit([draft(group=group) for group in "abc"])).jobs

    def rule(table: Table, times: Times) -> list[str | None]:
        for job in jobs[:2]:
            lifecycle.cancel(table, job.id, times)
        return [lane.key.group for lane in table.ready("default", 1)]

    assert await desk.do(rule, Needs(jobs={job.id for job in jobs}, claims={"default": 1})) == ["c"]


async def test_numbers_only_grow() -> None:
    """Identities and places come from one sequence that never gives a number twice, over batches as well."""
    desk = memory()
    place, (job,) = await desk.do(lambda table, times: (table.next_seq(), acceptance.accept(table, [draft()], times)))
    assert (place, job.seq) == (1, 2)
    assert await desk.do(lambda table, _: table.next_seq()) == 3


async def test_lanes_follow_the_jobs() -> None:
    """A lane counts its queued and running jobs; an idle lane of a group is forgotten."""
    desk = memory()
    tables = desk.store.tables  # type: ignore[attr-defined]  # a look inside
    key = LaneKey("default", 0, "g")
    await desk.submit([draft(group="g")] * 2)
    assert tables.lanes[key] == Lane(key, queued=2)
    jobs = await desk.claim(1)
    assert tables.lanes[key] == Lane(key, queued=1, running=1, turn=1)
    jobs += await desk.claim(1)
    for job in jobs:
        await desk.settle(job)
    assert key not in tables.lanes


async def test_suspects_have_lanes_of_their_own() -> None:
    """A job that becomes a suspect leaves its lane for that of the suspects, and may come back."""
    desk = memory()
    tables = desk.store.tables  # type: ignore[attr-defined]  # a look inside
    job = await desk.plant(planted(Status.RUNNING, crashes=1))
    await desk.settle(job, Ending.CRASHED)
    suspects = LANE._replace(suspect=True)
    assert (tables.lanes[LANE].running, tables.lanes[suspects]) == (0, Lane(suspects, queued=1))
    (job,) = await desk.claim()
    await desk.settle(job, Ending.RELEASED)
    assert suspects not in tables.lanes
    assert (tables.lanes[LANE].queued, tables.lanes[LANE].running) == (1, 0)


READS = {
    "job": lambda table: table.find("x"),
    "key": lambda table: table.key("scope", "key"),
    "heads": lambda table: table.heads(LANE, 1),
    "ready": lambda table: table.ready("default", 1),
    "due": lambda table: table.due(0, 1),
    "surplus": lambda table: table.surplus(0, 1),
    "stale keys": lambda table: table.drop_stale_keys(0, 1),
    "orphans": lambda table: table.orphans("boot", 1),
}


@pytest.mark.parametrize("read", list(READS))
async def test_undeclared_reads_fail(read: str) -> None:
    """A rule that reads what its batch did not declare fails on the memory engine."""
    desk = memory()
    with pytest.raises(Undeclared):
        await desk.do(lambda table, _: READS[read](table))
    everything = Needs({"x"}, {("scope", "key")}, claims={"default": 1}, most_due=1, orphans_of="boot")
    await desk.do(lambda table, _: READS[read](table), everything)


async def test_what_was_loaded_may_be_read_by_id() -> None:
    """Jobs that came by a declared way (heads, orphans) may be read by their ids as well."""
    desk: Desk = memory()
    await desk.add()
    await desk.do(lambda table, _: table.job(table.heads(LANE, 1)[0].id), Needs(claims={"default": 1}))
    await desk.claim()
    await desk.do(lambda table, _: table.job(table.orphans("other", 1)[0].id), Needs(orphans_of="other"))
