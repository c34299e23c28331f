"""The exam of the storage contract: every rule once, sat by every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from jobqueue.clock import SECOND
from jobqueue.errors import BadState
from jobqueue.job import (
    AttemptRecord,
    Ending,
    Error,
    Job,
    LaneKey,
    Line,
    LogLine,
    Options,
    Progress,
    Reason,
    Retry,
    Status,
)
from jobqueue.rules import acceptance, idempotency, lifecycle
from jobqueue.rules.changes import KeyRecord
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import Limits, Times, replace
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Filter, Needs
from jobqueue.stores.memory import tables
from jobqueue.stores.sqlite import commit
from tests.helpers import DAY, EPOCH, FAILURE, Desk, draft, new_id, planted

TEXTS = ["", "é", "\U0001f980", "a\x00b", "line\nbreak", "'; DROP TABLE jobs; --", "x" * 70_000]

KEY = IdempotencyKey("key1 POST /jobs", "a", b"digest")

FULL = Job(
    seq=1,
    id=new_id(),
    kind="mail.send",
    queue="mails",
    priority=-7,
    group="tenant",
    payload='{"n":123456789012345678901234567890,"t":"\U0001f980\\u0000"}',
    options=Options(
        tags=("a", "b"),
        max_attempts=9,
        retry=Retry("list", delays=(1, 2.5)),
        timeout=0.5,
        run_at=EPOCH,
        expires_at=EPOCH + SECOND,
        trace_parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        trace_state="k=v",
    ),
    created_at=EPOCH,
    status=Status.RUNNING,
    reason=Reason.ERROR,
    place=1,
    attempt=2,
    crashes=1,
    epoch=3,
    alone=True,
    due_at=EPOCH + 2,
    started_at=EPOCH + 3,
    finished_at=EPOCH + 4,
    next_attempt_at=EPOCH + 5,
    cancel_requested_at=EPOCH + 6,
    worker="local-1",
    boot_id="boot-1",
)


async def page(desk: Desk, limit: int = 99, before: int | None = None, **wanted: Any) -> list[int]:
    """The seqs of a page."""
    return [job.seq for job in (await desk.store.page(Filter(**wanted), before, limit)).jobs]


# -- apply


async def test_a_read_after_an_answer_sees_it(desk: Desk) -> None:
    """When apply has returned, every read sees what it changed."""
    job = await desk.add()
    assert await desk.store.get([job.id]) == [job]
    assert await page(desk) == [job.seq]
    assert (await desk.store.counts())["default"][Status.QUEUED] == 1


async def test_apply_returns_what_was_decided(desk: Desk) -> None:
    """Apply returns whatever decide returned, also when nothing was changed."""
    answer = object()
    assert await desk.do(lambda _, __: answer) is answer


async def test_an_error_undoes_the_batch(desk: Desk) -> None:
    """If decide raises, the error comes out, nothing is changed, and the store goes on."""
    done = await desk.plant(planted(Status.DONE))

    def rule(table: Table, times: Times) -> None:
        acceptance.accept(table, [draft(queue="new")], times)
        lifecycle.cancel(table, done.id, times)

    with pytest.raises(BadState):
        await desk.do(rule, Needs(jobs={done.id}, lanes={LaneKey("new", 0, None)}))
    assert await page(desk) == [1]
    assert list(await desk.store.counts()) == ["default"]
    assert (await desk.add()).seq == 2


async def test_a_cancelled_caller_never_cuts_a_commit(desk: Desk) -> None:
    """A caller that is cancelled meanwhile leaves a batch that is committed whole."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await desk.add()
    assert await page(desk) == [1]


async def test_batches_are_serial(desk: Desk) -> None:
    """Batches asked for at the same time are done one after the other: no job is claimed twice."""
    await desk.submit([draft()] * 10)
    claimed: list[int] = []

    async def claimer() -> None:
        claimed.extend([job.seq for job in await desk.claim()])

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(claimer)
    assert sorted(claimed) == list(range(1, 11))


