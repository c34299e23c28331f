"""The exam of the storage contract, of what ties jobs to each other: unique keys, dependencies, ends to be told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jobqueue.job import SPARED, Job, Status, Unique
from jobqueue.rules.changes import End
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import replace
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs, Store
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore
from tests.helpers import EPOCH, Clock, Desk, draft, planted

UNIQUE = Unique("k", "exists")

Reopen = Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite", "sqlite, opened anew"])
async def links(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Links]:
    """A desk on each engine; on one of them the file is opened anew between every two batches."""
    clock = Clock()

    def store() -> Store:
        return (
            MemoryStore(clock.now) if request.param == "memory" else SqliteStore(str(tmp_path / "jobs.db"), clock.now)
        )

    desk = Links(store(), clock, store if "anew" in request.param else None)
    await desk.store.__aenter__()
    yield desk
    await desk.store.__aexit__(None, None, None)


class Links(Desk):
    """A desk that does no more than it is told, so the ends of a batch wait to be told."""

    def __init__(self, store: Store, clock: Clock, anew: Callable[[], Store] | None) -> None:
        super().__init__(store, clock)
        self._anew = anew

    async def do(self, rule: Callable[..., Any], needs: Needs | None = None) -> Any:
        """One batch."""
        if self._anew is not None:
            await self.store.__aexit__(None, None, None)
            self.store = self._anew()
            await self.store.__aenter__()
        times = self.times()
        return await self.store.apply(lambda: needs or Needs(), lambda table: rule(table, times))

    async def ask(self, rule: Callable[[Table], Any], *jobs: Job) -> Any:
        """What the table says, with these jobs loaded."""
        return await self.do(lambda table, _: rule(table), Needs({job.id for job in jobs}, uniques={("default", "k")}))

    async def plant_some(self, *statuses: Status, **options: Any) -> list[Job]:
        """Jobs in these statuses."""
        jobs = []
        for status in statuses:
            seq = await self.ask(lambda table: table.last_seq()) + 1
            job = planted(status, seq=seq, place=seq)
            jobs.append(await self.plant(replace(job, options=replace(job.options, **options))))
        return jobs

    async def child_of(self, *waits_for: Job, met: tuple[Job, ...] = ()) -> Job:
        """A BLOCKED job with these parents."""

        def rule(table: Table) -> Job:
            seq = table.next_seq()
            ids = tuple(parent.id for parent in (*waits_for, *met))
            job = planted(Status.BLOCKED, seq=seq, place=seq)
            job = table.add(replace(job, options=replace(job.options, depends_on=ids)))
            table.link(job, waits_for, met)
            return job

        child: Job = await self.ask(rule)
        return child


# -- unique keys


async def test_a_key_is_held(links: Links) -> None:
    """A job that comes with a unique key holds it, in its queue."""
    (job,) = await links.plant_some(Status.QUEUED, unique=UNIQUE)
    assert await links.ask(lambda table: table.holder("default", "k")) == job.id
    needs = Needs(uniques={("other", "k"), ("default", "other")})
    for queue, key in needs.uniques:
        assert await links.do(lambda table, _, at=(queue, key): table.holder(*at), needs) is None


async def test_a_key_is_released(links: Links) -> None:
    """A released key is free, in the same batch and afterwards."""
    (job,) = await links.plant_some(Status.QUEUED, unique=UNIQUE)

    def rule(table: Table) -> str | None:
        table.release(job)
        return table.holder("default", "k")

    assert await links.ask(rule, job) is None
    assert await links.ask(lambda table: table.holder("default", "k")) is None


async def test_a_late_release_harms_nobody(links: Links) -> None:
    """Who lost the key to another cannot release the other's, not in the same batch and not later."""
    first, second = await links.plant_some(Status.DONE, Status.QUEUED, unique=UNIQUE)
    await links.ask(lambda table: table.release(first), first)
    assert await links.ask(lambda table: table.holder("default", "k")) == second.id
    await links.ask(lambda table: table.remove(first), first)
    assert await links.ask(lambda table: table.holder("default", "k")) == second.id


async def test_a_removed_job_holds_nothing(links: Links) -> None:
    """With a job its key goes."""
    (job,) = await links.plant_some(Status.DONE, unique=UNIQUE)
    await links.ask(lambda table: table.remove(job), job)
    assert await links.ask(lambda table: table.holder("default", "k")) is None


