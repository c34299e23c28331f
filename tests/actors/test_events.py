"""What happens to jobs as it is told: every step that was committed and no other, in order, and never waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from jobqueue.actors import bulletin, events, herald, ring
from jobqueue.actors.events import Events
from jobqueue.actors.herald import Herald
from jobqueue.actors.ring import UNKNOWN, News, Wanted
from jobqueue.actors.state import StateActor
from jobqueue.actors.state_handle import State
from jobqueue.errors import Internal, Overloaded, StorageFull
from jobqueue.job import Ending, LogLine, Outcome, Progress, Status
from jobqueue.mailbox import Closed, Nudge, Orders, one_shot
from jobqueue.rules.admission import Want
from jobqueue.rules.lifecycle import Limits
from jobqueue.server import running
from jobqueue.wire.events import Step, present
from tests.actors.engine import Engine, Outside, nothing, raising
from tests.actors.kit import Call, add, claim, settle, settled
from tests.helpers import draft
from tests.unit.steps import Event, parsed

ALL = Wanted()
TICK = herald.TICK_SECONDS
DRAFTS = 30


class House:
    """A state actor, and a herald that tells of it."""

    def __init__(self, state: State, told: Events) -> None:
        self.state = state
        self.told = told

    async def heard(self, wanted: Wanted = ALL, after: int = 0) -> list[Event]:
        """All that there is."""
        found = []
        while not (news := await self.told.read(wanted, after)).nothing:
            found += parsed(news.piece)
            after = news.after
        return found

    async def steps(self, id: str) -> list[tuple[str, int]]:
        """What became of a job, and in which attempt."""
        return [(event.data["status"], event.data["attempt"]) for event in await self.heard() if event.data["id"] == id]


@asynccontextmanager
async def housed(engine: Engine, outside: Outside, connections: int = 2_000) -> AsyncIterator[House]:
    """Both at work."""
    actor = StateActor(engine, outside.world(), Limits(), Nudge())
    await actor.recover()
    teller = Herald(actor.bulletin, outside.boot_id, connections)
    async with running(actor) as state, running(teller) as told:
        yield House(state, told)


@pytest.fixture
async def house(engine: Engine, outside: Outside) -> AsyncIterator[House]:
    async with housed(engine, outside) as house:
        yield house


def told_of(news: News) -> list[tuple[str, str]]:
    """Names and statuses of the events in a piece."""
    return [(event.name, event.data.get("status", "")) for event in parsed(news.piece)]


# -- what is told


async def test_a_life_is_told_step_by_step(house: House) -> None:
    """Accepted, started, done: each when it was committed, with numbers that grow by one."""
    job = await add(house.state, "mail.send", queue="mail")
    await trio.sleep(1)
    (started,) = await claim(house.state, queue="mail")
    await trio.sleep(1)
    await settle(house.state, started)
    heard = await house.heard()
    assert [(event.number, event.data["status"], event.data["attempt"], event.data["at"][17:]) for event in heard] == [
        (1, "QUEUED", 0, "00.000000Z"),
        (2, "RUNNING", 1, "01.000000Z"),
        (3, "DONE", 1, "02.000000Z"),
    ]
    assert {(event.data["id"], event.data["queue"], event.data["kind"]) for event in heard} == {
        (job.id, "mail", "mail.send")
    }


async def test_what_was_queued_and_started_in_one_commit_was_both(
    engine: Engine, house: House, nursery: trio.Nursery
) -> None:
    """A busy server accepts and claims in one commit: no step of a life is left out."""
    engine.door = trio.Event()
    nursery.start_soon(add, house.state, "first")
    await settled()
    nursery.start_soon(claim, house.state, 2)
    await settled()
    second = Call(nursery, lambda: add(house.state, "second"))
    await settled()
    engine.door.set()
    job = await second.wait()
    await settled()
    assert len(engine.batches) == 2
    assert await house.steps(job.id) == [("QUEUED", 0), ("RUNNING", 1)]


async def test_a_job_that_is_given_back_and_started_in_one_commit_starts_anew(house: House) -> None:
    """The status is the same before and after; the start is another."""
    job = await add(house.state)
    (first,) = await claim(house.state)
    released = Outcome(first.id, first.epoch, Ending.RELEASED)
    await house.state.turn([released], [Want(("default",), ("w",))], [[Orders()]])
    assert await house.steps(job.id) == [("QUEUED", 0), ("RUNNING", 1), ("QUEUED", 0), ("RUNNING", 1)]


async def test_failures_retries_and_expiry_are_told(house: House) -> None:
    """Whatever changes a status: a failed try, the moment at which the next is due, the end of all tries, a retry."""
    job = await add(house.state, max_attempts=2)
    for _ in range(2):
        (started,) = await claim(house.state)
        await settle(house.state, started, ending=Ending.ERROR, retry_in=5)
        await trio.sleep(6)
    await house.state.retry(job.id)
    assert await house.steps(job.id) == [
        ("QUEUED", 0),
        ("RUNNING", 1),
        ("SCHEDULED", 1),
        ("QUEUED", 1),
        ("RUNNING", 2),
        ("FAILED", 2),
        ("QUEUED", 0),
    ]
    (failed,) = [event for event in await house.heard() if event.data["status"] == "FAILED"]
    assert failed.data["reason"] == "error"


async def test_a_cancel_is_told_when_it_is_done(house: House) -> None:
    """Asking a running job to end changes no status; that it was cancelled does. What waits is cancelled at once."""
    running, waiting = await add(house.state), await add(house.state, queue="other")
    (started,) = await claim(house.state)
    await house.state.cancel(running.id)
    assert await house.steps(running.id) == [("QUEUED", 0), ("RUNNING", 1)]
    await settle(house.state, started, ending=Ending.CANCELLED)
    assert (await house.steps(running.id))[-1] == ("CANCELLED", 1)
    await house.state.cancel(waiting.id)
    assert (await house.steps(waiting.id))[-1] == ("CANCELLED", 0)


async def test_progress_is_told_before_the_end_of_its_commit(
    engine: Engine, house: House, nursery: trio.Nursery
) -> None:
    """Reports are events of their own, in the order in which they came."""
    await add(house.state)
    (job,) = await claim(house.state)
    await house.state.report(job.id, job.epoch, Progress(10.0, "begun", '{"a":1}'), ())
    engine.door = trio.Event()
    nursery.start_soon(add, house.state)
    await settled()
    nursery.start_soon(house.state.report, job.id, job.epoch, Progress(90.0), (LogLine("info", "said"),))
    await settled()
    nursery.start_soon(settle, house.state, job)
    await settled()
    engine.door.set()
    await settled()
    heard = [event for event in await house.heard() if event.data["id"] == job.id][2:]
    assert [(event.name, event.data.get("percent")) for event in heard] == [
        ("progress", 10),
        ("progress", 90),
        ("job", None),
    ]
    assert len(engine.batches) == 5


async def test_what_changes_no_status_is_not_told(house: House) -> None:
    """Log lines, reports that came too late, commands that were refused."""
    await add(house.state)
    (job,) = await claim(house.state)
    await settle(house.state, job)
    last = await house.told.here()
    for late in (Progress(1.0), None):
        call = partial(house.state.report, job.id, job.epoch, late, (LogLine("info", "late"),))
        with pytest.raises(Exception, match="attempt"):
            await call()
    await settle(house.state, job)
    assert await house.told.here() == last


async def test_nothing_is_told_that_was_not_committed(engine: Engine, house: House, nursery: trio.Nursery) -> None:
    """Neither while a commit is under way nor after one that failed; with the answer the event is there."""
    engine.door = trio.Event()
    call = Call(nursery, lambda: add(house.state))
    await settled()
    assert await house.told.here() == 0
    engine.door.set()
    await call.wait()
    assert await house.told.here() == 1
    engine.fault = raising(StorageFull("full"))
    with pytest.raises(StorageFull):
        await add(house.state)
    engine.fault = nothing
    assert await house.told.here() == 1


# -- when it is told


async def test_who_waits_is_told_at_once_and_then_what_came_meanwhile(house: House, nursery: trio.Nursery) -> None:
    """The first news comes at once; what comes within the next 50 ms is told in one piece at their end."""
    first = Call(nursery, lambda: house.told.next(ALL, 0))
    await settled()
    await add(house.state)
    news = await first.wait()
    assert first.at == 0
    second = Call(nursery, lambda: house.told.next(ALL, news.after))
    for _ in range(DRAFTS):
        await trio.sleep(TICK / DRAFTS / 2)
        await add(house.state)
    assert len(parsed((await second.wait()).piece)) == DRAFTS
    assert second.at == pytest.approx(TICK)


async def test_only_whom_it_concerns_is_told(house: House, nursery: trio.Nursery) -> None:
    """By job, queue, kind and status; the others are told nothing, and know after 15 s that there was nothing."""
    mine = await add(house.state, "send", queue="mail")
    here = await house.told.here()
    yes = [
        ALL,
        Wanted(job=mine.id),
        Wanted(queues=frozenset({"mail", "other"})),
        Wanted(kinds=frozenset({"send"})),
        Wanted(statuses=frozenset({int(Status.RUNNING)})),
    ]
    no = [
        Wanted(job="other"),
        Wanted(queues=frozenset({"other"})),
        Wanted(kinds=frozenset({"other"})),
        Wanted(queues=frozenset({"mail"}), statuses=frozenset({int(Status.DONE)})),
    ]
    concerned, others = (
        [Call(nursery, partial(house.told.next, wanted, here)) for wanted in group] for group in (yes, no)
    )
    await settled()
    await claim(house.state, queue="mail")
    for call in concerned:
        assert told_of(await call.wait()) == [("job", "RUNNING")]
    assert not any(call.over for call in others)
    for call in others:
        assert await call.wait() == News(b"", here + 1)
        assert call.at == pytest.approx(events.SILENCE_SECONDS)


async def test_what_is_there_already_is_told_at_once(house: House) -> None:
    """Whoever comes back, or was handed a full piece, does not wait for news."""
    await house.state.submit([draft() for _ in range(1_000)])
    await trio.sleep(1)
    start = trio.current_time()
    count = after = 0
    while count < 1_000:
        news = await house.told.next(ALL, after)
        assert len(news.piece) < ring.PIECE_BYTES + 1_000
        count += len(parsed(news.piece))
        after = news.after
    assert trio.current_time() == start


async def test_a_thousand_are_told_in_turns(house: House, nursery: trio.Nursery) -> None:
    """Nobody else waits while a thousand are told: they are answered fifty at a time, the first of them first."""
    calls = [Call(nursery, lambda: house.told.next(ALL, 0)) for _ in range(1_000)]
    await settled()
    await add(house.state)
    answers = [await call.wait() for call in calls]
    assert len({id(news.piece) for news in answers}) == 1
    times = sorted(call.at or 0 for call in calls)
    assert times[0] == 0
    assert times[-1] < 0.5
    assert max(times.count(at) for at in set(times)) <= herald.ROUND_ANSWERS


async def test_those_who_left_take_nobodys_turn(house: House, nursery: trio.Nursery) -> None:
    """A listener that hung up is passed over."""
    calls = [Call(nursery, lambda: house.told.next(ALL, 0)) for _ in range(1_000)]
    await settled()
    for call in calls[:-1]:
        call.leave()
    await settled()
    await add(house.state)
    await calls[-1].wait()
    assert calls[-1].at == 0


async def test_one_that_knows_of_it_already_is_not_woken(house: House, nursery: trio.Nursery) -> None:
    """The stream of a job starts from its state, which may be ahead of what was looked through."""
    job = await add(house.state)
    waiting = Call(nursery, lambda: house.told.next(Wanted(job=job.id), 1))
    await trio.sleep(1)
    assert not waiting.over
    await claim(house.state)
    assert told_of(await waiting.wait()) == [("job", "RUNNING")]


# -- nobody is waited for


async def test_the_state_actor_does_not_wait_to_be_heard(
    engine: Engine, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody takes the bulletin down the server goes on; what had no room is a gap, and the rest is told."""
    monkeypatch.setattr(bulletin, "COMMITS", 5)
    actor = StateActor(engine, outside.world(), Limits(), Nudge())
    teller = Herald(actor.bulletin, outside.boot_id, 10)
    async with running(actor) as state:
        for _ in range(20):
            await add(state)
        async with running(teller) as told:
            house = House(state, told)
            assert [event.name for event in await house.heard()] == ["job"] * 5 + ["gap"]
            await add(state)
            assert [event.name for event in await house.heard(after=6)] == ["job"]


