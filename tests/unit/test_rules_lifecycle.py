"""The life of a job: what each command does in each status (README, "A job's life")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobqueue.clock import SECOND
from jobqueue.errors import BadState, LeaseLost, NotFound, QueueFull
from jobqueue.job import AttemptRecord, Ending, Error, Job, Options, Progress, Reason, Status
from jobqueue.rules.lifecycle import Limits, replace
from tests.helpers import EPOCH, FAILURE, Desk, draft, memory, planted

SCHEDULED, BLOCKED, QUEUED, RUNNING, DONE, FAILED, CANCELLED = Status
Command = Callable[[Desk, Job], Awaitable[Any]]


def ends(ending: Ending, **fields: Any) -> Command:
    """The command that reports this end of the job's present epoch."""
    return lambda desk, job: desk.settle(job, ending, **fields)


async def wait(desk: Desk, seconds: float) -> None:
    """Let time pass and do what it brings."""
    desk.clock.advance(seconds)
    await desk.ripen()


TWO_SECONDS = Options(expires_at=EPOCH + 2 * SECOND)
ONE_TRY = Options(max_attempts=1)

# command, what else holds for the job -> what becomes of it in each status. An error leaves it as it was.
COMMANDS: dict[str, tuple[Command, dict[str, Any], dict[Status, Status | type[Exception]]]] = {
    "due": (lambda desk, job: wait(desk, 1), {}, {SCHEDULED: QUEUED}),
    "expire": (
        lambda desk, job: wait(desk, 2),
        {"options": TWO_SECONDS, "next_attempt_at": EPOCH + 3 * SECOND},
        {SCHEDULED: FAILED, BLOCKED: FAILED, QUEUED: FAILED},
    ),
    "claim": (lambda desk, job: desk.claim(1), {}, {QUEUED: RUNNING}),
    "complete": (ends(Ending.DONE), {}, {RUNNING: DONE}),
    "fail": (ends(Ending.ERROR), {}, {RUNNING: SCHEDULED}),
    "fail at max_attempts": (ends(Ending.ERROR), {"options": ONE_TRY}, {RUNNING: FAILED}),
    "fail fatally": (ends(Ending.ERROR, fatal=True), {}, {RUNNING: FAILED}),
    "timeout": (ends(Ending.TIMEOUT), {}, {RUNNING: SCHEDULED}),
    "timeout at max_attempts": (ends(Ending.TIMEOUT), {"options": ONE_TRY}, {RUNNING: FAILED}),
    "release": (ends(Ending.RELEASED), {}, {RUNNING: QUEUED}),
    "drain": (ends(Ending.CANCELLED), {}, {RUNNING: QUEUED}),
    "crash": (ends(Ending.CRASHED), {}, {RUNNING: QUEUED}),
    "lease lost": (ends(Ending.LOST), {}, {RUNNING: QUEUED}),
    "cancel": (
        lambda desk, job: desk.cancel(job),
        {},
        {
            SCHEDULED: CANCELLED,
            BLOCKED: CANCELLED,
            QUEUED: CANCELLED,
            RUNNING: RUNNING,
            DONE: BadState,
            FAILED: BadState,
            CANCELLED: CANCELLED,
        },
    ),
    "retry": (
        lambda desk, job: desk.retry(job),
        {},
        {
            SCHEDULED: BadState,
            BLOCKED: BadState,
            QUEUED: BadState,
            RUNNING: BadState,
            DONE: BadState,
            FAILED: QUEUED,
            CANCELLED: QUEUED,
        },
    ),
}
REPORTS = {"complete", "fail", "timeout", "release", "drain", "crash", "lease lost"}
ROWS = [(command, status) for command in COMMANDS for status in Status]


@pytest.mark.parametrize("command, status", ROWS, ids=[f"{command}-{status.name}" for command, status in ROWS])
async def test_command_in_status(command: str, status: Status) -> None:
    """Every command does in every status what the table says, or is refused and changes nothing."""
    do, fields, table = COMMANDS[command]
    report = command.split(" at ", 1)[0].split(" fatally", 1)[0] in REPORTS
    desk = memory()
    job = await desk.plant(planted(status, **fields))
    expected = table.get(status, LeaseLost if report else status)
    if isinstance(expected, Status):
        await do(desk, job)
        assert (await desk.get(job)).status is expected
    else:
        with pytest.raises(expected):
            await do(desk, job)
        assert await desk.get(job) == job


