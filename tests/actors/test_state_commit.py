"""Group commit: what waits together is one transaction, and nobody is answered before it."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from jobqueue.actors.state_handle import State
from jobqueue.clock import SECOND
from jobqueue.errors import BadState, KeyReuse, LeaseLost, NotFound
from jobqueue.job import DEFAULT_OPTIONS, Ending, Job, LogLine, Outcome, Progress, Status
from jobqueue.mailbox import Nudge, Orders
from jobqueue.rules.admission import Want
from jobqueue.rules.idempotency import IdempotencyKey
from tests.actors.engine import Engine
from tests.actors.kit import Call, add, claim, settle, settled
from tests.helpers import EPOCH, draft, new_id


async def test_asks_that_wait_together_are_one_commit(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A hundred submissions that came while a commit was under way make one commit, in the order of arrival."""
    engine.door = trio.Event()
    calls = [Call(nursery, lambda: add(state))]
    await settled()
    for number in range(100):
        nursery.start_soon(partial(add, state, payload=str(number)))
        await settled()
    engine.door.set()
    await calls[0].wait()
    await settled()
    assert [len(batch.jobs) for batch in engine.batches] == [1, 100]
    assert [job.payload for job in engine.batches[1].jobs] == [str(number) for number in range(100)]


async def test_one_batch_at_a_time(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """However much is asked meanwhile, the store is never given a second batch beside the first."""
    for _ in range(20):
        nursery.start_soon(add, state)
        nursery.start_soon(claim, state, 3)
        await trio.lowlevel.checkpoint()
    await settled()
    assert len(engine.batches) > 1
    assert engine.most_in_flight == 1


async def test_an_answer_comes_after_its_commit(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """Promise 1: while the commit is under way the submission has no answer; with the answer the job is there."""
    engine.door = trio.Event()
    call = Call(nursery, lambda: add(state))
    await settled()
    assert not call.over
    assert not engine.tables.jobs
    engine.door.set()
    job: Job = await call.wait()
    assert engine.tables.jobs[job.id] == job


async def test_an_asker_that_leaves_cuts_no_commit(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A client that hangs up cancels its own request, never the commit, and nobody else is disturbed."""
    engine.door = trio.Event()
    under_way = Call(nursery, lambda: add(state, "first"))
    await settled()
    waiting = Call(nursery, lambda: add(state, "second"))
    await settled()
    staying = Call(nursery, lambda: add(state, "third"))
    await settled()
    under_way.leave()
    waiting.leave()
    engine.door.set()
    await staying.wait()
    assert [job.kind for job in engine.tables.jobs.values()] == ["first", "second", "third"]


async def test_a_batch_is_cut_by_its_text(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A batch ends with the message that brings it to 4 MiB; what is left is the next."""
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    payload = '"' + "x" * (1 << 20) + '"'
    for _ in range(6):
        nursery.start_soon(lambda: add(state, payload=payload))
    await settled()
    engine.door.set()
    await settled()
    assert [len(batch.jobs) for batch in engine.batches] == [1, 4, 2]


async def test_a_batch_is_cut_by_its_rows(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """Small jobs are cut after about a thousand, and never inside a submission."""
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    for _ in range(4):
        nursery.start_soon(state.submit, [draft() for _ in range(400)])
    await settled()
    engine.door.set()
    await settled()
    assert [len(batch.jobs) for batch in engine.batches] == [1, 1200, 400]


async def test_a_submission_is_never_cut(engine: Engine, state: State) -> None:
    """A submission of more than a batch's worth is one commit all the same: all of it or nothing."""
    accepted = await state.submit([draft() for _ in range(3000)])
    assert [len(batch.jobs) for batch in engine.batches] == [3000]
    assert [job.seq for job in accepted.jobs] == list(range(1, 3001))


async def test_claims_see_what_their_batch_brings(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A turn that waits beside a submission gets its job in the same commit, wherever it stood in the line."""
    engine.door = trio.Event()
    nursery.start_soon(add, state, "first")
    await settled()
    turn = Call(nursery, lambda: claim(state, 2))
    await settled()
    nursery.start_soon(add, state, "second")
    await settled()
    engine.door.set()
    assert [job.kind for job in await turn.wait()] == ["first", "second"]
    assert len(engine.batches) == 2


async def test_results_and_wants_share_a_commit(engine: Engine, state: State) -> None:
    """One turn ends jobs and starts others: the freed ones are seen by its claims."""
    await state.submit([draft() for _ in range(4)])
    running = await claim(state, 2)
    before = len(engine.batches)
    outcomes = [Outcome(job.id, job.epoch, Ending.DONE) for job in running]
    settled_turn = await state.turn(outcomes, [Want(("default",), ("a", "b"))], [[Orders(), Orders()]])
    assert [job.status for job in settled_turn.fates if isinstance(job, Job)] == [Status.DONE] * 2
    assert [job.seq for job in settled_turn.claims.jobs[0]] == [3, 4]
    assert len(engine.batches) == before + 1


async def test_a_refusal_leaves_its_neighbours_alone(engine: Engine, state: State, nursery: trio.Nursery) -> None:
    """A command that the rules refuse is answered its error; the rest of its batch is carried out."""
    done = await add(state)
    await settle(state, *(await claim(state)))
    before = len(engine.batches)
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    await settled()
    unknown = Call(nursery, lambda: state.cancel(new_id()))
    too_late = Call(nursery, lambda: state.cancel(done.id))
    fine = Call(nursery, lambda: add(state))
    await settled()
    engine.door.set()
    await fine.wait()
    with pytest.raises(NotFound):
        await unknown.wait()
    with pytest.raises(BadState):
        await too_late.wait()
    assert len(engine.batches) == before + 2


async def test_a_result_that_comes_late_spoils_no_other(state: State) -> None:
    """Each result of a turn has its own fate: a stale epoch is told LeaseLost, its neighbour is kept."""
    await state.submit([draft(), draft()])
    first, second = await claim(state, 2)
    await settle(state, first)
    fates = await settle(state, first, second)
    assert isinstance(fates[0], LeaseLost)
    assert isinstance(fates[1], Job)
    assert fates[1].status is Status.DONE


async def test_lines_are_accepted_each_by_itself(state: State) -> None:
    """Of a stream's lines each is accepted or refused by itself, in order."""
    key = IdempotencyKey("scope", "key", b"digest")
    other = IdempotencyKey("scope", "key", b"other")
    one, two, three, four = await state.submit_each(
        [(draft("a"), key), (draft("a"), key), (draft("b"), other), (draft("c"), None)]
    )
    assert not isinstance(one, Exception)
    assert not isinstance(two, Exception)
    assert (two.jobs[0].id, two.replayed) == (one.jobs[0].id, True)
    assert isinstance(three, KeyReuse)
    assert not isinstance(four, Exception)


async def test_reports_are_kept_for_the_running_attempt_only(engine: Engine, state: State) -> None:
    """Progress and lines of the running attempt are stored; those of an attempt that has ended are LeaseLost."""
    await add(state)
    (job,) = await claim(state)
    await state.report(job.id, job.epoch, Progress(50.0), (LogLine("info", "half"),))
    assert engine.tables.progress[job.seq] == Progress(50.0)
    assert [line.line.message for line in engine.tables.lines[job.seq]] == ["half"]
    await settle(state, job)
    with pytest.raises(LeaseLost):
        await state.report(job.id, job.epoch, Progress(60.0), ())


async def test_what_may_be_claimed_is_nudged_after_its_commit(
    engine: Engine, state: State, claimable: Nudge, nursery: trio.Nursery
) -> None:
    """A submission nudges the dispatcher when it is committed, one that is put off does not."""
    engine.door = trio.Event()
    nursery.start_soon(add, state)
    nudged = Call(nursery, claimable.take)
    await settled()
    assert not nudged.over
    engine.door.set()
    await nudged.wait()
    again = Call(nursery, claimable.take)
    await add(state, delay=60)
    await settled()
    assert not again.over
    again.leave()


async def test_a_retried_or_released_job_is_nudged(state: State, claimable: Nudge) -> None:
    """Whatever makes a job QUEUED nudges: an explicit retry, and a release."""
    await add(state)
    await claimable.take()
    (job,) = await claim(state)
    await settle(state, job, ending=Ending.RELEASED)
    await claimable.take()
    (job,) = await claim(state)
    await settle(state, job, ending=Ending.ERROR, fatal=True)
    await state.retry(job.id)
    await claimable.take()


async def test_a_batch_is_told_one_moment(state: State) -> None:
    """`delay` counts from the commit, by the wall clock."""
    await trio.sleep(10)
    job = await add(state, delay=5)
    assert (job.created_at, job.next_attempt_at) == (EPOCH + 10 * SECOND, EPOCH + 15 * SECOND)
    assert job.options != DEFAULT_OPTIONS
