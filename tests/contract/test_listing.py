"""The exam of lists: what a filter shows, page by page, on every engine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from jobqueue import strictjson
from jobqueue.clock import SECOND
from jobqueue.job import Ending, Error, Job, Status
from jobqueue.rules.lifecycle import replace
from jobqueue.stores import memory
from jobqueue.stores.contract import Filter
from jobqueue.stores.sqlite import listing, moments, sources
from tests.helpers import DAY, EPOCH, Desk, draft, planted

STATUSES = [frozenset({status}) for status in Status]


async def shown(desk: Desk, wanted: Filter, limit: int = 3) -> list[int]:
    """The seqs of all pages, which are in order and no longer than they may be; ids alone are the same."""
    found: list[Job] = []
    ids: list[str] = []
    before = None
    while True:
        page = await desk.store.page(wanted, before, limit)
        assert len(page.jobs) <= limit
        found += page.jobs
        if page.before is None:
            break
        assert before is None or page.before < before
        before = page.before
    before = None
    while True:
        matches = await desk.store.matching(wanted, before, limit)
        ids += matches.ids
        if matches.before is None:
            break
        before = matches.before
    assert ids == [job.id for job in found]
    assert [job.seq for job in found] == sorted({job.seq for job in found}, reverse=True)
    return [job.seq for job in found]


async def zoo(desk: Desk) -> list[Job]:
    """Jobs of all sorts."""
    jobs = []
    for number, status in enumerate(Status, 1):
        for more in range(6):
            fields = {
                "queue": "pq"[more % 2],
                "kind": "xyz"[more % 3],
                "group": (None, "g")[more // 3],
                "created_at": EPOCH + (10 * number + more) * SECOND,
                "payload": strictjson.dumps({"n": more}),
            }
            seq = 900 * number + 130 * more  # each in a block of its own
            planned = planted(status, seq=seq, place=seq, **fields)
            tags = ("t",) if more % 2 else ("t", "u")
            options = replace(planned.options, tags=tags if more < 4 else ())
            jobs.append(await desk.plant(replace(planned, options=options)))
    return jobs


# -- what is shown


VALUES: dict[str, Sequence[Any]] = {
    "status": [None, *STATUSES, frozenset({Status.QUEUED, Status.DONE}), frozenset(Status), frozenset()],
    "queue": [None, "p", "none"],
    "kind": [None, "x", "none"],
    "tag": [None, "t", "u"],
    "group": [None, "g"],
    "created_after": [None, EPOCH + 43 * SECOND],
    "created_before": [None, EPOCH + 55 * SECOND],
    "payload": [(), (((("n",), "2")),)],
}


async def test_every_filter_with_every_other(desk: Desk) -> None:
    """A list shows the jobs that match every part of its filter, whatever the parts are."""
    jobs = await zoo(desk)
    for parts in itertools.product(*VALUES.values()):
        wanted = Filter(**dict(zip(VALUES, parts, strict=True)))
        expected = [job.seq for job in reversed(jobs) if wanted.matches(job)]
        page = await desk.store.page(wanted, None, 99)
        assert ([job.seq for job in page.jobs], page.before) == (expected, None), wanted


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("field", VALUES)
async def test_pages_go_on_where_the_last_one_ended(desk: Desk, field: str, limit: int) -> None:
    """Page by page the same, without gaps and repetitions; the last one says that it is."""
    jobs = await zoo(desk)
    for value in VALUES[field]:
        wanted = Filter(**{field: value})
        assert await shown(desk, wanted, limit) == [job.seq for job in reversed(jobs) if wanted.matches(job)]


CRAMPED = {
    "MOST_EFFORT": (listing,),
    "MOST_STEP": (listing,),
    "MOST_LOOKED": (listing, memory),
    "MOST_BLOCKS": (sources,),
    "MOST_LANES": (sources,),
}


@pytest.mark.parametrize("bound", CRAMPED)
@pytest.mark.parametrize("most", [1, 2])
async def test_short_pages_show_the_same(desk: Desk, bound: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little a page may look at: what it does not reach is on the next ones."""
    jobs = await zoo(desk)
    for module in CRAMPED[bound]:
        monkeypatch.setattr(module, bound, most)
    for field, values in VALUES.items():
        for value in values:
            wanted = Filter(**{"kind": "x", field: value})
            assert await shown(desk, wanted) == [job.seq for job in reversed(jobs) if wanted.matches(job)]


