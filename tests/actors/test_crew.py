"""The crew: a worker that fails is begun again, its job is not lost, and too many failures end the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.reader import Reads
from jobqueue.actors.state_handle import State
from jobqueue.crew import FAILURES_MOST, FAILURES_SECONDS, Crew
from jobqueue.handlers import Context, Handlers
from jobqueue.job import Ending, Status
from tests.actors.engine import Engine, Outside
from tests.actors.kit import Call, Faulty, add, settled
from tests.helpers import draft

Hire = Callable[[int, Handlers], Crew]


@pytest.fixture
def handlers() -> Handlers:
    handlers = Faulty()

    @handlers.register("noop")
    async def noop(_ctx: Context, _payload: object) -> None:
        return

    @handlers.register("wait")
    async def wait(_ctx: Context, _payload: object) -> None:
        await trio.sleep(30)

    return handlers


@pytest.fixture
async def hire(state: State, reads: Reads, dispatch: Dispatch, outside: Outside) -> Hire:
    def hire(size: int, handlers: Handlers) -> Crew:
        return Crew(size, ("default",), dispatch, state, reads, handlers, (), outside.world())

    return hire


async def test_a_worker_that_fails_is_begun_again(
    engine: Engine, state: State, hire: Hire, handlers: Handlers, nursery: trio.Nursery
) -> None:
    """Its job is not lost: the attempt ends with an error, and the same worker takes what comes next."""
    nursery.start_soon(hire(1, handlers).run)
    await state.submit([draft("bug", max_attempts=1), draft()])
    await settled()
    assert engine.statuses() == [Status.FAILED, Status.DONE]
    failed, done = engine.tables.jobs.values()
    assert failed.error is not None
    assert failed.error.type == "WorkerCrashed"
    assert failed.worker == done.worker == "local-1"
    assert [record.ending for record in await engine.attempts(failed.seq)] == [Ending.ERROR]


async def test_a_worker_that_fails_disturbs_no_other(
    engine: Engine, state: State, hire: Hire, handlers: Handlers, nursery: trio.Nursery
) -> None:
    """What runs beside it runs on."""
    nursery.start_soon(hire(2, handlers).run)
    await add(state, "wait")
    await settled()
    await add(state, "bug", max_attempts=1)
    await trio.sleep(31)
    assert engine.statuses() == [Status.DONE, Status.FAILED]


async def test_workers_that_fail_too_often_end_the_crew(
    state: State, hire: Hire, handlers: Handlers, nursery: trio.Nursery
) -> None:
    """Five failures within a minute, are no accident: the crew raises, so that the process ends."""
    run = Call(nursery, hire(3, handlers).run)
    await state.submit([draft("bug", max_attempts=1) for _ in range(FAILURES_MOST - 1)])
    await settled()
    assert not run.over
    await add(state, "bug", max_attempts=1)
    with pytest.raises(ExceptionGroup) as raised:
        await run.wait()
    assert raised.group_contains(ZeroDivisionError)


async def test_workers_that_fail_now_and_then_go_on(
    engine: Engine, state: State, hire: Hire, handlers: Handlers, nursery: trio.Nursery
) -> None:
    """Failures that are spread out never add up."""
    run = Call(nursery, hire(1, handlers).run)
    for _ in range(4 * FAILURES_MOST):
        await add(state, "bug", max_attempts=1)
        await trio.sleep(FAILURES_SECONDS / (FAILURES_MOST - 1) + 1)
    assert not run.over
    assert engine.statuses() == [Status.FAILED] * (4 * FAILURES_MOST)


async def test_a_crew_has_left_when_all_its_work_has_ended(
    state: State, dispatch: Dispatch, hire: Hire, handlers: Handlers, nursery: trio.Nursery
) -> None:
    """After the dispatcher closed, `left` is set with the last result, no sooner."""
    crew = hire(3, handlers)
    nursery.start_soon(crew.run)
    await add(state, "wait")
    await settled()
    await dispatch.close()
    await settled()
    assert not crew.left.is_set()
    await crew.left.wait()
    assert trio.current_time() == pytest.approx(30)


async def test_a_crew_of_none_has_left_at_once(hire: Hire, handlers: Handlers, nursery: trio.Nursery) -> None:
    """A server without local workers has nobody to wait for."""
    crew = hire(0, handlers)
    nursery.start_soon(crew.run)
    await crew.left.wait()
