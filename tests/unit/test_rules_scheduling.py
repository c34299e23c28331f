"""What schedules do at a fire time: whether it makes a job, which job that is, and what becomes of the one before."""

from __future__ import annotations

import pytest

from jobqueue.job import Draft, Ending, Job, Reason, Status
from jobqueue.rules import scheduling
from jobqueue.rules.scheduling import Fired
from jobqueue.stores.contract import Needs
from tests.helpers import draft, run
from tests.unit.scheduling_kit import Bench, at, schedule

# -- which fire times make a job


@pytest.mark.parametrize(
    "catch_up, now, since, fired, following",
    [
        ("none", 9.9, 0, [], 10),  # nothing is due
        ("none", 10, 5, [10], 20),
        ("none", 12, 10, [10], 20),  # just as the last look was over
        ("none", 35, 9, [10, 20, 30], 40),  # the batch had to wait: each is on time
        ("none", 35, 21, [30], 40),  # two were missed
        ("none", 35, 35, [], 40),
        ("none", 40, 40, [40], 50),
        ("one", 35, 9, [10, 20, 30], 40),
        ("one", 35, 21, [10, 30], 40),  # one job for those that were missed, under the first of their times
        ("one", 35, 35, [10], 40),
        ("one", 40, 40, [10, 40], 50),
        ("one", 10, 10, [10], 20),
        ("one", 86_405, 86_400, [10, 86_400], 86_410),  # a day is passed in one step
        ("none", 86_405, 86_401, [], 86_410),
    ],
)
def test_what_was_watched_is_on_time_and_the_rest_was_missed(
    catch_up: str, now: float, since: float, fired: list[float], following: float
) -> None:
    """Each fire time since the clock is watched makes a job; older ones make none, or one for all of them."""
    bench = Bench()
    bench.put(overlap="queue", catch_up=catch_up)
    told = bench.fire(now, since)
    assert bench.fired() == fired
    assert (told.next_at, bench.now().next_at) == (at(following), at(following))


def test_a_fire_time_makes_one_job_however_often_it_is_asked_for() -> None:
    """The job and the next fire time are one commit, so who asks again finds the next one."""
    bench = Bench()
    bench.put(overlap="queue")
    for now in (10, 10, 11, 10):
        bench.fire(now)
    assert bench.fired() == [10]


def test_a_clock_that_is_put_back_fires_nothing_twice() -> None:
    """The next fire time only grows; it comes when the clock shows it again."""
    bench = Bench()
    bench.put(overlap="queue")
    bench.fire(30)
    assert bench.fire(5, since=0).next_at == at(40)
    bench.fire(39, since=5)
    assert bench.fired() == [10, 20, 30]
    bench.fire(40, since=39)
    assert bench.fired() == [10, 20, 30, 40]


def test_a_paused_schedule_does_not_fire() -> None:
    """Nor is it counted as the next to fire."""
    bench = Bench()
    bench.put(paused=True)
    assert bench.fire(100) == Fired(None, ())
    assert bench.jobs() == []


def test_the_earliest_fires_first_whatever_its_name() -> None:
    """What is due is gone through in order of time."""
    bench = Bench()
    bench.put(name="s", every=10.0, draft=draft("late"))
    bench.put(name="z", every=4.0, draft=draft("early"), overlap="queue")
    told = bench.fire(11)
    assert [job.kind for job in bench.jobs()] == ["early", "early", "late"]
    assert told.next_at == at(12)


def test_a_batch_is_bounded_and_the_rest_is_still_due() -> None:
    """So many fires at once never hold up a submission for long; whoever asks again goes on where it stopped."""
    bench = Bench()
    bench.put(every=1.0, overlap="queue")
    assert bench.fire(250).next_at == at(101)
    bench.fire(250)
    assert bench.fire(250).next_at == at(251)
    assert bench.fired() == [float(second) for second in range(1, 251)]


def test_large_jobs_make_small_batches() -> None:
    """At 4 MiB a batch ends; what comes after is due at once."""
    bench = Bench()
    large = Draft("noop", payload='"' + "x" * (1 << 20) + '"')
    for name in "abcdefg":
        bench.put(name=name, draft=large)
    assert bench.fire(10).next_at == at(10)
    assert len(bench.jobs()) == 4
    assert bench.fire(10).next_at == at(20)
    assert len(bench.jobs()) == 7


# -- the job


def test_the_job_is_the_submission_with_its_fire_time_as_run_at() -> None:
    """It is queued at once, for its time has come."""
    bench = Bench()
    bench.put(draft=draft("mail", queue="q", priority=3, group="g", payload="[1]", tags=("a",)))
    bench.fire(12)
    (job,) = bench.jobs()
    assert (job.kind, job.queue, job.priority, job.group, job.payload) == ("mail", "q", 3, "g", "[1]")
    assert (job.options.tags, job.options.run_at, job.status) == (("a",), at(10), Status.QUEUED)
    assert bench.now().last_id == job.id


def test_a_delay_counts_from_the_fire_time() -> None:
    """Not from the commit, which may come a little later."""
    bench = Bench()
    bench.put(draft=draft(delay=5))
    bench.fire(12)
    (job,) = bench.jobs()
    assert (job.options.run_at, job.status, job.next_attempt_at) == (at(15), Status.SCHEDULED, at(15))