async def test_the_view_is_of_the_start(desk: Desk) -> None:
    """What a batch loads is as of its start, with the batch's own changes laid over it."""
    first = await desk.add()

    def rule(table: Table, times: Times) -> list[int]:
        acceptance.accept(table, [draft()], times)
        lifecycle.cancel(table, first.id, times)
        return [job.seq for job in table.heads(first.lane, 9)]

    assert await desk.do(rule, Needs(jobs={first.id}, claims={"default": 9})) == [2]


# -- jobs


async def test_a_job_comes_back_whole(desk: Desk) -> None:
    """Every field of a job is kept, for readers and for rules."""
    await desk.plant(FULL)
    assert await desk.get(FULL) == FULL
    assert (await desk.store.page(Filter(), None, 1)).jobs == (FULL,)
    assert await desk.do(lambda table, _: table.job(FULL.id), Needs(jobs={FULL.id})) == FULL


async def test_a_change_is_kept_whole(desk: Desk) -> None:
    """Every field that rules may change is kept when it changes."""
    job = await desk.plant(
        planted(Status.QUEUED, queue="mails", group="tenant", kind="mail.send", payload=FULL.payload)
    )
    after = replace(FULL, id=job.id)
    await desk.do(lambda table, _: table.put(job, after), Needs(jobs={job.id}))
    assert await desk.get(job) == after
    assert await desk.do(lambda table, _: table.job(job.id), Needs(jobs={job.id})) == after


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_texts_are_kept_to_the_letter(desk: Desk, text: str) -> None:
    """Results, errors, log lines and progress come back as they were given."""
    await desk.add()
    (job,) = await desk.claim()
    error, progress = Error(text, text, text), Progress(1.5, text, text)
    await desk.progress(job, progress)
    await desk.log(job, text)
    await desk.settle(job, Ending.ERROR, result=text, error=error)
    found = await desk.get(job)
    assert (found.result, found.error, found.progress) == (text, error, progress)
    assert [line.line.message for line in await desk.store.lines(job.seq)] == [text]
    assert [(record.result, record.error) for record in await desk.store.attempts(job.seq)] == [(text, error)]


async def test_get_many(desk: Desk) -> None:
    """Jobs are given in the order of the ids: None for one that never was, a mark for one that was removed."""
    one, two = (await desk.submit([draft()] * 2)).jobs
    await desk.cancel(one)
    await desk.remove(one)
    assert await desk.store.get([two.id, new_id(), one.id, two.id]) == [two, None, REMOVED, two]


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda id: id.replace("-", ""),
        lambda id: f" {id}",
        lambda id: f"{{{id}}}",
        lambda _: "",
        lambda _: "é",
    ],
    ids=["upper", "bare", "space", "braces", "empty", "foreign"],
)
async def test_an_id_has_one_spelling(desk: Desk, spell: Any) -> None:
    """A job is found by its id to the letter; anything else is unknown, whoever asks."""
    job = await desk.plant(planted(Status.QUEUED, id="0192abcd-0000-7000-8000-00000000000f"))
    other = spell(job.id)
    assert await desk.store.get([other]) == [None]
    assert await desk.do(lambda table, _: table.find(other), Needs(jobs={other})) is None
    with pytest.raises(Exception, match="no job"):
        await desk.cancel(replace(job, id=other))


# -- what of a job's past is shown


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.LOST, Ending.ERROR], ids=str)
@pytest.mark.parametrize("attempt", [1, 2])
async def test_the_last_error_is_shown(desk: Desk, attempt: int, ending: Ending) -> None:
    """A job that waits for another try shows why the last one ended, until it starts again."""
    job = await desk.plant(planted(Status.RUNNING, attempt=attempt, epoch=attempt))
    await desk.settle(job, ending, error=FAILURE, **({"retry_in": 0} if ending is Ending.ERROR else {}))
    assert (await desk.get(job)).error == FAILURE
    await desk.ripen()
    assert (await desk.get(job)).error == FAILURE
    await desk.claim()
    assert (await desk.get(job)).error is None


