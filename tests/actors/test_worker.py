"""A worker: what it makes of whatever its handler returns, raises and reports."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.clock import SECOND
from jobqueue.errors import StoreUnavailable
from jobqueue.handlers import Context, Fatal, RetryIn
from jobqueue.job import Ending, Options, Reason, Status
from jobqueue.rules.changes import Changes
from tests.actors.engine import Engine
from tests.actors.kit import Handler, Hire, add, ended, noop, settled
from tests.helpers import EPOCH, draft

DONE, FAILED, CANCELLED, QUEUED, SCHEDULED = (
    Status.DONE,
    Status.FAILED,
    Status.CANCELLED,
    Status.QUEUED,
    Status.SCHEDULED,
)


def returning(value: Any) -> Handler:
    async def handler(_ctx: Context, _payload: Any) -> Any:
        return value

    return handler


def throwing(error: BaseException) -> Handler:
    async def handler(_ctx: Context, _payload: Any) -> Any:
        raise error

    return handler


# -- how an attempt ends by itself


@pytest.mark.parametrize(
    "value, result", [(None, "null"), ({"a": [1, "é"]}, '{"a":[1,"é"]}'), ("", '""'), (0, "0")], ids=repr
)
async def test_what_a_handler_returns_is_the_result(
    engine: Engine, state: State, hire: Hire, value: Any, result: str
) -> None:
    """The job is DONE with the value as compact JSON."""
    hire(returning(value))
    await add(state)
    await settled()
    assert (engine.only().status, engine.only().result) == (DONE, result)


@pytest.mark.parametrize("value", [{1, 2}, math.nan, "\ud800", object(), "x" * (2 << 20)], ids=range(5))
async def test_a_result_that_is_no_json_fails_the_job(engine: Engine, state: State, hire: Hire, value: Any) -> None:
    """No further try would return anything else: FAILED now, and the error says what is wrong."""
    hire(returning(value))
    await add(state)
    await settled()
    job = engine.only()
    assert (job.status, job.reason) == (FAILED, Reason.FATAL)
    assert job.error is not None
    assert job.error.message.startswith("the result ")


@pytest.mark.parametrize(
    "error, told",
    [
        (ValueError("no good"), "ValueError"),
        (SystemExit(3), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup"),
        (ExceptionGroup("one", [ValueError("a")]), "ValueError"),
        (BaseExceptionGroup("base", [SystemExit(), ValueError()]), "BaseExceptionGroup"),
    ],
    ids=repr,
)
async def test_whatever_a_handler_raises_is_a_failed_try(
    engine: Engine, state: State, hire: Hire, error: BaseException, told: str
) -> None:
    """Promise 6: it is noted, the job is tried again, and the worker goes on with the next one."""
    hire(throwing(error), fine=noop)
    job = await add(state)
    await settled()
    job = engine.tables.jobs[job.id]
    assert (job.status, job.attempt, job.error and job.error.type) == (SCHEDULED, 1, told)
    await add(state, "fine")
    await settled()
    assert engine.statuses()[1] is DONE


async def test_the_last_try_fails_the_job(engine: Engine, state: State, hire: Hire) -> None:
    """At max_attempts the job is FAILED, with every try in its history."""
    hire(throwing(ValueError("no good")))
    job = await ended(state, await add(state, max_attempts=3))
    assert (job.status, job.reason, job.attempt) == (FAILED, Reason.ERROR, 3)
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.ERROR] * 3


async def test_a_handler_may_say_when_to_try_again(engine: Engine, state: State, hire: Hire) -> None:
    """RetryIn overrides the policy of the job."""
    hire(throwing(RetryIn(90)))
    await add(state)
    await settled()
    assert engine.only().next_attempt_at == EPOCH + 90 * SECOND


async def test_a_handler_may_forbid_a_further_try(engine: Engine, state: State, hire: Hire) -> None:
    """Fatal fails the job at its first try, from within a group too."""
    hire(throwing(ExceptionGroup("two", [ValueError(), Fatal("hopeless")])))
    await add(state)
    await settled()
    assert (engine.only().status, engine.only().reason, engine.only().attempt) == (FAILED, Reason.FATAL, 1)


async def test_an_unknown_kind_fails_and_says_what_is_known(engine: Engine, state: State, hire: Hire) -> None:
    """A job that no handler is registered for is FAILED, and the worker goes on."""
    hire(noop)
    await state.submit([draft("mail.send"), draft()])
    await settled()
    assert engine.statuses() == [FAILED, DONE]
    job = next(iter(engine.tables.jobs.values()))
    assert job.reason is Reason.UNKNOWN_KIND
    assert job.error is not None
    assert "mail.send" in job.error.message
    assert "known kinds: noop" in job.error.message


async def test_a_payload_that_cannot_be_read_fails(engine: Engine, state: State, hire: Hire) -> None:
    """A row that holds no JSON is FAILED as undecodable; no handler sees it."""
    hire(noop)
    await add(state, payload="{broken")
    await settled()
    assert (engine.only().status, engine.only().reason) == (FAILED, Reason.UNDECODABLE)


async def test_a_handler_is_told_which_attempt_it_is(engine: Engine, state: State, hire: Hire) -> None:
    """Id, try, epoch as fencing token, deadline in Unix time, queue and trace come with the payload."""
    seen: list[Any] = []

    async def look(ctx: Context, payload: Any) -> None:
        seen.append((ctx.id, ctx.attempt, ctx.epoch, ctx.deadline, ctx.queue, ctx.trace_parent, payload))

    await trio.sleep(7)
    hire(look)
    job = await add(state, payload='{"a":1}', timeout=30, trace_parent="00-aa-bb-01")
    await settled()
    assert seen == [(job.id, 1, 1, EPOCH / SECOND + 37, "default", "00-aa-bb-01", {"a": 1})]


# -- reports


async def test_reports_are_kept(engine: Engine, state: State, hire: Hire) -> None:
    """Progress and log lines are stored before the call that made them returns."""

    async def handler(ctx: Context, _payload: Any) -> int:
        await ctx.progress(40, "almost", {"n": 1})
        await ctx.log("a line", "warning")
        return len(engine.tables.lines)

    hire(handler)
    await add(state)
    await settled()
    job = engine.only()
    assert (job.status, job.result) == (DONE, "1")
    assert engine.tables.progress[job.seq].percent == 40
    assert [line.line.level for line in await engine.lines(job.seq)] == ["warning"]


async def test_a_report_that_cannot_be_kept_costs_the_work_nothing(engine: Engine, state: State, hire: Hire) -> None:
    """Reports are worth less than the work: where the store refuses them they are dropped, and the handler goes on."""

    def fault(changes: Changes) -> None:
        if changes.lines or changes.progress:
            raise StoreUnavailable("busy")

    async def handler(ctx: Context, _payload: Any) -> str:
        await ctx.progress(40)
        await ctx.log("a line")
        return "went on"

    engine.fault = fault
    hire(handler)
    await add(state)
    await settled()
    assert (engine.only().status, engine.only().result) == (DONE, '"went on"')


async def test_a_report_of_an_attempt_that_was_taken_back_is_dropped(
    engine: Engine, state: State, dispatch: Dispatch, hire: Hire
) -> None:
    """Work that goes on after its job was given back writes nothing into that job, and does not fail for it."""
    wrote = trio.Event()

    async def handler(ctx: Context, _payload: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            await ctx.log("too late")
            wrote.set()

    hire(handler)
    await add(state)
    await settled()
    await dispatch.close()
    await state.stop_all(give_back=True)
    await trio.sleep(6)
    assert wrote.is_set()
    assert not engine.tables.lines
    assert (engine.only().status, engine.only().options) == (QUEUED, Options())
