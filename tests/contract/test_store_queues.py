"""The exam of the storage contract, its part about queues: settings, caps, lanes that close and open, retention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from jobqueue.clock import micros
from jobqueue.job import NEVER, OPEN, Job, Lane, LaneKey, Retry, Status
from jobqueue.queue import Caps, Defaults, Known, Queue, Rate, Window
from jobqueue.rules import configuring, ripening
from jobqueue.rules.rows import Rows
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore
from jobqueue.stores.sqlite import rows as sqlite_rows
from tests.helpers import EPOCH, Clock, Desk, draft

T = TypeVar("T")

FULL = Queue(
    "default",
    paused=True,
    caps=Caps(3, Rate(5, 0.5)),
    group=Caps(2, Rate(1, 86_400)),
    weights={"a": 0.5, "b.c:d": 7},
    defaults=Defaults(9, Retry("list", delays=(1, 2.5)), 12.5),
    retention={"DONE": 0.0, "FAILED": 1e8},
    max_queued=12,
)


async def look(desk: Desk, read: Callable[[Rows], T], most_due: int = 0) -> T:
    """What a batch finds in the rows."""
    return await desk.do(lambda table, _: read(table._rows), Needs(most_due=most_due))


async def reopened(desk: Desk, path: Path, check: Callable[[Desk], Awaitable[None]]) -> None:
    """Check what holds now, and that it holds after a restart, too."""
    await check(desk)
    if isinstance(desk.store, SqliteStore):
        await desk.store.__aexit__()
        async with SqliteStore(str(path / "jobs.db"), desk.clock.now) as store:
            await check(Desk(store, desk.clock))
        await desk.store.__aenter__()


async def test_settings_are_kept_whole(desk: Desk, tmp_path: Path) -> None:
    """Every field, over a restart; a queue without any has none."""
    await desk.do(lambda table, _: table.configure(FULL))

    async def check(desk: Desk) -> None:
        assert await look(desk, lambda rows: rows.queue("default")) == FULL
        assert await look(desk, lambda rows: rows.queue("other")) is None
        assert await look(desk, lambda rows: rows.configured()) == ["default"]

    await reopened(desk, tmp_path, check)


async def test_the_last_settings_count(desk: Desk, tmp_path: Path) -> None:
    """They replace those before."""
    await desk.do(lambda table, _: table.configure(FULL))
    await desk.do(lambda table, _: table.configure(Queue("default")))

    async def check(desk: Desk) -> None:
        assert await look(desk, lambda rows: rows.queue("default")) == Queue("default")

    await reopened(desk, tmp_path, check)


async def test_a_refused_batch_changes_no_settings(desk: Desk) -> None:
    """A rule that raises leaves them as they were."""

    def fail(table: Table, _times: object) -> None:
        table.configure(FULL)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await desk.do(fail)
    assert await look(desk, lambda rows: rows.queue("default")) is None
    assert await desk.store.queues() == []


async def test_a_queue_is_known_by_its_settings_or_by_any_job_ever(desk: Desk, tmp_path: Path) -> None:
    """Also when its jobs have gone."""
    job = await desk.add(queue="jobs")
    await desk.cancel(job)
    await desk.remove(job)
    await desk.configure("settings")

    async def check(desk: Desk) -> None:
        assert await look(desk, lambda rows: [rows.known(name) for name in ("jobs", "settings", "x")]) == [
            True,
            True,
            False,
        ]
        assert await look(desk, lambda rows: rows.names()) == 2
        assert [known.settings.name for known in await desk.store.queues()] == ["jobs", "settings"]

    await reopened(desk, tmp_path, check)


async def test_what_counts_against_rates_survives_a_restart(desk: Desk, tmp_path: Path) -> None:
    """Of the queue and of each group; what is over is forgotten one day."""
    windows = {None: Window(((EPOCH, 3),), EPOCH + micros(9)), "a": Window(((EPOCH, 1), (EPOCH + 5, 2)), EPOCH + 99)}

    def count(table: Table, _times: object) -> None:
        for group, window in windows.items():
            table.count_starts("default", group, window)

    await desk.do(count)

    async def check(desk: Desk) -> None:
        for group, window in windows.items():
            assert await look(desk, lambda rows, group=group: rows.window("default", group)) == window  # type: ignore[misc]  # mypy cannot type a lambda with a default
        assert await look(desk, lambda rows: rows.window("other", None)) is None

    await reopened(desk, tmp_path, check)


async def test_closed_lanes_are_not_ready_and_open_in_order_of_time(desk: Desk, tmp_path: Path) -> None:
    """A lane that is not open leaves the ready index; `opening` finds those whose moment has come, `closed` all."""
    await desk.submit([draft(group=group) for group in "abcd"])
    moments = {"a": OPEN, "b": EPOCH + 20, "c": EPOCH + 10, "d": NEVER}

    def close(table: Table, _times: object) -> None:
        for group, at in moments.items():
            table._set_opening("default", group, at)

    await desk.do(close)

    def of(lanes: list[Lane]) -> list[str | None]:
        return [lane.key.group for lane in lanes]

    async def check(desk: Desk) -> None:
        def read(table: Table, _times: object) -> None:
            rows = table._rows
            assert of(list(rows.ready("default", 9, suspect=False))) == ["a"]
            assert sorted(of(list(rows.closed("default"))), key=str) == ["b", "c", "d"]
            assert rows.closed("other") == []
            assert of(list(rows.opening(EPOCH + 9, 9))) == []
            assert of(list(rows.opening(EPOCH + 10, 9))) == ["c"]
            assert sorted(of(list(rows.opening(NEVER - 1, 9))), key=str) == ["b", "c"]
            assert len(rows.opening(NEVER - 1, 1)) == 1

        await desk.do(read, Needs(most_due=ripening.MOST, claims={"default": 9}))
        assert await desk.store.next_due() == EPOCH + 10

    await reopened(desk, tmp_path, check)


async def test_lanes_open_again(desk: Desk, tmp_path: Path) -> None:
    """What `open_due` and `open_all` open is ready, over a restart too."""
    await desk.submit([draft(group=group) for group in "ab"])
    for group in "ab":
        await desk.do(lambda table, _, group=group: table._set_opening("default", group, EPOCH + 10))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    desk.clock.advance(1)
    assert await desk.do(lambda table, times: table.open_due(times.now, 1), Needs(most_due=1)) == 1
    await desk.do(lambda table, _: table.open_all("default"))

    async def check(desk: Desk) -> None:
        assert await look(desk, lambda rows: list(rows.closed("default"))) == []
        assert await desk.store.next_due() is None

    await reopened(desk, tmp_path, check)
    assert len(await desk.claim(9)) == 2


async def test_the_lanes_of_a_group_and_of_a_queue(desk: Desk, tmp_path: Path) -> None:
    """All priorities of a group; an idle lane of a group is forgotten."""
    await desk.submit([draft(group="a", priority=p) for p in (0, 5)] + [draft(group="b"), draft()])

    async def check(desk: Desk) -> None:
        lanes = await look(desk, lambda rows: rows.lanes_of("default", "a"))
        assert sorted(lane.key for lane in lanes) == [LaneKey("default", 0, "a"), LaneKey("default", 5, "a")]
        assert await look(desk, lambda rows: rows.lanes_of("default", "x")) == []
        assert await look(desk, lambda rows: (rows.lanes("default"), rows.lanes("other"))) == (4, 0)

    await reopened(desk, tmp_path, check)
    for job in await desk.claim(9):
        await desk.settle(job)
    assert await look(desk, lambda rows: (rows.lanes("default"), list(rows.lanes_of("default", "a")))) == (1, [])


async def test_a_lane_that_is_kept_though_idle(desk: Desk, tmp_path: Path) -> None:
    """The turn of a group of a small share is remembered, over a restart too."""
    await desk.configure(weights={"small": 0.1})
    await desk.submit([draft(group="small"), draft(group="big"), draft(group="big")])
    for job in await desk.claim(2):
        await desk.settle(job)

    async def check(desk: Desk) -> None:
        lane = await look(desk, lambda rows: rows.lane(LaneKey("default", 0, "small")))
        assert lane is not None
        assert (lane.queued, lane.running, lane.turn) == (0, 0, 10.0)

    await reopened(desk, tmp_path, check)


async def end(desk: Desk, *queues: str) -> list[Job]:
    """A job of each queue that has ended, in this order."""
    return [await desk.cancel(await desk.add(queue=queue)) for queue in queues]


async def test_ended_jobs_of_a_queue_in_pieces(desk: Desk) -> None:
    """In order of seq, from a seq on, with the seq to go on from."""
    jobs = await end(desk, "a", "b", "a", "a")
    await desk.add(queue="a")

    async def piece(after: int, count: int) -> tuple[list[int], int | None]:
        found, reached = await look(desk, lambda rows: rows.ended_of("a", after, count))
        return [job.seq for job in found], reached

    first, second, third = jobs[0].seq, jobs[2].seq, jobs[3].seq
    assert await piece(0, 2) == ([first, second], second)
    assert (await piece(second, 2))[0] == [third]
    assert await piece(0, 9) == ([first, second, third], None)
    assert await piece(third, 9) == ([], None)


async def test_no_more_rows_are_looked_at_than_a_batch_bears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many of other queues the search goes on in the next batch, from where it was."""
    monkeypatch.setattr(sqlite_rows, "MOST_LOOKED", 3)
    clock = Clock()
    async with SqliteStore(str(tmp_path / "jobs.db"), clock.now) as store:
        desk = Desk(store, clock)
        await end(desk, "a", "b", "b", "b", "a")
        assert await look(desk, lambda rows: rows.ended_of("a", 0, 9)[1]) == 3
        found, reached = await look(desk, lambda rows: rows.ended_of("a", 3, 9))
        assert ([job.seq for job in found], reached) == ([5], None)


