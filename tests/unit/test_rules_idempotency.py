"""The same key, the same jobs."""

from __future__ import annotations

import pytest

from jobqueue.errors import KeyReuse, QueueFull, Removed
from jobqueue.job import Status
from jobqueue.rules import idempotency
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import Limits
from jobqueue.stores.contract import Filter, Needs
from tests.helpers import DAY, Desk, draft, memory

KEY = IdempotencyKey("key1 POST /jobs", "a", b"digest")


async def total(desk: Desk) -> int:
    """How many jobs there are."""
    return len((await desk.store.page(Filter(), None, 99)).jobs)


async def test_same_key_same_body() -> None:
    """A repeated submission gets the jobs of the first, in order, and makes none."""
    desk = memory()
    first = await desk.submit([draft("a"), draft("b")], KEY)
    again = await desk.submit([draft("a"), draft("b")], KEY)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.jobs == first.jobs
    assert await total(desk) == 2


async def test_a_replay_shows_the_jobs_as_they_are() -> None:
    """The jobs of a replay are as they are now."""
    desk = memory()
    await desk.submit([draft()], KEY)
    await desk.claim()
    assert (await desk.submit([draft()], KEY)).jobs[0].status is Status.RUNNING


async def test_other_body() -> None:
    """The same key with another body is KeyReuse and makes nothing."""
    desk = memory()
    await desk.submit([draft()], KEY)
    with pytest.raises(KeyReuse):
        await desk.submit([draft()], IdempotencyKey(KEY.scope, KEY.key, b"other"))
    assert await total(desk) == 1


async def test_keys_have_scopes() -> None:
    """The same key of another API key or route stands for something else."""
    desk = memory()
    await desk.submit([draft()], KEY)
    other = await desk.submit([draft()], IdempotencyKey("key2 POST /jobs", KEY.key, KEY.digest))
    assert not other.replayed


async def test_kept_for_a_day() -> None:
    """A key is known for 24 h, then it is new again; time forgets it as well."""
    desk = memory()
    await desk.submit([draft()], KEY)
    desk.clock.advance(DAY - 1)
    assert (await desk.submit([draft()], KEY)).replayed
    desk.clock.advance(1)
    assert not (await desk.submit([draft()], KEY)).replayed
    desk.clock.advance(DAY)
    await desk.ripen()
    assert await desk.store.next_due() is None


async def test_removed_job() -> None:
    """A replay whose job was removed says so."""
    desk = memory()
    (job,) = (await desk.submit([draft()], KEY)).jobs
    await desk.cancel(job)
    await desk.remove(job)
    with pytest.raises(Removed):
        await desk.submit([draft()], KEY)


async def test_failures_are_not_kept() -> None:
    """A refused submission does not bind its key."""
    desk = memory()
    desk.limits = Limits(max_queued=0)
    with pytest.raises(QueueFull):
        await desk.submit([draft()], KEY)
    desk.limits = Limits()
    assert not (await desk.submit([draft()], KEY)).replayed


async def test_twice_in_one_batch() -> None:
    """Two requests with the same key in one batch make the jobs once."""
    desk = memory()
    first, second = await desk.do(
        lambda table, times: [idempotency.accept(table, [draft()], KEY, times) for _ in range(2)],
        Needs(keys={(KEY.scope, KEY.key)}),
    )
    assert (second.jobs, second.replayed) == (first.jobs, True)
    assert await total(desk) == 1
