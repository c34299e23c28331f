"""Unique keys: every scope, every status of the holder, every answer; and what becomes of the key afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from jobqueue.errors import Duplicate
from jobqueue.job import Ending, Job, Reason, Status, Unique
from jobqueue.rules.idempotency import Accepted
from tests.helpers import EPOCH, Desk, draft, memory

Scope = Literal["queued", "active", "exists"]
Answer = Literal["reject", "return", "replace"]


def unique(scope: Scope = "active", answer: Answer = "reject", key: str = "k") -> Unique:
    """A unique key."""
    return Unique(key, scope, answer)


# -- a holder in each status that there is, before its first start and after


async def scheduled(desk: Desk, scope: Scope) -> Job:
    return await desk.add(unique=unique(scope), delay=5)


async def blocked(desk: Desk, scope: Scope) -> Job:
    parent = await desk.add(queue="parents")
    return await desk.add(unique=unique(scope), depends_on=(parent.id,))


async def queued(desk: Desk, scope: Scope) -> Job:
    return await desk.add(unique=unique(scope), max_attempts=2)


async def running(desk: Desk, scope: Scope) -> Job:
    await queued(desk, scope)
    return (await desk.claim())[0]


async def between_tries(desk: Desk, scope: Scope) -> Job:
    return await desk.settle(await running(desk, scope), Ending.ERROR)


async def given_back(desk: Desk, scope: Scope) -> Job:
    return await desk.settle(await running(desk, scope), Ending.RELEASED)


async def done(desk: Desk, scope: Scope) -> Job:
    return await desk.settle(await running(desk, scope))


async def failed(desk: Desk, scope: Scope) -> Job:
    return await desk.settle(await running(desk, scope), Ending.ERROR, fatal=True)


async def cancelled(desk: Desk, scope: Scope) -> Job:
    return await desk.cancel(await queued(desk, scope))


async def removed(desk: Desk, scope: Scope) -> Job:
    job = await done(desk, scope)
    await desk.remove(job)
    return job


Holder = Callable[[Desk, Scope], Awaitable[Job]]
WAITING: list[Holder] = [scheduled, blocked, queued]
STARTED: list[Holder] = [between_tries, given_back]
ENDED: list[Holder] = [done, failed, cancelled]
EVERY: list[Holder] = [*WAITING, running, *STARTED, *ENDED, removed]
HELD: dict[Scope, list[Holder]] = {
    "queued": WAITING,
    "active": [*WAITING, running, *STARTED],
    "exists": [*WAITING, running, *STARTED, *ENDED],
}
CASES = [(scope, holder) for scope in HELD for holder in EVERY]


def name(value: Any) -> str:
    """How a case is called."""
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize("answer", ["reject", "return", "replace"])
@pytest.mark.parametrize("scope, holder", CASES, ids=name)
async def test_the_second_of_a_key(scope: Scope, holder: Holder, answer: Answer) -> None:
    """Held: it is refused, or the holder is returned, or replaced if it does not run. Not held: it comes in."""
    desk = memory()
    first = await holder(desk, scope)
    asked = [draft(unique=unique("active", answer))]
    if holder not in HELD[scope]:
        accepted = await desk.submit(asked)
        assert (accepted.jobs[0].id != first.id, accepted.returned) == (True, frozenset())
    elif answer == "return":
        assert await desk.submit(asked) == Accepted((first,), returned=frozenset({0}))
    elif answer == "replace" and holder is not running:
        accepted = await desk.submit(asked)
        before, after = first, await desk.get(first)
        assert accepted.jobs[0].status is Status.QUEUED
        if before.status.ended:
            assert after == before
        else:
            assert (after.status, after.reason, after.finished_at) == (Status.CANCELLED, Reason.REPLACED, EPOCH)
        with pytest.raises(Duplicate) as caught:
            await desk.submit([draft(unique=unique())])
        assert caught.value.extra == {"id": accepted.jobs[0].id}
    else:
        with pytest.raises(Duplicate) as caught:
            await desk.submit(asked)
        assert first.id in caught.value.detail
        assert caught.value.extra == {"id": first.id}
        assert [fault.pointer for fault in caught.value.faults] == ["/0/unique"]


@pytest.mark.parametrize("holder", [given_back, between_tries], ids=name)
async def test_a_queued_key_is_never_retaken(holder: Holder) -> None:
    """`queued` ends with the first start, also for a job that waits again; a second holder keeps the key."""
    desk = memory()
    await holder(desk, "queued")
    second = await desk.add(unique=unique("queued"))
    desk.clock.advance(60)
    await desk.ripen()
    with pytest.raises(Duplicate) as caught:
        await desk.add(unique=unique("queued"))
    assert caught.value.extra == {"id": second.id}


async def test_keys_belong_to_queues() -> None:
    """The same key in another queue, and another key in the same queue, is another matter."""
    desk = memory()
    await desk.add(unique=unique())
    await desk.add(unique=unique(), queue="other")
    await desk.add(unique=unique(key="other"))
    with pytest.raises(Duplicate):
        await desk.add(unique=unique())


async def test_those_without_a_key_are_never_duplicates() -> None:
    """A job without a unique key meets no other."""
    desk = memory()
    await desk.add(unique=unique())
    assert (await desk.add()).status is Status.QUEUED


async def test_what_time_ends_gives_the_key_back() -> None:
    """An expired holder holds `active` no longer; retention takes `exists` from a removed one."""
    desk = memory()
    await desk.add(unique=unique("active"), expires_at=EPOCH + 1_000_000)
    await desk.cancel(await desk.add(unique=unique("exists", key="e")))
    desk.clock.advance(7 * 86_400)
    await desk.ripen()
    await desk.submit([draft(unique=unique("active")), draft(unique=unique("exists", key="e"))])


# -- retry


@pytest.mark.parametrize("scope", ["queued", "active", "exists"])
@pytest.mark.parametrize("holder", [failed, cancelled], ids=name)
async def test_a_retry_is_refused_while_another_holds_the_key(scope: Scope, holder: Holder) -> None:
    """Explicit retry of an ended job: 409 if its unique key is held by another."""
    desk = memory()
    first = await holder(desk, scope)
    second = await desk.add(unique=unique("active", "replace"))
    with pytest.raises(Duplicate) as caught:
        await desk.retry(first)
    assert caught.value.extra == {"id": second.id}
    assert (await desk.get(first)).status.ended
    await desk.cancel(second)
    assert (await desk.retry(first)).status is Status.QUEUED


@pytest.mark.parametrize(
    "scope, holder, holds",
    [
        ("queued", cancelled, True),
        ("queued", failed, False),  # it has started once: never retaken
        ("active", failed, True),
        ("exists", failed, True),
    ],
    ids=name,
)
async def test_a_retried_job_takes_its_key_again(scope: Scope, holder: Holder, *, holds: bool) -> None:
    """While it may hold its key, nobody else gets it; also where it had lost it to one that is gone."""
    desk = memory()
    first = await holder(desk, scope)
    second = await desk.add(unique=unique("active", "replace"))
    await desk.cancel(second)
    await desk.retry(first)
    if holds:
        with pytest.raises(Duplicate):
            await desk.add(unique=unique())
    else:
        await desk.add(unique=unique())


async def test_one_that_lost_its_key_does_not_give_it_away() -> None:
    """The end and the removal of a replaced holder leave the key with who has it now."""
    desk = memory()
    first = await done(desk, "exists")
    second = await desk.add(unique=unique("exists", "replace"))
    await desk.remove(first)
    with pytest.raises(Duplicate) as caught:
        await desk.add(unique=unique())
    assert caught.value.extra == {"id": second.id}
