"""GET /events: what happens to all jobs, from now on or from where the listener was."""

from __future__ import annotations

import pytest

from jobqueue.actors import ring
from tests.api.bench import Api, served
from tests.api.doors import NAMES
from tests.api.listening import listening

FIELDS = ("id", "queue", "kind", "status", "reason", "attempt", "at")


async def test_every_step_of_a_job_is_told(api: Api) -> None:
    """`event: job` with its fields; ids are the boot and a number that grows by one."""
    async with listening(api) as listener:
        job = await api.submit("mail.send", queue="parked")
        await api.act(job["id"], "cancel")
        queued, cancelled = await listener.events(2)
    assert (queued.name, cancelled.name) == ("job", "job")
    assert tuple(queued.data) == FIELDS
    assert queued.data == {
        "id": job["id"],
        "queue": "parked",
        "kind": "mail.send",
        "status": "QUEUED",
        "reason": None,
        "attempt": 0,
        "at": job["created_at"],
    }
    assert (cancelled.data["status"], cancelled.data["reason"]) == ("CANCELLED", "cancelled")
    boot, _, number = queued.id.rpartition("-")
    assert (boot, int(number)) == (api.server.events.ids.of(0)[:-2], 1)
    assert cancelled.id == f"{boot}-2"


async def test_the_work_of_a_job_is_told(api: Api) -> None:
    """RUNNING, `event: progress`, and its end."""
    async with listening(api) as listener:
        job = await api.running("chatty")
        queued, running, progress = await listener.events(3)
        api.bench.gate.set()
        done = await listener.event()
    assert [event.data["status"] for event in (queued, running, done)] == ["QUEUED", "RUNNING", "DONE"]
    assert progress.name == "progress"
    assert progress.data == {
        "id": job["id"],
        "queue": "default",
        "kind": "chatty",
        "attempt": 1,
        "percent": 50,
        "message": "half way",
        "data": {"step": 1},
        "at": running.data["at"],
    }


