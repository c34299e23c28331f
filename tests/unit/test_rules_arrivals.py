"""Submissions whose unique keys or dependencies matter: many at once, and together with an idempotency key."""

from __future__ import annotations

from typing import Literal

import pytest

from jobqueue.errors import Duplicate, Invalid, QueueFull
from jobqueue.job import Ending, Reason, Status, Unique
from jobqueue.rules import idempotency, lifecycle
from jobqueue.rules.idempotency import Accepted, IdempotencyKey
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from tests.helpers import draft, memory

KEY = IdempotencyKey("key1 POST /jobs", "a", b"digest")


def unique(
    scope: Literal["queued", "active", "exists"] = "active",
    answer: Literal["reject", "return", "replace"] = "reject",
    key: str = "k",
) -> Unique:
    """A unique key."""
    return Unique(key, scope, answer)


# -- arrays


async def test_two_of_an_array_are_duplicates_of_each_other() -> None:
    """One refused item refuses all, with a pointer to it."""
    desk = memory()
    with pytest.raises(Duplicate) as caught:
        await desk.submit([draft(), draft(unique=unique()), draft(), draft(unique=unique())])
    assert [fault.pointer for fault in caught.value.faults] == ["/3/unique"]
    assert await desk.store.counts() == {}


async def test_the_holder_stands_in_its_place() -> None:
    """In an array the holder, of before or of the same array, stands in the place of the second."""
    desk = memory()
    first = await desk.add(unique=unique())
    asked = [draft(unique=unique("active", "return", key)) for key in ("k", "new", "new")]
    accepted = await desk.submit(asked)
    ids = [job.id for job in accepted.jobs]
    assert ids == [first.id, ids[1], ids[1]]
    assert ids[1] != first.id
    assert accepted.returned == {0, 2}


async def test_replaced_by_the_same_array() -> None:
    """A later item replaces an earlier one, which is accepted and CANCELLED in the same commit."""
    desk = memory()
    first = await desk.add(unique=unique())
    accepted = await desk.submit([draft(unique=unique("active", "replace"))] * 3)
    jobs = [await desk.get(job) for job in (first, *accepted.jobs)]
    assert [job.reason for job in jobs] == [Reason.REPLACED] * 3 + [None]
    assert [job.seq for job in jobs] == [1, 2, 3, 4]
    assert [job.id for job in await desk.claim(9)] == [jobs[3].id]


async def test_a_refused_array_replaces_nobody() -> None:
    """What is refused leaves everything as it was."""
    desk = memory()
    first = await desk.add(unique=unique())
    await desk.add(unique=unique(key="held"))
    with pytest.raises(Duplicate):
        await desk.submit([draft(unique=unique("active", "replace")), draft(unique=unique(key="held"))])
    assert await desk.get(first) == first


async def test_a_full_queue_takes_what_takes_no_room() -> None:
    """In a full queue a waiting job may be replaced and a holder returned, but none is added."""
    desk = memory()
    await desk.submit([draft(unique=unique()), draft(unique=unique(key="b"))])
    desk.limits = Limits(max_queued=2)
    await desk.submit([draft(unique=unique("active", "replace")), draft(unique=unique("active", "return", "b"))])
    with pytest.raises(QueueFull):
        await desk.submit([draft(unique=unique(key="c"))])


# -- one batch


async def test_one_batch_is_as_good_as_many() -> None:
    """Of two requests in one batch the second sees the first."""
    desk = memory()
    asked = [draft(unique=unique("active", "return"))]
    first, second = await desk.do(
        lambda table, times: [idempotency.accept(table, asked, None, times) for _ in range(2)],
        Needs(uniques={("default", "k")}),
    )
    assert second == Accepted(first.jobs, returned=frozenset({0}))


async def test_given_back_and_taken_in_one_batch() -> None:
    """A key that is released and taken in one batch is held by the last to take it."""
    desk = memory()
    await desk.add(unique=unique())
    (first,) = await desk.claim()
    await desk.settle(first, Ending.ERROR, fatal=True)
    await desk.retry(first)
    await desk.do(
        lambda table, times: idempotency.accept(table, [draft(unique=unique("active", "replace"))] * 2, None, times),
        Needs(uniques={("default", "k")}),
    )
    (last,) = await desk.claim(9)
    assert await desk.do(lambda table, _: table.holder("default", "k"), Needs(jobs={last.id})) == last.id


