"""A worker and its process: the one place here where real processes run, so in real time; `tests/e2e` has the rest."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.crew import Crew
from jobqueue.job import Ending, Job, Status
from tests.actors.engine import Engine, Outside
from tests.actors.kit import add
from tests.e2e.sample_handlers import handlers
from tests.helpers import draft

REGISTRY = "tests.e2e.sample_handlers:handlers"
SHORT_SECONDS = 10.0  # a bound for what takes milliseconds


@pytest.fixture
async def crew(
    state: State,
    reads: Reads,
    dispatch: Dispatch,
    outside: Outside,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Crew]:
    monkeypatch.chdir(Path(__file__).parents[2])  # where the child finds the registry
    crew = Crew(1, ("default",), dispatch, state, reads, handlers, (REGISTRY,), outside.world())
    nursery.start_soon(crew.run)
    yield crew
    await dispatch.close()
    with trio.move_on_after(SHORT_SECONDS):
        await crew.left.wait()


async def ended(engine: Engine, state: State, job: Job) -> Job:
    """The job when it has ended."""
    with trio.fail_after(SHORT_SECONDS), await state.watch(job.id) as pending:
        if not engine.tables.jobs[job.id].status.ended:
            await pending.get()
    return engine.tables.jobs[job.id]


async def pid_of(engine: Engine, job: Job) -> int:
    """The process of a handler that wrote its id into the log of its job."""
    with trio.fail_after(SHORT_SECONDS):
        while not (lines := engine.tables.lines.get(job.seq)):  # noqa: ASYNC110 - a log has no event
            await trio.sleep(0.001)
    return int(lines[0].line.message)


async def test_a_process_handler_runs_and_reports(engine: Engine, state: State, crew: Crew) -> None:
    """Result, progress and log of a handler in a process arrive like those of any other."""
    job = await add(state, "report", payload="3")
    done = await ended(engine, state, job)
    assert (done.status, done.result) == (Status.DONE, '"reported"')
    assert [line.line.message for line in engine.tables.lines[job.seq]] == ["line 0", "line 1", "line 2"]
    assert engine.tables.progress[job.seq].percent == 2


async def test_a_cancel_kills_the_process(engine: Engine, state: State, crew: Crew) -> None:
    """Promise 9: the work is ended by killing it; only then the job is CANCELLED, and the slot goes on."""
    job = await add(state, "wait")
    pid = await pid_of(engine, job)
    await state.cancel(job.id)
    assert (await ended(engine, state, job)).status is Status.CANCELLED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await ended(engine, state, await add(state, "echo", payload='"next"'))).result == '"next"'


async def test_a_process_that_dies_costs_its_attempt(engine: Engine, state: State, crew: Crew) -> None:
    """The attempt failed, the worker and what follows did not."""
    died, fine = (await state.submit([draft("exit", payload="3", max_attempts=1), draft("echo")])).jobs
    job = await ended(engine, state, died)
    assert (job.status, job.error and job.error.type) == (Status.FAILED, "ChildDied")
    assert (await ended(engine, state, fine)).status is Status.DONE
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.ERROR]