@pytest.mark.parametrize("status", list(Status), ids=lambda status: status.name)
@pytest.mark.parametrize("ending", list(Ending), ids=str)
async def test_stale_epoch(ending: Ending, status: Status) -> None:
    """A report of another epoch than the running one is refused as a lost lease, whatever it says."""
    desk = memory()
    job = await desk.plant(planted(status))
    for epoch in {job.epoch - 1, job.epoch + 1} | (set() if status is RUNNING else {job.epoch}):
        with pytest.raises(LeaseLost):
            await desk.settle(replace(job, epoch=epoch), ending)
    assert await desk.get(job) == job


@pytest.mark.parametrize("command", ["cancel", "retry", "settle"])
async def test_unknown_job(command: str) -> None:
    """A command to an id that never was is NotFound."""
    desk = memory()
    with pytest.raises(NotFound):
        await getattr(desk, command)(planted(QUEUED))


async def test_accept_makes_a_queued_job() -> None:
    """An accepted job is QUEUED at the moment of its commit, with its draft's fields and the defaults."""
    desk = memory()
    job = await desk.add("mail", queue="q", priority=3, group="g", payload='{"a":1}', tags=("t",))
    assert job == Job(
        seq=1,
        id=job.id,
        kind="mail",
        queue="q",
        priority=3,
        group="g",
        payload='{"a":1}',
        options=Options(tags=("t",)),
        created_at=EPOCH,
        status=QUEUED,
        place=1,
    )


@pytest.mark.parametrize(
    "fields, status, at",
    [
        ({"delay": 1.5}, SCHEDULED, EPOCH + 1_500_000),
        ({"delay": 0}, QUEUED, None),
        ({"run_at": EPOCH + 1}, SCHEDULED, EPOCH + 1),
        ({"run_at": EPOCH}, QUEUED, None),
        ({"run_at": EPOCH - SECOND}, QUEUED, None),
    ],
)
async def test_delay_and_run_at(fields: dict[str, Any], status: Status, at: int | None) -> None:
    """A job with a delay or a run_at ahead waits SCHEDULED for that moment; the past is now."""
    job = await memory().add(**fields)
    assert (job.status, job.next_attempt_at, job.due_at) == (status, at, at)


async def test_claim_starts_an_attempt() -> None:
    """A claim counts a try and an epoch, and says who runs the job, in which life of the process, since when."""
    desk = memory()
    await desk.add()
    desk.clock.advance(3)
    (job,) = await desk.claim()
    assert (job.status, job.attempt, job.epoch, job.worker, job.boot_id) == (RUNNING, 1, 1, "w0", "boot-1")
    assert job.started_at == desk.clock.now()
    assert not job.alone


