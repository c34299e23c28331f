"""The exam of the storage contract, about schedules: kept whole, in order of time and of name; sat by every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobqueue.clock import SECOND
from jobqueue.errors import StoreUnavailable
from jobqueue.job import Options, Retry, Unique
from jobqueue.rules import scheduling
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import MOST_SCHEDULE_BYTES, Filter, Needs
from jobqueue.stores.sqlite import SqliteStore
from tests.helpers import EPOCH, Clock, Desk, draft, new_id

NEEDS = Needs(schedules={"a", "b", "c", "*"})
WHOLE = Schedule(
    name="a",
    job='{"kind":"k","payload":"\U0001f980\\u0000\'"}',
    draft=draft(
        "k",
        queue="q",
        priority=-3,
        group="g",
        payload='{"n":123456789012345678901234567890}',
        delay=1.5,
        tags=("x",),
        retry=Retry("list", delays=(1, 2.5)),
        unique=Unique("u", "queued", "replace"),
    ),
    anchor=EPOCH,
    cron="*/5 * * * *",
    timezone="Europe/Berlin",
    overlap="replace",
    catch_up="one",
    paused=True,
    next_at=EPOCH + SECOND,
    last_id=new_id(),
    last_error="é",
)


def schedule(name: str, seconds: float | None, **fields: Any) -> Schedule:
    """A schedule that fires next at a moment."""
    next_at = None if seconds is None else EPOCH + round(seconds * SECOND)
    return Schedule(name=name, job="{}", draft=draft(), anchor=EPOCH, every=10.0, next_at=next_at, **fields)


def keeping(*schedules: Schedule) -> Callable[[Table, Times], None]:
    """A rule that keeps them."""

    def rule(table: Table, _: Times) -> None:
        for one in schedules:
            table.add_schedule(one)

    return rule


def fires(most: int) -> Callable[[Table, Times], list[str]]:
    """A rule that asks who fires next."""
    return lambda table, _: [name for _, name in table.fires(most)]


async def test_a_schedule_is_kept_as_it_is(desk: Desk) -> None:
    """Every field of it, and of the draft in it, for rules and for readers."""
    await desk.do(keeping(WHOLE))
    assert await desk.store.schedule("a") == WHOLE
    assert await desk.do(lambda table, _: table.schedule("a"), NEEDS) == WHOLE
    assert WHOLE.draft.options != Options()


async def test_what_is_not_there_is_none(desk: Desk) -> None:
    """For rules and for readers."""
    assert await desk.store.schedule("a") is None
    assert await desk.do(lambda table, _: table.schedule("a"), NEEDS) is None


async def test_the_last_version_counts(desk: Desk) -> None:
    """Kept again it is replaced, dropped it is gone, also within a batch."""
    await desk.do(keeping(WHOLE))
    await desk.do(lambda table, _: table.keep_schedule(schedule("a", 1)))
    assert await desk.store.schedule("a") == schedule("a", 1)

    def rule(table: Table, _: Times) -> list[object]:
        table.drop_schedule("a")
        seen = [table.schedule("a"), table.schedules(), table.fires(9)]
        table.add_schedule(schedule("b", 2))
        table.keep_schedule(schedule("b", 3))
        return [*seen, table.schedule("b"), table.schedules()]

    assert await desk.do(rule, NEEDS) == [None, 0, [], schedule("b", 3), 1]
    assert await desk.store.schedule("a") is None


async def test_they_are_counted(desk: Desk) -> None:
    """With those of the batch, however often one is changed in it."""
    await desk.do(keeping(schedule("a", 1), schedule("b", 1)))

    def rule(table: Table, times: Times) -> list[int]:
        counts = [table.schedules()]
        table.keep_schedule(schedule("a", 2))
        counts.append(table.schedules())
        table.add_schedule(schedule("c", 1))
        table.keep_schedule(schedule("c", 2))
        counts.append(table.schedules())
        table.drop_schedule("a")
        table.drop_schedule("c")
        return [*counts, table.schedules()]

    assert await desk.do(rule, NEEDS) == [2, 2, 3, 1]
    assert await desk.do(lambda table, _: table.schedules(), NEEDS) == 1


async def test_who_fires_next_comes_first(desk: Desk) -> None:
    """By time, then by name; neither the paused nor those without a next time."""
    never = [schedule("x", 0, paused=True), schedule("y", None)]
    await desk.do(keeping(schedule("c", 2), schedule("b", 3), schedule("a", 2), *never))
    assert await desk.do(fires(9), NEEDS) == ["a", "c", "b"]
    assert await desk.do(fires(2), NEEDS) == ["a", "c"]
    assert await desk.do(lambda table, _: table.fires(1), NEEDS) == [(EPOCH + 2 * SECOND, "a")]


async def test_a_batch_sees_its_own_changes_of_the_order(desk: Desk) -> None:
    """However few are asked for: one that moved on makes room for those behind it."""
    await desk.do(keeping(schedule("a", 1), schedule("b", 2), schedule("c", 3)))

    def rule(table: Table, _: Times) -> list[list[str]]:
        orders = []
        for change in (schedule("a", 9), schedule("b", 2, paused=True), schedule("c", 4)):
            table.keep_schedule(change)
            orders.append([name for _, name in table.fires(2)])
        return orders

    assert await desk.do(rule, NEEDS) == [["b", "c"], ["c", "a"], ["c", "a"]]
    assert await desk.do(fires(9), NEEDS) == ["c", "a"]


async def test_a_fire_and_its_job_are_one_commit(desk: Desk) -> None:
    """If the batch fails, the schedule has not moved on."""
    await desk.do(keeping(schedule("a", 1)))

    def rule(table: Table, times: Times) -> None:
        scheduling.fire(table, EPOCH, EPOCH + SECOND, times)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await desk.do(rule, NEEDS)
    assert await desk.store.schedule("a") == schedule("a", 1)
    fired = await desk.do(lambda table, times: scheduling.fire(table, EPOCH, EPOCH + SECOND, times), NEEDS)
    assert fired.next_at == EPOCH + 10 * SECOND
    (job,) = (await desk.store.page(Filter(), None, 9)).jobs
    found = await desk.store.schedule("a")
    assert found is not None
    assert found.last_id == job.id


async def test_they_are_read_by_name_in_pages(desk: Desk) -> None:
    """From after a name on, and whether more follow."""
    await desk.do(keeping(*(schedule(name, 1) for name in ("c", "a", "B", "d"))))

    async def page(after: str, most: int) -> tuple[list[str], bool]:
        found, more = await desk.store.schedules(after, most)
        return [one.name for one in found], more

    assert await page("", 2) == (["B", "a"], True)
    assert await page("a", 2) == (["c", "d"], False)
    assert await page("a", 1) == (["c"], True)
    assert await page("b", 9) == (["c", "d"], False)
    assert await page("d", 9) == ([], False)


async def test_the_file_keeps_them(tmp_path: Path) -> None:
    """Opened again they are as they were, and fire in the same order."""
    clock = Clock()
    path = str(tmp_path / "jobs.db")
    async with SqliteStore(path, clock.now) as store:
        await Desk(store, clock).do(keeping(WHOLE, schedule("c", 2), schedule("b", 3)))
    async with SqliteStore(path, clock.now) as store:
        assert (await store.schedules("", 9))[0] == [WHOLE, schedule("b", 3), schedule("c", 2)]
        assert await Desk(store, clock).do(fires(9)) == ["c", "b"]
        assert await Desk(store, clock).do(lambda table, _: table.schedules()) == 3


async def test_a_page_of_large_ones_is_cut(tmp_path: Path) -> None:
    """Before it fills the memory, but never to nothing."""
    clock = Clock()
    text = '"' + "x" * (MOST_SCHEDULE_BYTES // 2) + '"'
    async with SqliteStore(str(tmp_path / "jobs.db"), clock.now) as store:
        for name in "abc":
            large = Schedule(name, job=text, draft=draft(payload=text), anchor=EPOCH)
            await Desk(store, clock).do(keeping(large))
        found, more = await store.schedules("a", 9)
        assert ([one.name for one in found], more) == (["b"], True)


async def test_a_row_that_is_none_of_ours_is_damage(tmp_path: Path) -> None:
    """A reader hears that the store cannot be read."""
    clock = Clock()
    async with SqliteStore(str(tmp_path / "jobs.db"), clock.now) as store:
        await Desk(store, clock).do(keeping(WHOLE))
        await store._write(lambda: store._connection.execute("UPDATE schedules SET data = '{}'"))
        with pytest.raises(StoreUnavailable):
            await store.schedule("a")