async def test_a_replaced_holder_never_gets_its_key_back() -> None:
    """Also where the one that replaced it ends in the same batch."""
    desk = memory()
    await desk.cancel(await desk.add(unique=unique("exists")))

    def rule(table: Table, times: Times) -> None:
        accepted = idempotency.accept(table, [draft(unique=unique("active", "replace"))], None, times)
        lifecycle.cancel(table, accepted.jobs[0].id, times)

    await desk.do(rule, Needs(uniques={("default", "k")}))
    assert (await desk.add(unique=unique())).status is Status.QUEUED


# -- with an idempotency key


async def test_both_keys() -> None:
    """The idempotency key is looked at first: a replay gives the job that it made, whoever holds the unique key."""
    desk = memory()
    made = await desk.submit([draft(unique=unique())], KEY)
    assert await desk.submit([draft(unique=unique())], KEY) == Accepted(made.jobs, replayed=True)


async def test_a_replay_of_a_returned_holder() -> None:
    """It gives the holder that was returned, and says so, even after another has taken the unique key."""
    desk = memory()
    first = await desk.add(unique=unique())
    asked = [draft(unique=unique("active", "return"))]
    assert (await desk.submit(asked, KEY)).returned == {0}
    await desk.cancel(first)
    await desk.add(unique=unique())
    again = await desk.submit(asked, KEY)
    assert (again.jobs[0].id, again.replayed, again.returned) == (first.id, True, frozenset({0}))


async def test_a_duplicate_binds_no_key() -> None:
    """Failures are not kept."""
    desk = memory()
    first = await desk.add(unique=unique())
    with pytest.raises(Duplicate):
        await desk.submit([draft(unique=unique())], KEY)
    await desk.cancel(first)
    assert not (await desk.submit([draft(unique=unique())], KEY)).replayed


# -- both together


async def test_a_draft_that_stands_back_depends_on_nobody() -> None:
    """Where the holder stands in its place, the holder is what later items depend on."""
    desk = memory()
    holder = await desk.add(unique=unique())
    asked = [draft(unique=unique("active", "return")), draft(depends_on=("#0",))]
    accepted = await desk.submit(asked)
    assert accepted.jobs[1].options.depends_on == (holder.id,)
    assert accepted.jobs[1].status is Status.BLOCKED


async def test_who_waits_for_a_replaced_job_is_cancelled() -> None:
    """A replaced parent is CANCELLED, so its children are too: those of before and those of the same array."""
    desk = memory()
    parent = await desk.add(unique=unique())
    child = await desk.add(depends_on=(parent.id,))
    accepted = await desk.submit([draft(depends_on=(parent.id,)), draft(unique=unique("active", "replace"))])
    assert [(await desk.get(job)).reason for job in (child, accepted.jobs[0])] == [Reason.DEPENDENCY] * 2
    assert (await desk.get(accepted.jobs[1])).status is Status.QUEUED


async def test_one_that_replaces_its_own_parent() -> None:
    """Whoever waits for the job that it replaces ends with it, and lets the key go."""
    desk = memory()
    parent = await desk.add(unique=unique())
    job = await desk.add(unique=unique("active", "replace"), depends_on=(parent.id,))
    assert [(await desk.get(one)).reason for one in (parent, job)] == [Reason.REPLACED, Reason.DEPENDENCY]
    assert (await desk.add(unique=unique())).status is Status.QUEUED


async def test_one_that_is_cancelled_at_once_replaces_nobody() -> None:
    """A job whose parent has failed already never holds `active`, and leaves the holder alone."""
    desk = memory()
    failed = await desk.cancel(await desk.add())
    holder = await desk.add(unique=unique())
    job = await desk.add(unique=unique("active", "replace"), depends_on=(failed.id,))
    assert (job.status, (await desk.get(holder)).status) == (Status.CANCELLED, Status.QUEUED)
    with pytest.raises(Duplicate):
        await desk.add(unique=unique())


async def test_a_fault_in_one_item_takes_all_back() -> None:
    """An unknown parent refuses the array, with whatever its other items would have replaced."""
    desk = memory()
    holder = await desk.add(unique=unique())
    with pytest.raises(Invalid):
        await desk.submit([draft(unique=unique("active", "replace")), draft(depends_on=("#1",))])
    assert await desk.get(holder) == holder
    assert (await desk.add()).seq == holder.seq + 1