async def test_a_listener_of_a_job_hears_of_lost_events_though_nothing_follows(
    engine: Engine, outside: Outside, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Its end may be among them: it must not wait for other news to learn of that."""
    monkeypatch.setattr(bulletin, "COMMITS", 5)
    actor = StateActor(engine, outside.world(), Limits(), Nudge())
    teller = Herald(actor.bulletin, outside.boot_id, 10)
    async with running(actor) as state, running(teller) as told:
        call = Call(nursery, lambda: told.next(Wanted(job="any"), 0))
        await settled()
        for _ in range(20):  # within one tick
            await add(state)
        assert (await call.wait()).gap


async def test_who_reads_too_slowly_is_told_of_a_gap(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for a listener: one that comes back too late hears how many it missed, and goes on."""
    monkeypatch.setattr(ring, "EVENTS_MOST", 100)
    monkeypatch.setattr(ring, "SLACK", 0)
    await add(house.state)
    news = await house.told.next(ALL, 0)
    await house.state.submit([draft() for _ in range(150)])
    await trio.sleep(1)
    told = await house.told.next(ALL, news.after)
    (gap,) = parsed(told.piece)
    assert (told.gap, gap.name, gap.data) == (True, "gap", {"missed": 50})
    assert parsed((await house.told.next(ALL, told.after)).piece)[0].number == 52


async def test_who_waits_while_the_ring_runs_over_is_told_of_a_gap(
    house: House, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """More events than the ring holds between two looks: also those are told whom nothing of the rest concerns."""
    monkeypatch.setattr(ring, "EVENTS_MOST", 100)
    monkeypatch.setattr(ring, "SLACK", 0)
    calls = [Call(nursery, partial(house.told.next, Wanted(job=job), 0)) for job in ("a", "b")]
    await settled()
    await house.state.submit([draft() for _ in range(150)])
    for call in calls:
        assert (await call.wait()).gap


async def test_a_listener_that_waits_long_has_missed_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Far more than the ring holds may pass while nothing of it concerns a listener: that is no gap."""
    monkeypatch.setattr(ring, "EVENTS_MOST", 100)
    monkeypatch.setattr(ring, "SLACK", 0)
    job = await add(house.state, queue="mine")
    await trio.sleep(1)
    waiting = Call(nursery, lambda: house.told.next(Wanted(job=job.id), 1))
    for _ in range(10):
        await house.state.submit([draft() for _ in range(50)])
        await trio.sleep(1)
    await claim(house.state, queue="mine")
    assert told_of(await waiting.wait()) == [("job", "RUNNING")]


# -- the table and the ring


async def test_what_the_table_showed_is_no_news(house: House) -> None:
    """From a place in the ring, and what the table showed later: where to go on."""
    job = await add(house.state)
    here = await house.told.here()
    (started,) = await claim(house.state)
    await house.state.report(job.id, 1, Progress(5.0), ())
    await settle(house.state, started)
    assert await house.told.told(here, present(started)) == here + 1
    seen = [*present(started), *_reports(started.id)]
    assert await house.told.told(here, seen) == here + 2
    assert await house.told.told(here, present(job)) == here


def _reports(id: str) -> Sequence[Step]:
    return [Step(id, "default", "noop", int(Status.RUNNING), None, 1, 0, Progress(5.0))]


# -- seats, and the end


async def test_there_are_so_many_seats(engine: Engine, outside: Outside) -> None:
    """Listeners are bounded, at three quarters of the connections; one that leaves, or is forgotten, frees its seat."""
    async with housed(engine, outside, connections=4) as house:
        seats = [house.told.seat() for _ in range(3)]
        with pytest.raises(Overloaded) as refused:
            house.told.seat()
        assert refused.value.headers == (("retry-after", "5"),)
        with seats.pop():
            pass
        seats.append(house.told.seat())
        del seats[0]
        house.told.seat()


async def test_a_thousand_may_listen_by_default(house: House) -> None:
    """At least 1,000 with the default of 2,000 connections, and not all of those."""
    seats = [house.told.seat() for _ in range(1_500)]
    assert len(seats) == 1_500
    with pytest.raises(Overloaded):
        house.told.seat()


async def test_a_new_listener_is_shed_when_the_inbox_is_full(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 5: at once, and only those who are new."""
    while house.told._address.post(_unanswered()):
        pass
    with pytest.raises(Overloaded):
        await house.told.here()
    await settled()
    assert await house.told.here() == 0


def _unanswered() -> Any:
    reply, _ = one_shot()
    return events.Here(reply)


async def test_at_the_close_all_are_told_what_is_left(house: House, nursery: trio.Nursery) -> None:
    """Whoever waits hears the last news, or that there will be none; whoever reads on gets to the end first."""
    listening = [Call(nursery, lambda: house.told.next(ALL, 0))]
    await settled()
    await add(house.state)
    news = await listening[0].wait()
    listening = [Call(nursery, partial(house.told.next, ALL, news.after)) for _ in range(200)]
    idle = Call(nursery, lambda: house.told.next(Wanted(job="x"), 1))
    await settled()
    await add(house.state)
    await house.told.close()
    at = trio.current_time()
    for call in listening:
        assert told_of(await call.wait()) == [("job", "QUEUED")]
    with pytest.raises(Closed):
        await idle.wait()
    assert told_of(await house.told.next(ALL, 0)) == [("job", "QUEUED")] * 2
    for ask in (partial(house.told.next, ALL, 2), house.told.here, partial(house.told.read, ALL, 0)):
        with pytest.raises(Closed):
            await ask()
    await house.told.close()
    assert trio.current_time() == at


async def test_whoever_waits_when_the_herald_ends_is_let_go(
    engine: Engine, outside: Outside, nursery: trio.Nursery
) -> None:
    """No ask is left without an answer."""
    async with housed(engine, outside) as house:
        call = Call(nursery, lambda: house.told.next(ALL, 0))
        await settled()
    with pytest.raises(Closed):
        await call.wait()


async def test_a_fault_costs_one_answer(house: House, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    """A bug in the telling is logged, and fails who asked; the others and the server go on."""
    waiting = Call(nursery, lambda: house.told.next(ALL, UNKNOWN + 1))
    await settled()
    with monkeypatch.context() as patch:
        patch.setattr(ring, "event", raising(ZeroDivisionError("a bug")))
        await add(house.state)
        with pytest.raises(Internal):
            await waiting.wait()
        with pytest.raises(Internal):
            await house.told.read(ALL, 0)
    assert len(await house.heard()) == 1