async def test_done() -> None:
    """A success ends the job with its result, and nothing else of the past stays on it."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    desk.clock.advance(2)
    done = await desk.settle(job, result='{"sent":true}')
    assert (done.status, done.reason, done.result, done.error) == (DONE, None, '{"sent":true}', None)
    assert (done.finished_at, done.attempt, done.boot_id) == (desk.clock.now(), 1, None)


@pytest.mark.parametrize(
    "ending, fields, reason",
    [
        (Ending.ERROR, {}, Reason.ERROR),
        (Ending.TIMEOUT, {}, Reason.TIMEOUT),
        (Ending.ERROR, {"fatal": True}, Reason.FATAL),
        (Ending.ERROR, {"fatal": True, "reason": Reason.UNKNOWN_KIND}, Reason.UNKNOWN_KIND),
        (Ending.ERROR, {"fatal": True, "reason": Reason.UNDECODABLE}, Reason.UNDECODABLE),
    ],
)
async def test_reason_of_a_failure(ending: Ending, fields: dict[str, Any], reason: Reason) -> None:
    """A FAILED job says why its last try failed, and keeps that error."""
    desk = memory()
    await desk.add(max_attempts=1)
    (job,) = await desk.claim()
    failed = await desk.settle(job, ending, **fields)
    assert (failed.status, failed.reason, failed.error) == (FAILED, reason, FAILURE)


@pytest.mark.parametrize("ending", [Ending.ERROR, Ending.TIMEOUT], ids=str)
async def test_errors_and_timeouts_spend_tries(ending: Ending) -> None:
    """An error and a timeout each spend a try; at max_attempts the job is FAILED."""
    desk = memory()
    await desk.add(max_attempts=3)
    statuses = []
    for _ in range(3):
        (job,) = await desk.claim()
        statuses.append((await desk.settle(job, ending, retry_in=0)).status)
        await desk.ripen()
    assert statuses == [SCHEDULED, SCHEDULED, FAILED]
    assert (await desk.get(job)).attempt == 3


@pytest.mark.parametrize(
    "ending, crashes", [(Ending.RELEASED, 0), (Ending.CANCELLED, 0), (Ending.CRASHED, 1), (Ending.LOST, 1)]
)
async def test_give_backs_and_crashes_spend_nothing(ending: Ending, crashes: int) -> None:
    """A give-back, a crash and a lost lease take the try back and keep the place; the last two are counted."""
    desk = memory()
    first = await desk.add(max_attempts=1)
    await desk.add()
    (job,) = await desk.claim()
    back = await desk.settle(job, ending)
    assert (back.status, back.attempt, back.epoch, back.crashes) == (QUEUED, 0, 1, crashes)
    assert (back.place, back.started_at, back.worker, back.boot_id) == (first.place, None, None, None)
    (again,) = await desk.claim()
    assert (again.id, again.epoch, again.attempt) == (job.id, 2, 1)


@pytest.mark.parametrize("ending", [Ending.RELEASED, Ending.ERROR, Ending.TIMEOUT, Ending.DONE], ids=str)
async def test_another_end_clears_the_crashes(ending: Ending) -> None:
    """An attempt that ends otherwise than by a death clears the count of deaths."""
    desk = memory()
    job = await desk.plant(planted(RUNNING, crashes=1))
    assert (await desk.settle(job, ending)).crashes == 0


async def test_retry_in() -> None:
    """RetryIn overrides the policy's delay, in seconds from the failure."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    desk.clock.advance(1)
    waiting = await desk.settle(job, Ending.ERROR, retry_in=90.5)
    assert waiting.next_attempt_at == EPOCH + 91_500_000
    assert (waiting.error, waiting.worker, waiting.boot_id) == (FAILURE, None, None)


async def test_retry_in_at_the_last_attempt() -> None:
    """RetryIn does not lift max_attempts."""
    desk = memory()
    await desk.add(max_attempts=1)
    (job,) = await desk.claim()
    assert (await desk.settle(job, Ending.ERROR, retry_in=1)).status is FAILED


async def test_policy_delay() -> None:
    """Without RetryIn the next attempt is due after the policy's delay for this try."""
    desk = memory()
    job = await desk.plant(planted(RUNNING, attempt=3))
    assert (await desk.settle(job, Ending.ERROR)).next_attempt_at == EPOCH + 2 * SECOND  # 1 s x 2 x 2, half of it


async def test_cancel_of_a_running_job_is_an_order() -> None:
    """Cancel of RUNNING notes the moment once and leaves the job running until its attempt has ended."""
    desk = memory()
    job = await desk.plant(planted(RUNNING))
    asked = await desk.cancel(job)
    desk.clock.advance(1)
    assert (asked.status, asked.cancel_requested_at) == (RUNNING, EPOCH)
    assert await desk.cancel(job) == asked


@pytest.mark.parametrize("ending", list(Ending), ids=str)
async def test_end_after_a_cancel(ending: Ending) -> None:
    """Success reported first wins over a cancel; after any other end the job is CANCELLED."""
    desk = memory()
    job = await desk.plant(planted(RUNNING))
    await desk.cancel(job)
    after = await desk.settle(job, ending)
    expected = (DONE, None) if ending is Ending.DONE else (CANCELLED, Reason.CANCELLED)
    assert (after.status, after.reason) == expected


async def test_cancel_of_a_waiting_job() -> None:
    """A job that waits is CANCELLED at once, with its reason."""
    desk = memory()
    job = await desk.cancel(await desk.add())
    assert (job.status, job.reason, job.finished_at) == (CANCELLED, Reason.CANCELLED, EPOCH)


async def test_retry_starts_afresh() -> None:
    """A retry is QUEUED now in a new place, attempt 0, run_at and expires_at cleared; the epoch goes on growing."""
    desk = memory()
    job = await desk.add(max_attempts=1, run_at=EPOCH - SECOND, expires_at=EPOCH + SECOND)
    (running,) = await desk.claim()
    await desk.cancel(running)
    await desk.settle(running, Ending.ERROR)
    later = await desk.add()
    again = await desk.retry(job)
    assert again == replace(job, options=ONE_TRY, epoch=1, place=again.place, due_at=None)
    assert again.place > later.place
    claimed = await desk.claim(2)
    assert [(job.id, job.epoch, job.attempt) for job in claimed] == [(later.id, 1, 1), (job.id, 2, 1)]


