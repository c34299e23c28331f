"""GET /jobs/{id}/events: one job, from its present state to its end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.actors import ring
from jobqueue.stores.memory import MemoryStore
from tests.api.bench import Api, served
from tests.api.listening import listening

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"


def events_of(job: dict[str, Any]) -> str:
    return f"/jobs/{job['id']}/events"


async def test_it_starts_with_the_state_and_closes_after_the_end(api: Api) -> None:
    """The present state first, then what happens; with the end of the job the answer ends."""
    job = await api.running()
    async with listening(api, events_of(job)) as listener:
        now = await listener.event()
        assert (now.name, now.data["status"], now.data["attempt"]) == ("job", "RUNNING", 1)
        assert now.data["at"] == "2027-01-15T08:00:00.000000Z"
        await listener.quiet()
        api.bench.gate.set()
        assert [event.data["status"] for event in await listener.rest()] == ["DONE"]
        headers = listener.answer.headers
    assert (headers["content-type"], headers["cache-control"]) == ("text/event-stream", "no-store")
    assert headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    "kind, fields, state",
    [
        ("noop", {"queue": "parked"}, ("QUEUED", 0)),
        ("noop", {"delay": 60}, ("SCHEDULED", 0)),
        ("later", {}, ("SCHEDULED", 1)),
        ("slow", {}, ("RUNNING", 1)),
    ],
)
async def test_it_starts_with_whatever_the_state_is(
    front: Api, kind: str, fields: dict[str, Any], state: tuple[str, int]
) -> None:
    """Waiting, delayed, between two tries, running."""
    job = await front.submit(kind, **fields)
    await trio.testing.wait_all_tasks_blocked(0.01)
    async with listening(front, events_of(job)) as listener:
        data = (await listener.event()).data
        assert (data["status"], data["attempt"]) == state
        await listener.quiet()


@pytest.mark.parametrize("kind, end", [("echo", "DONE"), ("fatal", "FAILED")])
async def test_the_stream_of_an_ended_job_is_its_end(api: Api, kind: str, end: str) -> None:
    """Its present state, and that is all."""
    job = await api.done(kind)
    async with listening(api, events_of(job)) as listener:
        (event,) = await listener.rest()
    assert (event.data["status"], event.data["at"]) == (end, job["finished_at"])
    assert event.data["reason"] == job["reason"]


async def test_the_progress_of_a_running_job_is_part_of_its_state(api: Api) -> None:
    """Whoever comes late sees at once how far it is; and is told it once."""
    job = await api.running("chatty")
    async with listening(api, events_of(job)) as listener:
        running, progress = await listener.events(2)
        assert (running.data["status"], progress.name, progress.data["percent"]) == ("RUNNING", "progress", 50)
        await listener.quiet()
        api.bench.gate.set()
        assert [event.data["status"] for event in await listener.rest()] == ["DONE"]


async def test_a_life_is_told_to_its_end(front: Api) -> None:
    """A failed try is no end; other jobs are not told of."""
    job = await front.submit("later", delay=1)
    async with listening(front, events_of(job)) as listener:
        await front.done("echo")
        for seconds in (2, 8):
            await front.bench.advance(seconds)
        rest = await listener.rest()
    assert [event.data["status"] for event in rest] == [
        *("SCHEDULED", "QUEUED", "RUNNING"),
        *("SCHEDULED", "QUEUED", "RUNNING", "DONE"),
    ]
    assert {event.data["id"] for event in rest} == {job["id"]}


async def test_a_cancelled_job_is_told_of_as_an_end(front: Api) -> None:
    """Every end closes."""
    job = await front.park()
    async with listening(front, events_of(job)) as listener:
        await front.act(job["id"], "cancel")
        assert [event.data["status"] for event in await listener.rest()] == ["QUEUED", "CANCELLED"]


async def test_filters_hold_for_one_job_too(front: Api) -> None:
    """What is not wanted is left out, also the present state; the end closes all the same."""
    job = await front.running("chatty")
    done, other = events_of(job) + "?status=DONE", events_of(job) + "?queue=other"
    async with listening(front, done) as wanted, listening(front, other) as unwanted:
        front.bench.gate.set()
        assert [event.data["status"] for event in await wanted.rest()] == ["DONE"]
        assert await unwanted.rest() == []
        last = unwanted.parser.last_id
    assert (await front.get(other, last_event_id=last)).status == 204


async def test_head_has_the_headers_and_ends(api: Api) -> None:
    """Of a job that runs, and of one that has ended."""
    for job in (await api.park(), await api.done()):
        async with listening(api, events_of(job)) as listener:
            headers = listener.answer.headers
        head = await api.ask("HEAD", events_of(job))
        assert (head.status, head.body) == (200, b"")
        assert {**head.headers, "date": ""} == {**headers, "date": ""}


# -- coming back


async def test_who_has_seen_the_end_is_told_204(api: Api) -> None:
    """So that a browser, which comes back by itself, stops; for HEAD too."""
    job = await api.running()
    async with listening(api, events_of(job)) as listener:
        api.bench.gate.set()
        await listener.rest()
        last = listener.parser.last_id
    for method in ("GET", "HEAD"):
        answer = await api.ask(method, events_of(job), last_event_id=last)
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers


async def test_who_found_it_ended_is_told_204(front: Api) -> None:
    """The stream of an ended job is its end, so whoever read that comes back for nothing."""
    job = await front.done()
    async with listening(front, events_of(job)) as listener:
        await listener.rest()
    assert (await front.get(events_of(job), last_event_id=listener.parser.last_id)).status == 204


async def test_who_left_before_the_end_is_told_it(api: Api) -> None:
    """What was missed is replayed, from where the listener was; nothing is told twice. Then 204."""
    job = await api.running()
    async with listening(api, events_of(job)) as listener:
        first = await listener.event()
    api.bench.gate.set()
    await api.ended(job["id"])
    async with listening(api, events_of(job), last_event_id=first.id) as listener:
        assert [event.data["status"] for event in await listener.rest()] == ["DONE"]
    assert (await api.get(events_of(job), last_event_id=listener.parser.last_id)).status == 204


async def test_who_comes_back_while_it_runs_goes_on(api: Api) -> None:
    """With nothing missed, nothing is told until something happens."""
    job = await api.running()
    async with listening(api, events_of(job)) as listener:
        first = await listener.event()
    async with listening(api, events_of(job), last_event_id=first.id) as listener:
        await listener.quiet()
        api.bench.gate.set()
        assert [event.data["status"] for event in await listener.rest()] == ["DONE"]


async def test_who_comes_back_after_a_retry_goes_on(front: Api) -> None:
    """The end that was seen is no longer the end."""
    job = await front.done("fatal", queue="default")
    async with listening(front, events_of(job)) as listener:
        await listener.rest()
    await front.act(job["id"], "retry")
    assert (await front.ended(job["id"]))["status"] == "FAILED"
    async with listening(front, events_of(job), last_event_id=listener.parser.last_id) as listener:
        assert [event.data["status"] for event in await listener.rest()] == ["QUEUED", "RUNNING", "FAILED"]


async def test_after_a_gap_the_state_is_told_anew(api: Api) -> None:
    """An unknown id: what was missed cannot be told, but what is now can."""
    job = await api.running()
    async with listening(api, events_of(job), last_event_id="x-1") as listener:
        gap, now = await listener.events(2)
        assert (gap.name, gap.data, now.data["status"]) == ("gap", {"missed": None}, "RUNNING")
        api.bench.gate.set()
        assert [event.data["status"] for event in await listener.rest()] == ["DONE"]


async def test_an_end_that_was_missed_in_a_gap_closes(api: Api) -> None:
    """The listener of an earlier life of the server: gap, the end, and 204 the next time."""
    job = await api.done()
    async with listening(api, events_of(job), last_event_id="x-1") as listener:
        gap, end = await listener.rest()
    assert (gap.name, end.data["status"]) == ("gap", "DONE")
    assert (await api.get(events_of(job), last_event_id=listener.parser.last_id)).status == 204


async def test_a_job_whose_events_run_out_of_the_ring_is_looked_at(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """More happens at once than the ring holds, the end of the job among it: no listener waits for what is gone."""
    monkeypatch.setattr(ring, "EVENTS_MOST", 50)
    monkeypatch.setattr(ring, "SLACK", 0)
    job = await front.running()
    async with listening(front, events_of(job)) as listener, listening(front) as other:
        await listener.event()
        await front.park()  # told at once; all that follows within the tick is looked through together
        front.bench.gate.set()
        await front.ended(job["id"])
        await front.post("/jobs", [{"kind": "a", "queue": "parked"} for _ in range(100)])
        gap, *rest = await listener.rest()
        assert (gap.name, [event.data["status"] for event in rest]) == ("gap", ["DONE"])
        assert [event.name for event in await other.events(3)] == ["job", "gap", "job"]


# -- what is not there


@pytest.mark.parametrize("id", [UNKNOWN, "x", UNKNOWN[:-1], "%00"])
async def test_an_unknown_job_is_404(api: Api, id: str) -> None:
    """Unknown id: 404, whether its id could be one or not, and wherever the listener was."""
    (await api.get(f"/jobs/{id}/events")).problem(404, "not-found")
    (await api.get(f"/jobs/{id}/events", last_event_id="x-1")).problem(404, "not-found")
    assert (await api.ask("HEAD", f"/jobs/{id}/events")).status == 404


async def test_a_removed_job_is_410(api: Api) -> None:
    """Removed 410."""
    job = await api.done()
    await api.remove(job["id"])
    (await api.get(events_of(job))).problem(410, "removed")
    (await api.get(events_of(job), last_event_id="x-1")).problem(410, "removed")


async def test_an_id_is_matched_without_case(front: Api) -> None:
    """RFC 9562: upper case is read too."""
    job = await front.done()
    async with listening(front, f"/jobs/{job['id'].upper()}/events") as listener:
        assert len(await listener.rest()) == 1


# -- between the table and the ring


class Slow(MemoryStore):
    """A store whose commits and reads take a while, so that what is read may be ahead of what is told, or behind it."""

    async def get(self, *args: Any, **options: Any) -> Any:
        """As it is after a few rounds of the scheduler."""
        await rounds(3)
        found = await super().get(*args, **options)
        await rounds(3)
        return found

    async def apply(self, *args: Any) -> Any:
        """Committed long before it is known to be."""
        with trio.CancelScope(shield=True):
            await rounds(20)
            answer = await super().apply(*args)
            await rounds(20)
        return answer


async def rounds(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_nothing_is_missed_or_told_twice_wherever_the_listener_comes_in() -> None:
    """Listeners that come at every moment of a life: each is told the rest of it, step by step, from one step on."""
    life = ["QUEUED 0", "RUNNING 1", "SCHEDULED 1", "QUEUED 1", "RUNNING 2", "DONE 2"]
    heard: list[list[str]] = []
    async with served("front", store=Slow) as api:
        job = await api.submit("later")
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)

        async def listen() -> None:
            async with listening(api, events_of(job)) as listener:
                rest = await listener.rest()
            heard.append([f"{event.data['status']} {event.data['attempt']}" for event in rest])
            numbers = [event.number for event in rest]
            assert numbers == sorted(set(numbers))

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                for _ in range(60):
                    nursery.start_soon(listen)
                    await rounds(3)
                clock.jump(8)  # the next try is due
    assert len(heard) == 120
    assert [part for part in heard if part != life[len(life) - len(part) :]] == []
    assert {len(part) for part in heard} >= {1, 2, 4, 5}