async def test_a_retry_hides_the_past(desk: Desk) -> None:
    """A job that was started afresh shows no result and no error of before."""
    job = await desk.plant(planted(Status.RUNNING))
    await desk.settle(job, Ending.ERROR, fatal=True)
    assert (await desk.get(job)).error == FAILURE
    await desk.retry(job)
    assert (await desk.get(job)).error is None


async def test_progress_belongs_to_an_attempt(desk: Desk) -> None:
    """Progress is kept through a cancel and the attempt's end, and is gone with the next start."""
    half, whole = Progress(50), Progress(100)
    job = await desk.plant(planted(Status.RUNNING))
    await desk.progress(job, half)
    await desk.progress(job, whole)
    await desk.cancel(job)
    assert (await desk.get(job)).progress == whole
    await desk.settle(job, Ending.ERROR)
    assert (await desk.get(job)).progress == whole
    await desk.retry(job)
    await desk.claim()
    assert (await desk.get(job)).progress is None


async def test_attempts(desk: Desk) -> None:
    """Of a job's ended attempts the last 100 are kept, newest first; those of others stay apart."""
    await desk.submit([draft(group="a"), draft(group="b")])
    for _ in range(102):
        for job in await desk.claim(2):
            await desk.settle(job, Ending.RELEASED)
    for seq in (1, 2):
        records = await desk.store.attempts(seq)
        assert [record.epoch for record in records] == list(range(102, 2, -1))
        assert {record.seq for record in records} == {seq}
    assert isinstance(records[0], AttemptRecord)


async def test_lines(desk: Desk) -> None:
    """Of a job's log the last 1,000 lines are kept, oldest first; those of others stay apart."""
    await desk.submit([draft()] * 2)
    one, two = await desk.claim(2)
    await desk.log(one, *[str(n) for n in range(700)])
    await desk.log(two, "other")
    await desk.log(one, *[str(n) for n in range(700, 1400)])
    lines = await desk.store.lines(one.seq)
    assert [line.line.message for line in lines] == [str(n) for n in range(400, 1400)]
    assert list(await desk.store.lines(two.seq)) == [Line(two.seq, EPOCH, 1, LogLine("info", "other"))]


async def test_removal_takes_all(desk: Desk) -> None:
    """A removed job leaves nothing but its tombstone: no history, no log, no count."""
    await desk.add()
    (job,) = await desk.claim()
    await desk.log(job, "line")
    await desk.settle(job)
    await desk.remove(job)
    assert await desk.look(job) is REMOVED
    assert list(await desk.store.attempts(job.seq)) == []
    assert list(await desk.store.lines(job.seq)) == []
    assert list((await desk.store.counts())["default"]) == [0] * 7
    assert await desk.do(lambda table, _: table.find(job.id), Needs(jobs={job.id})) is None


