"""What is done to schedules: put, paused, dropped, triggered; and which runs are shown."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.errors import Invalid, NotFound, QueueFull
from jobqueue.job import Status
from jobqueue.rules import scheduling
from jobqueue.rules.lifecycle import Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs
from tests.helpers import draft
from tests.unit.scheduling_kit import Bench, at, schedule

# -- trigger


def test_a_trigger_makes_a_job_now() -> None:
    """Whatever the overlap says of the last one, and also while the schedule is paused; its times stay as they are."""
    bench = Bench()
    bench.put(overlap="skip", paused=True)
    first, second = bench.trigger(3), bench.trigger(4)
    assert [job.id for job in bench.jobs()] == [first.id, second.id]
    assert (second.options.run_at, second.status, bench.now().next_at) == (None, Status.QUEUED, at(10))


def test_a_triggered_job_counts_as_the_last() -> None:
    """The next fire time skips while it has not ended."""
    bench = Bench()
    bench.put()
    bench.trigger(3)
    bench.fire(10)
    assert len(bench.jobs()) == 1


def test_a_trigger_that_is_refused_changes_nothing() -> None:
    """The caller hears why."""
    bench = Bench(max_queued=0)
    put, _ = bench.put()
    with pytest.raises(QueueFull):
        bench.trigger(3)
    assert bench.now() == put


def test_what_is_unknown_cannot_be_triggered_or_dropped() -> None:
    """NotFound."""
    bench = Bench()
    with pytest.raises(NotFound):
        bench.trigger(3)
    with pytest.raises(NotFound):
        bench.do(0, lambda table, _: scheduling.drop(table, "s"), Needs(schedules={"s"}))


# -- PUT


def test_a_new_schedule_first_fires_after_it_was_put() -> None:
    """An interval counts from there."""
    bench = Bench()
    kept, new = bench.put(at=3)
    assert new
    assert (kept.anchor, kept.next_at) == (at(3), at(13))


def test_the_same_put_twice_changes_nothing() -> None:
    """Neither its times nor its last job, and nothing is written."""
    bench = Bench()
    bench.put()
    bench.fire(10)
    before = bench.now()
    assert bench.put(at=15) == (before, False)
    assert bench.now() == before


def test_another_job_leaves_the_times_as_they_are() -> None:
    """As long as the recurrence stays, the schedule goes on."""
    bench = Bench()
    bench.put()
    bench.fire(10)
    last = bench.now().last_id
    kept, new = bench.put(at=15, draft=draft("other"), overlap="queue", catch_up="one")
    assert not new
    assert (kept.draft.kind, kept.next_at, kept.last_id) == ("other", at(20), last)


@pytest.mark.parametrize(
    "change, following",
    [({"every": 7.0}, 22), ({"cron": "* * * * *"}, 60), ({"timezone": "Europe/Berlin"}, 25)],
)
def test_another_recurrence_counts_from_now(change: dict[str, Any], following: float) -> None:
    """What was due before is not; the last job is remembered, for its overlap."""
    bench = Bench()
    bench.put()
    bench.fire(10)
    last = bench.now().last_id
    kept, _ = bench.put(at=15, **change)
    assert (kept.next_at, kept.last_id) == (at(following), last)


def test_going_on_never_fires_what_was_missed_while_paused() -> None:
    """The next fire time is the first after the pause, whatever catch_up says."""
    bench = Bench()
    bench.put(catch_up="one")
    bench.put(at=5, catch_up="one", paused=True)
    kept, _ = bench.put(at=35, catch_up="one")
    assert kept.next_at == at(40)
    bench.fire(39)
    assert bench.jobs() == []


def test_going_on_never_fires_what_has_fired() -> None:
    """Also where the clock was put back meanwhile."""
    bench = Bench()
    bench.put()
    bench.fire(30)
    bench.put(at=31, paused=True)
    kept, _ = bench.put(at=5)
    assert kept.next_at == at(40)


def test_as_many_schedules_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, with a pointer; those that are there may be changed."""
    monkeypatch.setattr(scheduling, "SCHEDULES_MOST", 2)
    bench = Bench()
    bench.put(name="a")
    bench.put(name="b")
    with pytest.raises(Invalid) as refused:
        bench.put(name="c")
    assert refused.value.faults[0].pointer == "/name"
    bench.put(name="a", every=5.0)
    bench.do(0, lambda table, _: scheduling.drop(table, "a"), Needs(schedules={"a"}))
    assert bench.put(name="c")[1]


def test_those_of_the_same_batch_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds within a commit too."""
    monkeypatch.setattr(scheduling, "SCHEDULES_MOST", 1)
    bench = Bench()

    def rule(table: Table, times: Times) -> None:
        scheduling.put(table, schedule(name="a"), times)
        scheduling.put(table, schedule(name="b"), times)

    with pytest.raises(Invalid):
        bench.do(0, rule, Needs(schedules={"a", "b"}))


# -- what is shown


def test_the_next_runs_are_five_from_the_next_fire_time_on() -> None:
    """Also where the clock was put back: then it waits longer."""
    bench = Bench()
    bench.put()
    bench.fire(10)
    for now in (10, 5):
        assert scheduling.next_runs(bench.now(), at(now)) == [at(20), at(30), at(40), at(50), at(60)]


def test_of_a_paused_schedule_are_shown_the_runs_if_it_went_on_now() -> None:
    """So one can see what going on would do."""
    bench = Bench()
    bench.put(paused=True)
    assert scheduling.next_runs(bench.now(), at(35)) == [at(40), at(50), at(60), at(70), at(80)]