async def test_attempts_are_recorded() -> None:
    """Each attempt leaves a record of when it ran, where, and how it ended; a give-back and a crash do as well."""
    desk = memory()
    await desk.add()
    reports: list[tuple[Ending, str | None, Error | None]] = [
        (Ending.RELEASED, None, None),
        (Ending.ERROR, None, FAILURE),
        (Ending.CRASHED, None, None),
        (Ending.DONE, "1", None),
    ]
    expected: list[AttemptRecord] = []
    for epoch, (ending, result, error) in enumerate(reports, start=1):
        (job,) = await desk.claim()
        started = desk.clock.now()
        desk.clock.advance(1)
        await desk.settle(job, ending, result=result, error=error, retry_in=0 if ending is Ending.ERROR else None)
        await desk.ripen()
        ended = desk.clock.now()
        expected.append(
            AttemptRecord(job.seq, epoch, job.attempt, started, ended, ending, "w0", result=result, error=error)
        )
    assert list(await desk.store.attempts(1)) == expected[::-1]
    assert [record.attempt for record in expected] == [1, 1, 2, 2]


async def test_the_history_says_cancelled() -> None:
    """An attempt that ended after its cancel was asked for is `cancelled`; one stopped without it is `released`."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    await desk.settle(job, Ending.CANCELLED)
    (job,) = await desk.claim()
    await desk.cancel(job)
    await desk.settle(job, Ending.ERROR)
    assert [record.ending for record in await desk.store.attempts(job.seq)] == [Ending.CANCELLED, Ending.RELEASED]


async def test_recover() -> None:
    """After a death the running jobs of the earlier life are QUEUED again, unspent, and their history says why."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    (back,) = await desk.restart("boot-2")
    assert (back.status, back.attempt, back.crashes, back.place) == (QUEUED, 0, 1, job.place)
    (record,) = await desk.store.attempts(job.seq)
    assert record.ending is Ending.CRASHED
    assert record.error is not None
    assert await desk.restart("boot-3") == []


async def test_reports_of_a_running_attempt() -> None:
    """Progress and log lines are taken of the running attempt only."""
    desk = memory()
    await desk.add()
    (job,) = await desk.claim()
    half = Progress(50, "half way", '{"n":1}')
    await desk.progress(job, half)
    await desk.log(job, "one", "two")
    assert (await desk.get(job)).progress == half
    assert [line.line.message for line in await desk.store.lines(job.seq)] == ["one", "two"]
    await desk.settle(job)
    for report in (desk.progress(job, half), desk.log(job, "three")):
        with pytest.raises(LeaseLost):
            await report


@pytest.mark.parametrize("rate, seconds", [(None, "30"), (0.5, "4"), (1000.0, "1"), (0.001, "300")])
async def test_queue_full(rate: float | None, seconds: str) -> None:
    """Beyond max_queued waiting jobs a submission is refused whole, with Retry-After computed from the drain rate."""
    desk = memory()
    desk.limits = Limits(max_queued=3)
    desk.drained_per_second = rate
    await desk.submit([draft(), draft(delay=9)])
    with pytest.raises(QueueFull) as caught:
        await desk.submit([draft(), draft()])
    assert caught.value.headers == (("retry-after", seconds),)
    await desk.submit([draft(), draft(queue="other")])
    assert [sum(counts) for counts in (await desk.store.counts()).values()] == [3, 1]


async def test_running_jobs_do_not_fill_a_queue() -> None:
    """Only jobs that wait count against max_queued: a claim makes room."""
    desk = memory()
    desk.limits = Limits(max_queued=1)
    await desk.add()
    await desk.claim()
    await desk.add()
    with pytest.raises(QueueFull):
        await desk.add()


async def test_give_backs_and_retries_are_never_shed() -> None:
    """A full queue still takes back what ran, and what is tried again."""
    desk = memory()
    failed = await desk.add(max_attempts=1)
    (job,) = await desk.claim()
    await desk.settle(job, Ending.ERROR)
    await desk.add()
    (running,) = await desk.claim()
    await desk.add()
    desk.limits = Limits(max_queued=1)
    assert (await desk.settle(running, Ending.RELEASED)).status is QUEUED
    assert (await desk.retry(failed)).status is QUEUED