async def test_tombstones_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the newest tombstones are kept, and those for 7 days."""
    for engine in (tables, commit):
        monkeypatch.setattr(engine, "MOST_TOMBSTONES", 3)
    jobs = [await desk.plant(planted(Status.DONE, seq=seq)) for seq in range(1, 7)]
    for job in jobs[:5]:
        await desk.remove(job)
    ids = [job.id for job in jobs]
    assert await desk.store.get(ids[:5]) == [None, None, REMOVED, REMOVED, REMOVED]
    desk.clock.advance(7 * DAY)
    await desk.remove(jobs[5])
    assert await desk.store.get(ids) == [None] * 5 + [REMOVED]


# -- lists and counts


async def test_pages_are_newest_first(desk: Desk) -> None:
    """A page goes on before the seq that the last one named, to the end and without gaps."""
    await desk.submit([draft()] * 5)
    first = await desk.store.page(Filter(), None, 2)
    second = await desk.store.page(Filter(), first.before, 2)
    third = await desk.store.page(Filter(), second.before, 2)
    assert [[job.seq for job in page.jobs] for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
    assert (first.before, second.before, third.before) == (4, 2, None)
    assert (await desk.store.page(Filter(), None, 5)).before is None


async def test_filters(desk: Desk) -> None:
    """A page holds the jobs that match every part of its filter; created_after is inclusive, created_before is not."""
    await desk.add("a", queue="q", tags=("t", "u"), group="g")
    desk.clock.advance(1)
    await desk.add("b", queue="q", tags=("u",))
    desk.clock.advance(1)
    await desk.cancel(await desk.add("a", group="g"))
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [3, 2, 1]),
        ({"queue": "q"}, [2, 1]),
        ({"kind": "a"}, [3, 1]),
        ({"group": "g"}, [3, 1]),
        ({"tag": "u"}, [2, 1]),
        ({"tag": "t"}, [1]),
        ({"status": frozenset({Status.CANCELLED})}, [3]),
        ({"status": frozenset({Status.CANCELLED, Status.QUEUED})}, [3, 2, 1]),
        ({"status": frozenset()}, []),
        ({"created_after": EPOCH + SECOND}, [3, 2]),
        ({"created_before": EPOCH + SECOND}, [1]),
        ({"queue": "q", "kind": "a", "tag": "u", "group": "g", "status": frozenset({Status.QUEUED})}, [1]),
        ({"queue": "q", "kind": "none"}, []),
    ]
    for wanted, seqs in cases:
        assert await page(desk, **wanted) == seqs, wanted
    assert await page(desk, before=3, limit=1, kind="a") == [1]


async def test_counts(desk: Desk) -> None:
    """For each queue the jobs are counted by status."""
    await desk.submit([draft(queue="a"), draft(queue="a"), draft(queue="b", delay=1)])
    await desk.claim(1, "a")
    counts = await desk.store.counts()
    assert {queue: list(numbers) for queue, numbers in counts.items()} == {
        "a": [0, 0, 1, 1, 0, 0, 0],
        "b": [1, 0, 0, 0, 0, 0, 0],
    }


# -- what rules load


async def test_heads_and_ready(desk: Desk) -> None:
    """Lanes come by priority, turn, group, suspects apart; a lane's heads by place; both no more than asked for."""
    await desk.submit([draft(group="b"), draft(group="a"), draft(), draft(), draft(priority=9), draft(queue="other")])
    await desk.plant(planted(Status.QUEUED, crashes=2, seq=7, place=7))
    await desk.plant(planted(Status.QUEUED, seq=8, place=0))

    def rule(table: Table, _: Times) -> list[Any]:
        lanes = [lane.key for lane in table.ready("default", 9)]
        assert [lane.key for lane in table.ready("default", 2)] == lanes[:2]
        assert [lane.key for lane in table.ready("default", 9, suspect=True)] == [
            LaneKey("default", 0, None, suspect=True)
        ]
        heads = [job.seq for job in table.heads(LaneKey("default", 0, None), 9)]
        assert [job.seq for job in table.heads(LaneKey("default", 0, None), 1)] == heads[:1]
        return [[(key.priority, key.group) for key in lanes], heads, table.queues()]

    expected = [[(9, None), (0, None), (0, "a"), (0, "b")], [8, 3, 4], ["default", "other"]]
    assert await desk.do(rule, Needs(claims={"*": 9})) == expected


async def test_turns_are_kept(desk: Desk) -> None:
    """A lane's turn and its priority's virtual time are there in the next batch."""
    await desk.submit([draft(group="a")] * 3 + [draft(group="b")])
    await desk.claim(3)
    key = LaneKey("default", 0, "a")

    def rule(table: Table, _: Times) -> list[Any]:
        return [table.ready("default", 9), table.band("default", 0)]

    ((lane,), band) = await desk.do(rule, Needs(claims={"default": 9}, lanes={key}))
    assert (lane.key, lane.queued, lane.running, lane.turn, band) == (key, 1, 2, 2.0, 1.0)


