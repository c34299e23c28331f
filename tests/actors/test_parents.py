"""What a worker tells a handler of its parents, and what it does when they cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio

from jobqueue.actors.state_handle import State
from jobqueue.errors import StoreUnavailable
from jobqueue.handlers import Context
from jobqueue.job import Ending, Job, Reason, Status
from jobqueue.stores import contract
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Hire, add, claim, ended, settle, settled


class Unreadable(Engine):
    """The engine, which cannot read some jobs."""

    lost: frozenset[str] = frozenset()

    async def get(self, ids: Sequence[str], *, whole: bool = True) -> Sequence[Job | contract.Removed | None]:
        """As the memory engine."""
        self.calls += 1
        if self.lost & set(ids):
            raise StoreUnavailable("the disk is away")
        return await super().get(ids, whole=whole)


@pytest.fixture
def engine(outside: Outside) -> Unreadable:
    return Unreadable(outside.now)


async def seeing(hire: Hire) -> list[Mapping[str, Any]]:
    """Put a worker to work whose handler notes its parents."""
    seen: list[Mapping[str, Any]] = []

    async def look(ctx: Context, _payload: Any) -> None:
        seen.append(ctx.parents)

    hire(look)
    return seen


async def parent(state: State, ending: Ending = Ending.DONE, **fields: Any) -> Job:
    """A job that has ended."""
    await add(state, queue="parents")
    (job,) = await claim(state, queue="parents")
    await settle(state, job, ending=ending, **fields)
    return job


async def test_results_of_parents(state: State, hire: Hire) -> None:
    """Each parent by its id, with its status and its result as a value."""
    one, two = await parent(state, result='{"n":[1,2]}'), await parent(state, Ending.ERROR, fatal=True)
    child = await add(state, depends_on=(one.id, two.id), on_dependency_failure="run")
    seen = await seeing(hire)
    assert (await ended(state, child)).status is Status.DONE
    assert seen == [{one.id: {"status": "DONE", "result": {"n": [1, 2]}}, two.id: {"status": "FAILED", "result": None}}]


async def test_a_job_without_parents_reads_nothing(state: State, engine: Unreadable, hire: Hire) -> None:
    """It costs no read where nobody depends on anybody."""
    seen = await seeing(hire)
    await settled()
    before = engine.calls
    job = await add(state)
    await ended(state, job)
    await settled()
    assert seen == [{}]
    assert engine.calls == before + len(engine.batches)


async def test_a_store_that_does_not_answer(state: State, engine: Unreadable, hire: Hire) -> None:
    """The job waits for the store with its handler not begun, and loses no try by it; its timeout bounds that."""
    one = await parent(state)
    engine.lost = frozenset({one.id})
    patient = await add(state, depends_on=(one.id,))
    seen = await seeing(hire)
    await trio.sleep(100)
    assert (engine.tables.jobs[patient.id].status, seen) == (Status.RUNNING, [])
    engine.lost = frozenset()
    found = await ended(state, patient)
    assert (found.status, found.attempt) == (Status.DONE, 1)
    assert list(seen[0]) == [one.id]
    engine.lost = frozenset({one.id})
    hasty = await add(state, depends_on=(one.id,), max_attempts=1, timeout=10)
    assert (await ended(state, hasty)).reason is Reason.TIMEOUT