async def test_a_holder_is_loaded_with_its_key(links: Links) -> None:
    """Whoever declared the key may read the job that holds it; whoever declared the job, its key."""
    (job,) = await links.plant_some(Status.QUEUED, unique=UNIQUE)
    assert await links.ask(lambda table: table.job(table.holder("default", "k") or "")) == job
    holder = await links.do(lambda table, _: (table.job(job.id), table.holder("default", "k"))[1], Needs({job.id}))
    assert holder == job.id


async def test_texts_of_keys(links: Links) -> None:
    """Keys are told apart to the letter."""
    keys = ["é", "É", "e\u0301", "K", "k ", "'; DROP TABLE jobs; --", "\U0001f980" * 255]
    jobs = [(await links.plant_some(Status.QUEUED, unique=Unique(key)))[0] for key in keys]
    needs = Needs(uniques={("default", key) for key in keys})
    assert await links.do(lambda table, _: [table.holder("default", key) for key in keys], needs) == [
        job.id for job in jobs
    ]


async def test_the_options_of_ties_are_kept(links: Links) -> None:
    """Unique key and dependencies come back as they were given."""
    (job,) = await links.plant_some(
        Status.DONE, unique=Unique("k", "queued", "replace"), depends_on=("a", "b"), on_dependency_failure="run"
    )
    assert await links.get(job) == job


async def test_returned_places_are_kept(links: Links) -> None:
    """An idempotency key keeps which of its jobs were only found."""
    key = IdempotencyKey("s", "k", b"digest")
    await links.plant_some(Status.QUEUED, unique=UNIQUE)
    asked = [draft(), draft(unique=Unique("k", on_conflict="return")), draft()]
    assert [(await links.submit(asked, key)).returned for _ in range(2)] == [{1}, {1}]


# -- dependencies


async def test_without_links(links: Links) -> None:
    """Where nobody depends on anybody there is nothing to ask."""
    (job,) = await links.plant_some(Status.DONE)
    assert await links.ask(lambda table: (table.links(), table.dependents(job), table.resolving(9))) == (False, 0, [])


async def test_children(links: Links) -> None:
    """Those who wait for a parent, in order of seq, as many as asked for, and none that came after its end."""
    first, second = await links.plant_some(Status.QUEUED, Status.QUEUED)
    children = [await links.child_of(first, second) for _ in range(4)]
    other = await links.child_of(second)
    pairs = [(child.seq, child.id) for child in children]
    last = children[2].seq

    def seen(table: Table) -> list[Any]:
        return [
            table.children(End(99, first.seq, met=True), 9),
            table.children(End(99, first.seq, met=True), 2),
            table.children(End(last, first.seq, met=False), 9),
            table.children(End(99, second.seq, met=True), 9)[-1],
            table.children(End(99, other.seq, met=True), 9),
        ]

    assert await links.ask(seen) == [pairs, pairs[:2], pairs[:3], (other.seq, other.id), []]


async def test_met(links: Links) -> None:
    """Who is met is no child any more, but a dependent still; who has met all waits no longer."""
    first, second, ended = await links.plant_some(Status.QUEUED, Status.QUEUED, Status.DONE)
    child = await links.child_of(first, second, met=(ended,))
    rest = await links.child_of(first)
    end = End(99, first.seq, met=True)

    def meet(table: Table) -> Any:
        table.meet(first.seq, child.seq)
        return table.children(end, 1), table.waits(child)

    assert await links.ask(meet) == ([(rest.seq, rest.id)], True)
    seen = lambda table: (table.children(end, 9), table.waits(child), table.waits(rest))  # noqa: E731 - what is looked at, twice
    assert await links.ask(seen) == ([(rest.seq, rest.id)], True, True)
    await links.ask(lambda table: table.meet(second.seq, child.seq))
    assert await links.ask(seen) == ([(rest.seq, rest.id)], False, True)
    assert await links.ask(lambda table: [table.dependents(job) for job in (first, second, ended)]) == [2, 1, 1]


async def test_a_batch_sees_its_own_links(links: Links) -> None:
    """What a batch has linked and met it sees at once."""
    first, second = await links.plant_some(Status.QUEUED, Status.DONE)
    old = await links.child_of(first)

    def rule(table: Table) -> Any:
        seq = table.next_seq()
        job = table.add(planted(Status.BLOCKED, seq=seq, place=seq))
        table.link(job, [first], [second])
        end = End(seq, first.seq, met=True)
        found = table.children(end, 9), table.children(end._replace(upto=old.seq), 9), table.waits(job)
        counts = table.dependents(first), table.dependents(second)
        table.meet(first.seq, old.seq)
        table.meet(first.seq, seq)
        return found, counts, table.children(end, 9), table.waits(job), job

    found, counts, left, waits, job = await links.ask(rule)
    assert found == ([(old.seq, old.id), (job.seq, job.id)], [(old.seq, old.id)], True)
    assert (counts, left, waits) == ((2, 1), [], False)
    assert await links.ask(lambda table: (table.waits(job), table.waits(old))) == (False, False)