async def test_due(desk: Desk) -> None:
    """Due are jobs whose moment has come: those that wait before those that ended, by moment, at most so many."""
    desk.limits = Limits(retention=dict.fromkeys(Status, 1.0))
    await desk.cancel(await desk.add())
    await desk.submit([draft(delay=3), draft(delay=2), draft(delay=4), draft(expires_at=EPOCH + SECOND), draft()])
    desk.clock.advance(3)
    due = [job.seq for job in await desk.do(lambda table, times: table.due(times.now, 9), Needs(most_due=9))]
    assert due == [5, 3, 2, 1]
    few = await desk.do(lambda table, times: table.due(times.now, 2), Needs(most_due=2))
    assert [job.seq for job in few] == due[:2]
    none = await desk.do(lambda table, _: table.due(EPOCH, 9), Needs(most_due=9))
    assert list(none) == []


async def test_surplus(desk: Desk) -> None:
    """Surplus are the ended jobs beyond the newest, those first whose retention ends first."""
    jobs = (await desk.submit([draft()] * 4)).jobs
    for job in (jobs[2], jobs[0], jobs[1]):
        await desk.cancel(job)
        desk.clock.advance(1)

    async def surplus(keep: int, count: int) -> list[int]:
        return [job.seq for job in await desk.do(lambda table, _: table.surplus(keep, count), Needs(most_due=9))]

    assert [await surplus(keep, 9) for keep in (3, 2, 0)] == [[], [3], [3, 1, 2]]
    assert await surplus(0, 2) == [3, 1]


async def test_ended(desk: Desk) -> None:
    """The ended jobs of all queues are counted, those of the batch included."""
    jobs = (await desk.submit([draft(queue="a"), draft(queue="b"), draft()])).jobs
    await desk.cancel(jobs[0])

    def rule(table: Table, times: Times) -> list[int]:
        before = table.ended()
        lifecycle.cancel(table, jobs[1].id, times)
        return [before, table.ended()]

    assert await desk.do(rule, Needs(jobs={jobs[1].id})) == [1, 2]
    await desk.remove(jobs[0])
    assert await desk.do(lambda table, _: table.ended()) == 1


async def test_next_due(desk: Desk) -> None:
    """The next due moment is the first of delays, expiries, retention and idempotency keys; None if there is none."""
    assert await desk.store.next_due() is None
    job = await desk.add()
    assert await desk.store.next_due() is None
    await desk.cancel(job)
    assert await desk.store.next_due() == EPOCH + 7 * DAY * SECOND
    await desk.submit([draft()], IdempotencyKey("scope", "key", b"d"))
    assert await desk.store.next_due() == EPOCH + DAY * SECOND
    await desk.add(delay=9)
    assert await desk.store.next_due() == EPOCH + 9 * SECOND
    await desk.add(expires_at=EPOCH + SECOND)
    assert await desk.store.next_due() == EPOCH + SECOND


async def test_latest(desk: Desk) -> None:
    """How far time has come is told by what was accepted, started, ended or removed, and not by what is to come."""
    assert await desk.store.latest() is None
    await desk.add(delay=5, retry=Retry("list", delays=(5,)), max_attempts=2)
    assert await desk.store.latest() == EPOCH
    desk.clock.advance(5)
    await desk.ripen()
    desk.clock.advance(5)
    (job,) = await desk.claim()
    assert await desk.store.latest() == EPOCH + 10 * SECOND
    desk.clock.advance(5)
    await desk.settle(job, Ending.ERROR)
    assert await desk.store.latest() == EPOCH + 15 * SECOND
    desk.clock.advance(5)
    await desk.ripen()
    (job,) = await desk.claim()
    await desk.settle(job)
    assert await desk.store.latest() == EPOCH + 20 * SECOND
    desk.clock.advance(2 * DAY)
    await desk.ripen()
    assert await desk.look(job) is REMOVED
    assert await desk.store.latest() == desk.clock.now()