# -- overlap


def occupied(overlap: str, state: str) -> tuple[Bench, Job]:
    """A schedule whose first job is as `state` says when the second fire time comes."""
    bench = Bench()
    bench.put(overlap=overlap, draft=draft(delay=90 if state == "SCHEDULED" else None))
    bench.fire(10)
    (job,) = bench.jobs()
    if state in ("RUNNING", "DONE"):
        (job,) = run(bench.desk.claim())
    if state == "DONE":
        run(bench.desk.settle(job))
    return bench, job


@pytest.mark.parametrize(
    "overlap, state, fired",
    [
        ("skip", "QUEUED", [10]),
        ("skip", "RUNNING", [10]),
        ("skip", "DONE", [10, 20]),
        ("queue", "QUEUED", [10, 20]),
        ("queue", "RUNNING", [10, 20]),
        ("queue", "DONE", [10, 20]),
        ("replace", "QUEUED", [10, 20]),
        ("replace", "RUNNING", [10, 20]),
        ("replace", "DONE", [10, 20]),
    ],
)
def test_overlap_says_what_becomes_of_a_fire_time_while_the_last_job_has_not_ended(
    overlap: str, state: str, fired: list[float]
) -> None:
    """skip: no job; queue, replace: one for each fire time. In any case the schedule goes on."""
    bench, _ = occupied(overlap, state)
    assert bench.fire(20).next_at == at(30)
    assert bench.fired() == fired


def test_a_delayed_job_has_not_ended_either() -> None:
    """Whatever holds it up, it is skipped for."""
    bench, _ = occupied("skip", "SCHEDULED")
    bench.fire(20)
    assert len(bench.jobs()) == 1


@pytest.mark.parametrize("state", ["QUEUED", "SCHEDULED"])
def test_replace_cancels_the_waiting_job(state: str) -> None:
    """It is CANCELLED `replaced` in the commit that makes the new one."""
    bench, first = occupied("replace", state)
    bench.fire(20)
    old, new = bench.jobs()
    assert (old.id, old.status, old.reason) == (first.id, Status.CANCELLED, Reason.REPLACED)
    assert bench.now().last_id == new.id


def test_replace_orders_the_running_job_to_stop() -> None:
    """It ends CANCELLED `replaced` when its work has ended; the new one waits beside it."""
    bench, first = occupied("replace", "RUNNING")
    bench.fire(20)
    old, new = bench.jobs()
    assert (old.status, old.cancel_requested_at, new.status) == (Status.RUNNING, at(20), Status.QUEUED)
    ended = run(bench.desk.settle(first, Ending.CANCELLED))
    assert (ended.status, ended.reason) == (Status.CANCELLED, Reason.REPLACED)


def test_replace_leaves_alone_what_has_ended_well() -> None:
    """A success that is reported first wins, as over any cancel."""
    bench, first = occupied("replace", "RUNNING")
    bench.fire(20)
    assert run(bench.desk.settle(first)).reason is None


def test_a_job_that_was_removed_overlaps_with_nothing() -> None:
    """The schedule outlives its jobs."""
    bench, first = occupied("skip", "DONE")
    run(bench.desk.remove(run(bench.desk.get(first))))
    bench.fire(20)
    assert bench.fired() == [20]


# -- a fire that makes no job


def test_an_error_drops_that_fire_time_and_no_other() -> None:
    """The schedule says why, tells the scheduler, and goes on; the next success clears it."""
    bench = Bench(max_queued=1)
    bench.put(overlap="queue")
    bench.fire(10)
    told = bench.fire(20)
    assert bench.fired() == [10]
    assert told.dropped == (("s", "queue default holds 1 waiting jobs of at most 1"),)
    assert bench.now().last_error == told.dropped[0][1]
    run(bench.desk.claim())
    assert bench.fire(30).dropped == ()
    assert (bench.fired(), bench.now().last_error) == ([10, 30], None)


def test_a_full_queue_keeps_the_job_that_would_be_replaced() -> None:
    """A running job is ordered to stop only where the new one was accepted."""
    bench = Bench(max_queued=1)
    bench.put(overlap="replace")
    bench.fire(10)
    run(bench.desk.claim())
    run(bench.desk.add())
    bench.fire(20)
    assert bench.jobs()[0].cancel_requested_at is None


def test_a_full_queue_has_room_for_what_replaces_its_last() -> None:
    """The waiting one leaves first."""
    bench = Bench(max_queued=1)
    bench.put(overlap="replace")
    bench.fire(10)
    assert bench.fire(20).dropped == ()
    assert [job.status for job in bench.jobs()] == [Status.CANCELLED, Status.QUEUED]


def test_a_zone_that_is_gone_stops_the_schedule_and_no_other() -> None:
    """As after an update of the time zones: it never fires again, and says why."""
    bench = Bench()
    lost = schedule(cron="* * * * * *", timezone="Europe/Atlantis", next_at=at(1))
    bench.do(0, lambda table, times: table.add_schedule(lost), Needs(schedules={"s"}))
    bench.put(name="other")
    assert bench.fire(10).next_at == at(20)
    assert len(bench.jobs()) == 1
    assert bench.now().next_at is None
    assert "timezone" in (bench.now().last_error or "")
    assert scheduling.next_runs(bench.now(), at(10)) == []