async def test_it_is_a_stream_of_events_that_nothing_on_the_way_may_keep(api: Api) -> None:
    """Headers: the type, no cache, no buffer of a proxy; no length, since it has no end."""
    async with listening(api) as listener:
        headers = listener.answer.headers
    assert listener.answer.status == 200
    shown = {name: headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")}
    assert shown == {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
    assert "content-length" not in headers
    assert "etag" not in headers


async def test_head_has_the_headers_and_ends(api: Api) -> None:
    """HEAD is answered at once, though GET never ends."""
    async with listening(api) as listener:
        headers = listener.answer.headers
    head = await api.ask("HEAD", "/events")
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**headers, "date": ""}


async def test_a_new_listener_hears_what_happens_from_now_on(api: Api) -> None:
    """Nothing of before; and everything since the head of the answer."""
    await api.park()
    async with listening(api) as listener:
        second = await api.park()
        assert (await listener.event()).data["id"] == second["id"]
        await listener.quiet()


async def test_a_comment_comes_every_15_s(front: Api) -> None:
    """So that nothing on the way thinks that the connection is dead; it takes the listener's place along."""
    async with listening(front, "/events?queue=other") as listener:
        assert listener.parser.comments == 1
        assert listener.parser.last_id.endswith("-0")
        await front.park()
        for count in (2, 3):
            await front.bench.advance(14.9)
            assert listener.parser.comments == count - 1
            await front.bench.advance(0.2)
            assert listener.parser.comments == count
        assert listener.parser.last_id.endswith("-1")
        assert not listener.parser.events


async def test_a_comment_comes_also_beside_events(front: Api) -> None:
    """Every 15 s, however much there is to tell."""
    async with listening(front) as listener:
        for _ in range(9):
            await front.park()
            await front.bench.advance(4)
        assert listener.parser.comments == 3
        assert len(listener.parser.events) == 9


# -- coming back


async def test_who_comes_back_goes_on_where_it_was(api: Api) -> None:
    """`Last-Event-ID` replays what was missed, and the stream goes on."""
    async with listening(api) as listener:
        jobs = [(await api.park())["id"] for _ in range(3)]
        first = await listener.event()
    jobs.append((await api.park())["id"])
    async with listening(api, last_event_id=first.id) as listener:
        missed = await listener.events(3)
        assert [event.data["id"] for event in missed] == jobs[1:]
        assert [event.number for event in missed] == [2, 3, 4]
        jobs.append((await api.park())["id"])
        assert (await listener.event()).data["id"] == jobs[-1]


async def test_who_came_before_anything_happened_goes_on_too(api: Api) -> None:
    """The place of a listener is known to it from the start, so nothing is missed that came while it was away."""
    async with listening(api, "/events?queue=parked") as listener:
        last = listener.parser.last_id
    job = await api.park()
    async with listening(api, "/events?queue=parked", last_event_id=last) as listener:
        assert (await listener.event()).data["id"] == job["id"]


@pytest.mark.parametrize("last", ["x", "0192f0c17e1a7cc398c4dc0c0c07398f-1", "0", "-", "\u00e9"])
async def test_an_unknown_id_is_a_gap(front: Api, last: str) -> None:
    """Of another life of the server, or none at all: first `gap`, then what there is."""
    job = await front.park()
    async with listening(front, last_event_id=last) as listener:
        gap, event = await listener.events(2)
        assert (gap.name, gap.data) == ("gap", {"missed": None})
        assert event.data["id"] == job["id"]


async def test_an_unknown_id_is_a_gap_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    async with listening(api, last_event_id="x-7") as listener:
        assert (await listener.event()).name == "gap"
        assert listener.answer.body.startswith(b"event: gap\n")


async def test_a_lost_id_is_a_gap(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring holds 10,000; here 10. What fell out of it is counted, the rest replayed."""
    assert ring.EVENTS_MOST == 10_000
    monkeypatch.setattr(ring, "EVENTS_MOST", 10)
    async with listening(front) as listener:
        await front.park()
        first = await listener.event()
    for _ in range(15):
        await front.park()
    async with listening(front, last_event_id=first.id) as listener:
        gap, *rest = await listener.events(11)
        assert (gap.name, gap.data) == ("gap", {"missed": 5})
        assert [event.number for event in rest] == list(range(7, 17))


# -- filters


@pytest.mark.parametrize(
    "query, told",
    [
        ("", ["a QUEUED", "a CANCELLED", "b QUEUED", "c QUEUED", "c CANCELLED"]),
        ("queue=one", ["a QUEUED", "a CANCELLED", "c QUEUED", "c CANCELLED"]),
        ("queue=one,two", ["a QUEUED", "a CANCELLED", "b QUEUED", "c QUEUED", "c CANCELLED"]),
        ("queue=one&queue=two&kind=b", ["b QUEUED"]),
        ("kind=a,b", ["a QUEUED", "a CANCELLED", "b QUEUED"]),
        ("status=CANCELLED", ["a CANCELLED", "c CANCELLED"]),
        ("status=CANCELLED,QUEUED&kind=c", ["c QUEUED", "c CANCELLED"]),
        ("status=CANCELLED&status=DONE&kind=c&queue=one", ["c CANCELLED"]),
        ("queue=other", []),
    ],
)
async def test_filters_say_what_is_told(front: Api, query: str, told: list[str]) -> None:
    """queue, kind and status, each of several by commas or repeats; all of them must fit. Also in what is replayed."""
    start = front.server.events.ids.of(0)
    async with listening(front, f"/events?{query}") as listener:
        a = await front.submit("a", queue="one")
        await front.act(a["id"], "cancel")
        await front.submit("b", queue="two")
        c = await front.submit("c", queue="one")
        await front.act(c["id"], "cancel")
        heard = await listener.events(len(told))
        await listener.quiet()
    assert [f"{event.data['kind']} {event.data['status']}" for event in heard] == told
    async with listening(front, f"/events?{query}", last_event_id=start) as listener:
        assert await listener.events(len(told)) == heard


@pytest.mark.parametrize(
    "query",
    [
        *("status=done", "status=", "status=DONE,", "status=RUNNING,X", "status=4"),
        *(
            "queue=",
            "queue=a%20b",
            "queue=a,,b",
            "queue=%00",
            f"queue={'x' * 65}",
            "kind=%0A",
            "kind=a%0A",
            "kind=%C3%A9",
        ),
        *("x=1", "limit=5", "queue=a&tag=b", "&", "queue", "%ff=1"),
        "queue=" + ",".join(f"q{number}" for number in range(101)),
    ],
)
async def test_a_bad_query_is_400(front: Api, query: str) -> None:
    """A bad filter value, an unknown filter, a malformed query; also for one job, whether it is there or not."""
    job = await front.park()
    for path in ("/events", f"/jobs/{job['id']}/events", "/jobs/01920000-0000-7000-8000-00000000ffff/events"):
        (await front.get(f"{path}?{query}")).problem(400, "bad-request")


async def test_a_bad_query_is_400_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    (await api.get("/events?status=X")).problem(400, "bad-request")


# -- bounds, and the end


@pytest.mark.parametrize("door", NAMES)
async def test_one_listener_too_many_is_turned_away(door: str) -> None:
    """503 overloaded with Retry-After, at once; here three of four connections may listen."""
    async with served(door, max_connections=4) as api:
        job = await api.park()
        async with listening(api), listening(api, "/events?queue=a"), listening(api):
            for path in ("/events", f"/jobs/{job['id']}/events"):
                answer = await api.get(path)
                answer.problem(503, "overloaded")
                assert answer.headers["retry-after"] == "5"
                assert (await api.ask("HEAD", path)).status == 503
            assert (await api.get("/jobs")).status == 200


async def test_a_listener_that_leaves_frees_its_seat(api: Api) -> None:
    """However it is connected; it is missed at the latest when it would have been told something."""
    taken = api.server.events._taken
    async with listening(api), listening(api):
        assert len(taken) == 2
    for _ in range(20):
        if not taken:
            break
        await api.bench.advance(0.25)  # the reaper's tick
        await api.park()
    assert not taken


async def test_the_stop_of_the_server_ends_the_stream_in_order(api: Api) -> None:
    """The last news is told, then the answer ends as a whole one; who comes then is told 503."""
    async with listening(api) as listener, listening(api, "/events?queue=other") as other:
        job = await api.park()
        await api.server.events.close()
        assert [event.data["id"] for event in await listener.rest()] == [job["id"]]
        assert await other.rest() == []
    (await api.get("/events")).problem(503, "draining")
    (await api.get(f"/jobs/{job['id']}/events")).problem(503, "draining")


async def test_listeners_hear_what_ends_while_the_server_drains(api: Api) -> None:
    """A drain takes nothing new; what is still running is told to its end."""
    job = await api.running()
    await api.drain()
    async with listening(api, f"/events?kind={job['kind']}") as listener:
        api.bench.gate.set()
        assert await listener.statuses(1) == ["DONE"]