async def test_keys(desk: Desk) -> None:
    """A key is found by its scope and name; a later binding replaces it; stale ones are gone when dropped."""
    records = [KeyRecord("s", f"k{n}", b"\x00\xff", (new_id(), new_id()), EPOCH + n) for n in range(3)]
    for record in records:
        await desk.do(lambda table, _, record=record: table.keep_key(record))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    newer = KeyRecord("s", "k0", b"new", (), EPOCH + 9)
    await desk.do(lambda table, _: table.keep_key(newer))
    assert await desk.do(lambda table, _: table.drop_stale_keys(EPOCH + 2, 1), Needs(most_due=1)) == 1
    assert await desk.do(lambda table, _: table.drop_stale_keys(EPOCH + 1, 9), Needs(most_due=9)) == 0

    def rule(table: Table, _: Times) -> list[KeyRecord | None]:
        return [table.key("s", "k0"), table.key("s", "k1"), table.key("s", "k2"), table.key("other", "k2")]

    names = {("s", "k0"), ("s", "k1"), ("s", "k2"), ("other", "k2")}
    assert await desk.do(rule, Needs(keys=names)) == [newer, None, records[2], None]


def in_one_batch(first: str) -> Callable[[Table, Times], None]:
    """Bind the key and forget stale ones, in this order or the other."""

    def rule(table: Table, times: Times) -> None:
        if first == "drop":
            table.drop_stale_keys(times.now, 9)
        idempotency.accept(table, [draft()], KEY, times)
        if first == "bind":
            table.drop_stale_keys(times.now, 9)

    return rule


async def test_rebound_while_the_old_one_is_forgotten(desk: Desk) -> None:
    """A key that is bound anew in the batch that forgets its old meaning keeps the new one."""
    await desk.submit([draft()], KEY)
    desk.clock.advance(DAY)
    for first in ("drop", "bind"):
        await desk.do(in_one_batch(first), Needs(keys={(KEY.scope, KEY.key)}, most_due=9))
        assert (await desk.submit([draft()], KEY)).replayed
        desk.clock.advance(DAY)


async def test_orphans(desk: Desk) -> None:
    """Orphans are the RUNNING jobs of other lives of the process; one that belongs to no life is none."""
    mine = await desk.plant(planted(Status.RUNNING, boot_id="mine"))
    old = [await desk.plant(planted(Status.RUNNING, boot_id="old", seq=seq)) for seq in (2, 3)]
    await desk.plant(planted(Status.RUNNING, boot_id=None, seq=4))
    await desk.plant(planted(Status.QUEUED, seq=5))

    async def orphans(count: int) -> set[int]:
        return {
            job.seq for job in await desk.do(lambda table, _: table.orphans("mine", count), Needs(orphans_of="mine"))
        }

    assert await orphans(9) == {job.seq for job in old}
    assert len(await orphans(1)) == 1
    assert mine.seq not in await orphans(9)


async def test_idle_groups_are_forgotten(desk: Desk) -> None:
    """Lanes of groups that come and go leave nothing behind."""
    for _ in range(3):
        await desk.submit([draft(group=new_id()) for _ in range(3)])
        for job in await desk.claim(3):
            await desk.settle(job)
    held = getattr(desk.store, "tables", None)
    lanes = held.lanes if held is not None else desk.store._cache.lanes.lanes  # type: ignore[attr-defined]  # a look inside
    assert [key for key in lanes if key.group is not None] == []


async def test_it_says_what_it_is(desk: Desk) -> None:
    """An engine has a name, and says what an answered submission survives."""
    assert desk.store.engine.name in {"memory", "sqlite"}
    assert desk.store.engine.durability
