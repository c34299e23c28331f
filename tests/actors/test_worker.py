"""A worker: what it makes of whatever its handler does, and of the orders that end an attempt."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from jobqueue.actors.commands import CANCEL, Order
from jobqueue.actors.dispatcher import Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.actors.worker import Worker
from jobqueue.clock import SECOND
from jobqueue.errors import StoreUnavailable
from jobqueue.handlers import Context, Fatal, Handlers, RetryIn
from jobqueue.job import Ending, Job, Json, Options, Reason, Status
from jobqueue.rules.changes import Changes
from tests.actors.kit import Call, Engine, Outside, add, schedule, settled
from tests.helpers import EPOCH, draft

Handler = Callable[[Context, Any], Awaitable[Any]]
Hire = Callable[..., Worker]
DONE, FAILED, CANCELLED, QUEUED, SCHEDULED = (
    Status.DONE,
    Status.FAILED,
    Status.CANCELLED,
    Status.QUEUED,
    Status.SCHEDULED,
)


class NoProcesses:
    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        raise NotImplementedError


@pytest.fixture
async def hire(state: State, dispatch: Dispatch, outside: Outside, nursery: trio.Nursery) -> Hire:
    """Put a worker to work that knows one handler, of the kind `noop`."""

    def hire(handler: Handler, **more: Handler) -> Worker:
        handlers = Handlers()
        for kind, function in {"noop": handler, **more}.items():
            handlers.register(kind)(function)
        worker = Worker("local-1", ("default",), dispatch, state, handlers, NoProcesses(), outside.world())
        nursery.start_soon(worker.run)
        return worker

    return hire


async def ended(state: State, job: Job) -> Job:
    """The job when it has ended."""
    with await state.watch(job.id) as pending:
        after = await pending.get()
    assert after is not None
    return after


async def nothing(_ctx: Context, _payload: Any) -> None:
    return


async def for_ever(_ctx: Context, _payload: Any) -> None:
    await trio.sleep_forever()


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
    hire(throwing(error), fine=nothing)
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
    hire(nothing)
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
    hire(nothing)
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


# -- how it is ended


async def test_a_timeout_ends_the_work(engine: Engine, state: State, hire: Hire) -> None:
    """At its timeout the handler is cancelled; the try is spent, and the error says how long it was given."""
    hire(for_ever)
    job = await ended(state, await add(state, timeout=2.5, max_attempts=1))
    assert trio.current_time() == pytest.approx(2.5)
    assert (job.status, job.reason) == (FAILED, Reason.TIMEOUT)
    assert job.error is not None
    assert job.error.message == "the attempt took longer than 2.5 s"
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.TIMEOUT]


async def test_a_cancel_ends_the_work_at_its_next_checkpoint(engine: Engine, state: State, hire: Hire) -> None:
    """Promise 9: a running async handler is cancelled, its cleanup runs, and then the job is CANCELLED."""
    cleaned = trio.Event()

    async def handler(_ctx: Context, _payload: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.set()

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await settled()
    assert cleaned.is_set()
    assert (engine.only().status, engine.only().reason) == (CANCELLED, Reason.CANCELLED)


async def test_a_handler_that_makes_an_error_of_its_cancel_is_cancelled(
    engine: Engine, state: State, hire: Hire
) -> None:
    """Whatever exception the handler makes of it, work that an order ended is ended by that order."""

    async def handler(_ctx: Context, _payload: Any) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("interrupted") from None

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await settled()
    assert (engine.only().status, engine.only().error) == (CANCELLED, None)


async def test_success_wins_over_a_cancel_that_it_did_not_heed(engine: Engine, state: State, hire: Hire) -> None:
    """A handler that finishes although it was told to end has finished: DONE, with its result."""

    async def handler(_ctx: Context, _payload: Any) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return "saved"

    hire(handler)
    job = await add(state)
    await settled()
    await state.cancel(job.id)
    await trio.sleep(6)
    assert (engine.only().status, engine.only().result) == (DONE, '"saved"')


async def test_a_slot_is_free_when_the_work_has_ended(engine: Engine, state: State, hire: Hire) -> None:
    """A handler that shields itself keeps its slot until it really ends, and shows as stuck meanwhile."""

    async def handler(_ctx: Context, _payload: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        await trio.lowlevel.checkpoint()

    hire(handler, fine=nothing)
    job = await add(state)
    await add(state, "fine")
    await settled()
    await state.cancel(job.id)
    await trio.sleep(50)
    assert engine.statuses() == [Status.RUNNING, QUEUED]
    assert (await state.vitals()).stuck == 1
    await trio.sleep(11)
    assert engine.statuses() == [CANCELLED, DONE]


async def test_a_drain_releases_unspent(engine: Engine, state: State, dispatch: Dispatch, hire: Hire) -> None:
    """Work that a drain ends goes back to its place, and the try does not count."""
    hire(for_ever)
    await add(state)
    await settled()
    await dispatch.close()
    await state.stop_all()
    await settled()
    job = engine.only()
    assert (job.status, job.attempt, job.place, job.error) == (QUEUED, 0, 1, None)
    assert [record.ending for record in await engine.attempts(job.seq)] == [Ending.RELEASED]


async def test_an_order_for_an_attempt_that_is_over_is_ignored(engine: Engine, state: State, hire: Hire) -> None:
    """The order carries its epoch: a stale one ends neither the present attempt nor its worker."""
    may_end = trio.Event()

    async def handler(_ctx: Context, _payload: Any) -> None:
        await may_end.wait()

    worker = hire(handler)
    await add(state)
    await settled()
    job = engine.only()
    worker._orders.give(Order(job.id, job.epoch - 1, CANCEL))
    worker._orders.give(Order("another", job.epoch, CANCEL))
    await settled()
    may_end.set()
    await settled()
    assert engine.only().status is DONE


@pytest.mark.parametrize("seed", range(20))
async def test_an_order_right_behind_the_claim_is_obeyed(
    engine: Engine, state: State, hire: Hire, nursery: trio.Nursery, seed: int
) -> None:
    """A cancel that is committed while the job is still on its way to the worker ends it all the same."""
    job = await add(state)
    engine.hops = lambda: 0
    engine.door = trio.Event()
    hire(for_ever)
    await settled()  # the claim is at the door
    Call(nursery, lambda: state.cancel(job.id))
    await settled()
    schedule(seed)
    engine.door.set()
    await trio.sleep(1)
    assert engine.only().status is CANCELLED


async def test_an_attempt_after_an_order_runs_free(engine: Engine, state: State, hire: Hire) -> None:
    """The order that ended one attempt has no part in the next one of the same worker."""
    hire(for_ever, fine=nothing)
    first = await add(state)
    await settled()
    await state.cancel(first.id)
    await state.submit([draft("fine"), draft("fine")])
    await settled()
    assert engine.statuses() == [CANCELLED, DONE, DONE]


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