async def test_redating_goes_on_after_a_restart(desk: Desk, tmp_path: Path) -> None:
    """How far it is, and that it is due at once; None ends it."""
    await desk.configure("a", retention={"DONE": 1.0})
    await desk.do(lambda table, _: table.redate("a", 17))

    async def check(desk: Desk) -> None:
        assert dict(await look(desk, lambda rows: rows.redating())) == {"a": 17}
        assert await desk.store.next_due() == 0

    await reopened(desk, tmp_path, check)
    await desk.do(lambda table, _: table.redate("a", None))

    async def over(desk: Desk) -> None:
        assert dict(await look(desk, lambda rows: rows.redating())) == {}
        assert await desk.store.next_due() is None

    await reopened(desk, tmp_path, over)


async def test_a_new_retention_reaches_every_ended_job(desk: Desk) -> None:
    """In as many pieces as it takes."""
    jobs = await end(desk, *"aabaa")
    await desk.configure("a", retention={"CANCELLED": 5.0})
    while await desk.do(lambda table, times: configuring.redate(table, times, 2)):
        pass
    kept = [(await desk.get(job)).due_at for job in jobs if job.queue == "a"]
    assert kept == [desk.clock.now() + micros(5)] * 4


async def test_what_a_reader_sees_of_a_queue(desk: Desk, tmp_path: Path) -> None:
    """Its settings, its counts, and since when the first in line waits."""
    await desk.configure("a", paused=True)
    await desk.add(queue="a", delay=5)
    desk.clock.advance(2)
    since = desk.clock.now()
    await desk.submit([draft(queue="a", group=group) for group in (None, "x", "y")])
    desk.clock.advance(9)
    await desk.ripen()
    await desk.add(queue="a")
    await desk.cancel(await desk.add(queue="b"))
    counts = [0] * len(Status)
    counts[Status.QUEUED] = 5

    async def check(desk: Desk) -> None:
        assert await desk.store.queues("a") == [Known(Queue("a", paused=True), tuple(counts), since)]
        assert [known.settings.name for known in await desk.store.queues()] == ["a", "b"]
        assert (await desk.store.queues("b"))[0].waits_since is None
        assert await desk.store.queues("c") == []

    await reopened(desk, tmp_path, check)


async def test_a_delayed_job_waits_from_the_moment_it_was_due(desk: Desk) -> None:
    """Not from its submission: a job of next week is not late when it comes."""
    await desk.add(delay=100)
    desk.clock.advance(130)
    await desk.ripen()
    assert (await desk.store.queues("default"))[0].waits_since == EPOCH + micros(100)


async def test_memory_keeps_no_window_that_is_over() -> None:
    """The reference engine forgets it with the next commit."""
    clock = Clock()
    desk = Desk(MemoryStore(clock.now), clock)
    await desk.configure(caps=Caps(rate=Rate(1, 1)))
    await desk.add()
    await desk.claim()
    assert await look(desk, lambda rows: rows.window("default", None)) is not None
    clock.advance(2)
    await desk.add()
    assert await look(desk, lambda rows: rows.window("default", None)) is None