async def test_queued_jobs_of_many_lanes(desk: Desk) -> None:
    """In order of seq, though they wait in lanes by priority, and some were put back behind others."""
    for number in range(12):
        await desk.add(priority=number % 4, group=(None, None, "g")[number % 3])
    for job in await desk.claim(6):
        await desk.settle(job, Ending.RELEASED if job.seq % 2 else Ending.ERROR, retry_in=None)
    desk.clock.advance(10)
    await desk.ripen()
    await desk.cancel(await desk.add())
    await desk.retry((await desk.store.page(Filter(), None, 1)).jobs[0])
    wanted = Filter(status=frozenset({Status.QUEUED}))
    queued = [job for job in (await desk.store.page(Filter(), None, 99)).jobs if job.status is Status.QUEUED]
    assert len(queued) == 13
    for limit in (1, 2, 3, 4, 50):
        assert await shown(desk, wanted, limit) == [job.seq for job in queued]
        assert await shown(desk, replace_queue(wanted), limit) == [job.seq for job in queued]


def replace_queue(wanted: Filter) -> Filter:
    """The same in the queue that all are in."""
    return Filter(status=wanted.status, queue="default")


@pytest.mark.parametrize("most", [moments.MOST_SETBACKS, 3])
async def test_times_when_the_clock_was_set_back(desk: Desk, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range of times finds all that was made in it, however often the clock jumped."""
    monkeypatch.setattr(moments, "MOST_SETBACKS", most)
    jumps = [0, 10, 10, -25, 5, 5, 40, -60, 1, 0, 90, -1, 2]
    made = []
    for seconds in jumps:
        desk.clock.advance(seconds)
        made += [await desk.add(), await desk.add()]
    times = sorted({job.created_at for job in made})
    for after, before in itertools.product([None, *times], [None, *times]):
        wanted = Filter(created_after=after, created_before=before)
        assert await shown(desk, wanted, 50) == [job.seq for job in reversed(made) if wanted.matches(job)]


async def test_times_of_jobs_that_were_put_among_others(desk: Desk) -> None:
    """Not even the order of the numbers need be that of the commits."""
    seqs = [(500, 50), (100, 40), (300, 10), (200, 60), (400, 20), (600, 30), (50, 55)]
    made = [await desk.plant(planted(Status.DONE, seq=seq, created_at=EPOCH + at)) for seq, at in seqs]
    made.sort(key=lambda job: -job.seq)
    for after, before in itertools.product(range(0, 70, 10), repeat=2):
        wanted = Filter(created_after=EPOCH + after, created_before=EPOCH + before)
        assert await shown(desk, wanted) == [job.seq for job in made if wanted.matches(job)]


# -- payloads

FOUND = [
    ({"a": 1}, "a", 1),
    ({"a": 1}, "a", 1.0),
    ({"a": 1.0}, "a", 1),
    ({"a": 1e2}, "a", 100),
    ({"a": 0}, "a", -0.0),
    ({"a": "1"}, "a", "1"),
    ({"a": None}, "a", None),
    ({"a": True}, "a", True),
    ({"a": False}, "a", False),
    ({"a": ""}, "a", ""),
    ({"é\U0001f980": "ü"}, "é\U0001f980", "ü"),
    ({"a": 'a\x00b\n"\\'}, "a", 'a\x00b\n"\\'),
    ({"user": {"id": 7}}, "user.id", 7),
    ({"items": [{"sku": "x"}]}, "items.0.sku", "x"),
    ([[1, [2, 3]]], "0.1.0", 2),
    ([[1, [2, 3]]], "0.1", [2, 3]),
    ({"a": {"x": 1, "y": [True, {}]}}, "a", {"y": [True, {}], "x": 1.0}),
    ({"0": "name"}, "0", "name"),
    ({"00": 1}, "00", 1),
    ({"-1": 1}, "-1", 1),
    ({"a": 10**999}, "a", 10**999),
    ({"a": -(10**999)}, "a", -(10**999)),
    ({"a": 2**63}, "a", 2**63),
    ({"a": 0.1}, "a", 0.1),
    ({"a": 5e-324}, "a", 5e-324),
    ({"a": []}, "a", []),
    ({" a b ": 1}, " a b ", 1),
]
NOT_FOUND = [
    ({"a": 1}, "a", "1"),
    ({"a": "1"}, "a", 1),
    ({"a": 1}, "a", True),
    ({"a": True}, "a", 1),
    ({"a": True}, "a", "true"),
    ({"a": 0}, "a", False),
    ({"a": 0}, "a", None),
    ({"a": ""}, "a", None),
    ({"a": None}, "a", "null"),
    ({}, "a", None),
    (None, "a", None),
    ("text", "a", None),
    ("text", "0", "t"),
    ([1, 2], "2", None),
    ([1, 2], "-1", 2),
    ([1, 2], "01", 2),
    ([1, 2], "1.0", 2),
    ([1, 2], "length", 2),
    ([1, 2], "9" * 30, 2),
    ([1, 2], "\u0660", 1),
    ({"a": [1, 2]}, "a", [2, 1]),
    ({"a": [1]}, "a", [True]),
    ({"a": [1, 2]}, "a", [1]),
    ({"a": {"x": 1}}, "a", {"x": 1, "y": 2}),
    ({"a": {"x": 1, "y": 2}}, "a", {"x": 1}),
    ({"a": {"x": 1}}, "a", {"x": "1"}),
    ({"a": {"b": 1}}, "a.b.c", 1),
    ({"a.b": 1}, "a.b", 1),
    ({"A": 1}, "a", 1),
    ({"e\u0301": 1}, "é", 1),
    ({"a": 10**30}, "a", 10**30 + 1),
    ({"a": 2**53}, "a", 2**53 + 1),
    ({"a": 1e300}, "a", 10**300 + 1),
    ({"a": 0.1 + 0.2}, "a", 0.3),
]


@pytest.mark.parametrize("payload, path, value", FOUND)
async def test_what_a_payload_holds(desk: Desk, payload: Any, path: str, value: Any) -> None:
    """Values are compared as JSON: numbers by what they are worth, whatever their length and form."""
    await desk.add(payload=strictjson.dumps(payload))
    assert await shown(desk, Filter(payload=((tuple(path.split(".")), strictjson.dumps(value)),))) == [1]


@pytest.mark.parametrize("payload, path, value", NOT_FOUND)
async def test_what_a_payload_does_not_hold(desk: Desk, payload: Any, path: str, value: Any) -> None:
    """Neither is a string a number, nor true one, nor what is absent null; an index is a whole number from 0."""
    await desk.add(payload=strictjson.dumps(payload))
    assert await shown(desk, Filter(payload=((tuple(path.split(".")), strictjson.dumps(value)),))) == []


async def test_odd_names_and_depths(desk: Desk) -> None:
    """A name may hold anything, be empty too; a path may be as long as JSON is deep."""
    deep: Any = 1
    for _ in range(62):
        deep = [deep]
    await desk.add(payload=strictjson.dumps({"a.b": {"": {'"': 1}}, "deep": deep}))
    assert await shown(desk, Filter(payload=((("a.b", "", '"'), "1"), (("deep", *["0"] * 62), "1")))) == [1]
    assert await shown(desk, Filter(payload=((("a.b", "", '"'), "1"), (("deep", *["0"] * 61), "1")))) == []


async def test_all_paths_must_hold(desk: Desk) -> None:
    """Several are ANDed, also of the same place."""
    await desk.submit([draft(payload=strictjson.dumps({"a": a, "b": b})) for a in (1, 2) for b in (1, 2)])
    assert await shown(desk, Filter(payload=((("a",), "1"), (("b",), "2")))) == [2]
    assert await shown(desk, Filter(payload=((("a",), "1"), (("a",), "2")))) == []


async def test_a_page_looks_into_so_many_payloads(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it ends, with what it has found, and says where to go on; only payloads of the rest of the filter count."""
    for module in (memory, listing):
        monkeypatch.setattr(module, "MOST_LOOKED", 10)
    await desk.submit([draft("xy"[n % 2], payload=strictjson.dumps(n)) for n in range(50)])
    none = Filter(payload=(((), "-1"),))
    assert await desk.store.page(none, None, 5) == await desk.store.page(none, 51, 5)
    page = await desk.store.page(none, None, 5)
    assert (page.jobs, page.before) == ((), 41)
    page = await desk.store.page(Filter(payload=(((), "45"),)), None, 5)
    assert ([job.seq for job in page.jobs], page.before) == ([46], 41)
    matches = await desk.store.matching(Filter(kind="x", payload=none.payload), None, 5)
    assert (matches.ids, matches.before) == ((), 31)
    assert await shown(desk, Filter(payload=(((), "3"),))) == [4]


# -- while jobs come and go


async def test_pages_stay_right_while_jobs_come_and_go(desk: Desk) -> None:
    """What comes is on no later page, what changes stays in its place, what goes is missing and moves nothing."""
    jobs = list((await desk.submit([draft("k", queue="q", tags=("t",), group="g") for _ in range(12)])).jobs)
    wanted = Filter(kind="k", queue="q", tag="t", group="g")
    first = await desk.store.page(wanted, None, 4)
    await desk.submit([draft("k", queue="q", tags=("t",), group="g")] * 3)
    for job in jobs[4:8:2]:  # of the next page
        await desk.cancel(job)
    await desk.remove(jobs[6])
    second = await desk.store.page(wanted, first.before, 4)
    assert [job.seq for job in first.jobs + second.jobs] == [12, 11, 10, 9, 8, 6, 5, 4]
    await desk.retry(jobs[4])
    for job in jobs[:4]:
        await desk.cancel(job)
    await desk.remove(jobs[3])
    await desk.remove(jobs[0])
    third = await desk.store.page(wanted, second.before, 4)
    assert [job.seq for job in third.jobs] == [3, 2]
    assert third.before is None


async def test_a_job_moves_to_the_list_of_what_it_became(desk: Desk) -> None:
    """Each change is seen by the next page: a job is in the list of its present status and in no other."""

    async def where(job: Job) -> list[Status]:
        """The lists it is in, of all and of its queue."""
        found = [status for status in Status if job.seq in await shown(desk, Filter(status=frozenset({status})))]
        in_queue = [
            status
            for status in Status
            if job.seq in await shown(desk, Filter(status=frozenset({status}), queue="default"))
        ]
        assert found == in_queue
        return found

    await desk.submit([draft("other", queue="other")] * 3)
    job = await desk.add(delay=5, max_attempts=2)
    assert await where(job) == [Status.SCHEDULED]
    desk.clock.advance(6)
    await desk.ripen()
    assert await where(job) == [Status.QUEUED]
    (job,) = await desk.claim()
    assert await where(job) == [Status.RUNNING]
    await desk.settle(job, Ending.RELEASED)
    assert await where(job) == [Status.QUEUED]
    (job,) = await desk.claim()
    await desk.settle(job, Ending.ERROR)
    assert await where(job) == [Status.SCHEDULED]
    desk.clock.advance(6)
    await desk.ripen()
    (job,) = await desk.claim()
    await desk.settle(job, Ending.ERROR)
    assert await where(job) == [Status.FAILED]
    await desk.retry(job)
    assert await where(job) == [Status.QUEUED]
    await desk.cancel(job)
    assert await where(job) == [Status.CANCELLED]
    await desk.retry(job)
    (job,) = await desk.claim()
    await desk.settle(job)
    assert await where(job) == [Status.DONE]
    desk.clock.advance(DAY + 1)
    await desk.ripen()
    assert await where(job) == []


# -- what is large


async def test_a_slim_page_leaves_out_what_is_large(desk: Desk) -> None:
    """Payload, result and traceback; all else is as it is."""
    await desk.submit([draft(payload='{"a":1}', max_attempts=1, tags=("t",)) for _ in range(2)])
    done, failed = await desk.claim(2)
    await desk.settle(done, result='"result"')
    await desk.settle(failed, Ending.ERROR, error=Error("ValueError", 'no\x00 "good"', "Traceback"))
    slim = (await desk.store.page(Filter(), None, 9, wide=False)).jobs
    wide = (await desk.store.page(Filter(), None, 9)).jobs
    assert [(job.payload, job.result, job.error) for job in slim] == [
        ("null", None, Error("ValueError", 'no\x00 "good"')),
        ("null", None, None),
    ]
    assert [
        replace(job, payload='{"a":1}', result=whole.result, error=whole.error)
        for job, whole in zip(slim, wide, strict=True)
    ] == list(wide)
    assert await desk.store.page(Filter(payload=((("a",), "1"),)), None, 9, wide=False) == await desk.store.page(
        Filter(), None, 9, wide=False
    )