async def test_the_links_of_a_child_end_with_it(links: Links) -> None:
    """Whoever has ended depends on nobody, in no way, ever again."""
    first, second = await links.plant_some(Status.QUEUED, Status.DONE)
    child = await links.child_of(first, met=(second,))
    after = replace(child, status=Status.CANCELLED, finished_at=EPOCH)
    await links.ask(lambda table: table.put(child, after), child)
    seen = lambda table: (table.children(End(99, 1, met=True), 9), table.dependents(first), table.links())  # noqa: E731 - what is looked at, twice
    assert await links.ask(seen) == ([], 0, False)
    await links.ask(lambda table: table.put(after, replace(after, status=Status.QUEUED)), child)
    assert await links.ask(seen) == ([], 0, False)


async def test_the_removal_of_a_parent_leaves_its_links(links: Links) -> None:
    """A child waits for whoever is gone until it is told: an end is never lost."""
    first, *_ = await links.plant_some(Status.DONE)
    child = await links.child_of(first)
    await links.ask(lambda table: table.remove(first), first)
    end = End(99, first.seq, met=True)
    assert await links.ask(lambda table: (table.children(end, 9), table.waits(child))) == (
        [(child.seq, child.id)],
        True,
    )


# -- ends to be told


async def test_ends_of_a_batch(links: Links) -> None:
    """A batch knows which jobs ended in it, what was the last number then, and whether they are DONE."""
    running, queued = await links.plant_some(Status.RUNNING, Status.QUEUED)

    def rule(table: Table) -> Any:
        table.put(running, replace(running, status=Status.DONE, finished_at=EPOCH))
        table.next_seq()
        cancelled = table.put(queued, replace(queued, status=Status.CANCELLED, finished_at=EPOCH))
        table.put(cancelled, replace(cancelled, due_at=EPOCH))
        return table.ends(), table.ends()

    assert await links.ask(rule, running, queued) == ([End(2, 1, met=True), End(3, 2, met=False)], [])


async def test_ends_wait_to_be_told(links: Links) -> None:
    """They are kept in the order in which they came, make the store due at once, and are gone when they are told."""
    ends = [End(5, 9, met=False), End(5, 10, met=True), End(7, 1, met=True)]

    def keep(table: Table) -> None:
        for end in reversed(ends):
            table.resolve_later(end)

    await links.ask(keep)
    assert await links.ask(lambda table: (table.resolving(9), table.resolving(2), table.links())) == (
        ends, ends[:2], True,
    )  # fmt: skip
    assert await links.store.next_due() == 0

    def tell(table: Table) -> list[End]:
        table.resolved(ends[0])
        return table.resolving(9)

    assert await links.ask(tell) == ends[1:]

    def tell_the_rest(table: Table) -> None:
        for end in table.resolving(9):
            table.resolved(end)

    await links.ask(tell_the_rest)
    assert await links.ask(lambda table: (table.resolving(9), table.links())) == ([], False)
    assert await links.store.next_due() is None


# -- spared jobs


async def test_spared(links: Links) -> None:
    """A spared job is not counted, not surplus, and due last, when its time comes; the store says when."""
    first, second, third = await links.plant_some(Status.DONE, Status.DONE, Status.DONE)
    until = EPOCH + 10
    await links.ask(lambda table: table.spare(first, until), first)
    needs = Needs(most_due=9)

    async def seen(now: int) -> list[int]:
        return [job.seq for job in await links.do(lambda table, _: table.due(now, 9), needs)]

    assert await links.ask(lambda table: table.ended()) == 2
    surplus = await links.do(lambda table, _: [job.seq for job in table.surplus(0, 9)], needs)
    assert surplus == [second.seq, third.seq]
    assert await seen(until - 1) == []
    assert await seen(until) == [first.seq]
    assert await seen(SPARED - 1) == [second.seq, third.seq, first.seq]
    assert await links.store.next_due() == until
    await links.ask(lambda table: table.remove(table.job(first.id)), first)
    assert await links.ask(lambda table: table.ended()) == 2
    assert await links.store.next_due() == second.due_at
