"""The judge outside of the node. It hears of every move at the moment of its commit, of every handler and every answer.

`jobs` is what must be durable: it follows the commits, and `disk.audit` holds the medium against it after each life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import trio

from jobqueue.clock import SECOND, Micros, micros
from jobqueue.job import AttemptRecord, Ending, Job, Reason, Status
from tests.simulation import endings
from tests.simulation.answers import Answers, key_of
from tests.simulation.book import GONE, Configured, Deed, Host, Move, Planned, core, state
from tests.simulation.bounds import WAITING, Bounds
from tests.simulation.keys import Keys
from tests.simulation.lanes import Lanes
from tests.simulation.plan import Plan
from tests.simulation.requests import Requests
from tests.simulation.runs import Ledger, Run
from tests.simulation.stream import Stream
from tests.simulation.ties import Ties
from tests.simulation.timetable import Facts, Timetable
from tests.simulation.world import Trace

CRASHES_MOST = 3
RETENTION_SECONDS = {Status.DONE: 86_400, Status.FAILED: 604_800, Status.CANCELLED: 604_800}


class Oracle(Answers):
    """All that must hold."""

    def __init__(self, plan: Plan, trace: Trace, now: Callable[[], Micros]) -> None:
        super().__init__(plan, trace, now)
        self.begin()
        self.ledger = Ledger()
        self.lanes = Lanes()
        self.keys = Keys()
        self.ties = Ties()
        self.bounds = Bounds()
        self.timetable = Timetable()
        self.stream = Stream()
        self.requests = Requests()
        self.deaths: dict[int, str | None] = {}  # life -> the job that killed it, None: something outside
        self._held: Counter[str] = Counter()  # how many jobs of a queue waited before this commit
        self._spent: dict[str, int] = {}
        self._claims: dict[tuple[str, int], float] = {}  # when an attempt was claimed
        self._stops: dict[tuple[str, int], float] = {}  # when it was asked to end

    # -- commits

    def committed(self, deeds: Sequence[Deed], host: Host) -> None:
        """A batch became durable."""
        self.tick += 1
        self._held = Counter(job.queue for job in self.jobs.values() if job.status in WAITING)
        for deed in deeds:
            match deed:
                case Configured(queue):
                    self.trace("  ", "queue", queue)
                    self.bounds.configured(queue, self.tick)
                    self.lanes.reshare(queue.name)
                case Planned(name, schedule):
                    self.trace("  ", "schedule", name, schedule and schedule.next_at)
                    self.check(self.timetable.planned(name, schedule, self.jobs, self.tick, self._moment(host)))
                case Move(before, None):
                    assert before is not None
                    self._removed(before)
                case Move(before, after, record):
                    assert after is not None
                    self._changed(before, after, record, host)
        self.check(self.keys.settle(self.jobs, self.tick))
        self.check(self.timetable.settle())
        self.stream.committed(deeds, host.number)
        if self.plan.uses("queues"):
            self.count([_queue(deed) for deed in deeds if not isinstance(deed, Planned)])

    def _moment(self, host: Host) -> Facts:
        now = self.now()
        begun = now - micros(trio.current_time() - host.started_at)
        return Facts(now, begun, min(host.up_at, now), self.slack, exact=self.exact())

    def _changed(self, before: Job | None, after: Job, record: AttemptRecord | None, host: Host) -> None:
        self.keys.moved(before, after)
        self.check(self.ties.moved(before, after))
        if before is not None and before.status not in WAITING and after.status in WAITING:
            self._held[after.queue] += 1  # a retry, or what was given back: taken in whatever the queue holds
        if before is None:
            self._accepted(after)
        elif before.status is Status.RUNNING and after.status is not Status.RUNNING:
            self._settled(before, after, record, host)
        elif after.status is Status.RUNNING and before.status is not Status.RUNNING:
            self._claimed(before, after, host)
        else:
            self._moved(before, after, host)
        if before is not None and core(self.jobs[after.id]) != core(before):
            self.blame(f"{after.id} was changed from {core(before)}, but was {core(self.jobs[after.id])}")
        self.jobs[after.id] = after
        self.history.setdefault(after.id, []).append(state(after))
        self.trace("  ", after.id[-4:], before and before.status.name, "->", *core(after), after.reason or "")
        if before is None:
            self.check(self.bounds.accepted(after, self.jobs, self.plan.max_queued, self._held[after.queue]))

    def _accepted(self, job: Job) -> None:
        self.submitted(job)
        self.timetable.accepted(key_of(job), job)
        if job.status is Status.QUEUED:
            self.check(self.lanes.enter(job, kept=None))

    def _removed(self, job: Job) -> None:
        """A job is no more: somebody asked for that, or its time was over."""
        self.trace("  ", job.id[-4:], job.status.name, "removed")
        self.keys.moved(job, None)
        if not job.status.ended or core(self.jobs[job.id]) != core(job):
            self.blame(f"{job.id} was removed as {core(job)}, but was {core(self.jobs[job.id])}")
        self.check(self.ties.removed(job, self.jobs))
        if not self.requests.explain("delete", job):
            seconds = self._retention(job, shortest=True)
            if self.now() < (job.finished_at or 0) + round(seconds * SECOND):
                self.blame(f"{job.id} was removed before its time, and nobody asked for it")
        self.removed[job.id] = self.jobs.pop(job.id)
        self.history[job.id].append(GONE)

    def _retention(self, job: Job, *, shortest: bool) -> float:
        said = self.bounds.retention(job, shortest=shortest)
        return RETENTION_SECONDS[job.status] if said is None else said

    def _claimed(self, before: Job, after: Job, host: Host) -> None:
        timed = not self.plan.has("jump")
        self.check(
            self.lanes.claim(
                before,
                lambda lane: self.bounds.closed(lane, self.jobs, after.started_at or 0, timed=timed),
                self.bounds.weight,
            )
        )
        self.check(self.bounds.started(after, self.jobs, timed=timed))
        if after.epoch != before.epoch + 1 or after.attempt != before.attempt + 1:
            self.blame(f"a claim of {after.id} took it from {core(before)} to {core(after)}")
        self._claims[after.id, after.epoch] = trio.current_time()
        other = self.ledger.busy(host.number, after.worker)
        if other is not None:
            self.blame(f"{after.worker} got {after.id} while its {other.kind} {other.id} still ran")
        running = [job for job in self.jobs.values() if job.status is Status.RUNNING]
        if any(job.alone for job in running) or (after.alone and running):
            self.blame(f"{after.id} was started beside a suspect that should be alone")
        if before.suspect and not after.alone:
            self.blame(f"the suspect {after.id} was not started alone")
        self.check(self.wrongly_started(after))

    def _settled(self, before: Job, after: Job, record: AttemptRecord | None, host: Host) -> None:
        if record is None or (record.seq, record.epoch) != (before.seq, before.epoch):
            self.blame(f"{before.id} left RUNNING without a record of its attempt")
            return
        self.check(endings.fault(before, after, record, self._facts(before, host)))
        spent = self._spent.get(before.id, 0) + (record.ending not in (Ending.RELEASED, Ending.CRASHED))
        self._spent[before.id] = spent
        if after.attempt != spent or after.epoch != before.epoch:
            self.blame(f"{after.id} counts {after.attempt} tries, but {spent} were spent ({record.ending})")
        if before.cancel_requested_at is not None and after.status not in (Status.DONE, Status.CANCELLED):
            self.blame(f"{after.id} was asked to be cancelled, and became {after.status.name}")
        if after.status is Status.QUEUED:
            self.check(self.lanes.enter(after, kept=before.place))
        if after.status is Status.FAILED:
            self.check(endings.failure_fault(before, after, self._facts(before, host)))
        if record.ending is Ending.CRASHED and not (after.crashes == before.crashes + 1 <= CRASHES_MOST + 9):
            self.blame(f"{after.id} counts {after.crashes} crashes after {before.crashes}")

    def _facts(self, job: Job, host: Host) -> endings.Facts:
        """What is known about the attempt besides what the program says."""
        life = int((job.boot_id or "-0").rpartition("-")[2])
        return endings.Facts(
            run=self.ledger.find(job.id, job.epoch),
            lasted=trio.current_time() - self._claims[job.id, job.epoch],
            draining=host.draining,
            died=life != host.number,
            killer=self.deaths.get(life),
        )

    def _moved(self, before: Job, after: Job, host: Host) -> None:
        """A move by a command or by time."""
        self._asked_for(before, after)
        if (after.epoch, after.attempt) != (before.epoch, before.attempt) and after.id not in self.retried:
            self.blame(f"{after.id} went from {core(before)} to {core(after)} without a start")
        if after.status is Status.RUNNING:
            if after.cancel_requested_at is not None:
                self._stops.setdefault((after.id, after.epoch), trio.current_time())
            return
        if before.status is Status.QUEUED:
            self.lanes.leave(before)
        if after.status is Status.QUEUED:
            self.check(self.lanes.enter(after, kept=before.place if before.status is Status.QUEUED else None))
            if before.status.ended:
                self._spent[after.id] = 0
            elif before.next_attempt_at is not None and not self.requests.explain("amend", before):
                self.check(self._moment_fault(before, host))
        if after.reason is Reason.EXPIRED and self.exact():
            late = (self.now() - (before.options.expires_at or 0)) / 1e6
            self.check(None if late >= 0 else f"{after.id} expired {-late} s too early")

    def _asked_for(self, before: Job, after: Job) -> None:
        """What only a command does to a job must have been asked for."""
        if before.status.ended and not after.status.ended:
            if not self.requests.explain("retry", before):
                self.blame(f"{after.id} had ended, and is {after.status.name} again though nobody asked for a retry")
            self.retried.add(after.id)
        cancelled = after.status is Status.CANCELLED and after.reason is Reason.CANCELLED and not before.status.ended
        asked = after.cancel_requested_at is not None and before.cancel_requested_at is None
        if self.timetable.replaced(key_of(before), before, after):
            return
        if (cancelled or asked) and after.reason is not Reason.REPLACED and not self.requests.explain("cancel", before):
            self.blame(f"{after.id} was cancelled as {core(before)}, and nobody asked for that")
        self.keys.reason_fault(before, after)
        said = ("priority", "max_attempts", "expires_at")
        changed = [name for name in said if _said(before, name) != _said(after, name)]
        if changed and not before.status.ended and not self.requests.explain("amend", before):
            self.blame(f"{after.id}: {changed} changed, and nobody asked for that")

    def _moment_fault(self, job: Job, host: Host) -> str | None:
        """Whether a scheduled job became due at its time."""
        if not self.exact() or job.next_attempt_at is None:
            return None
        late = (self.now() - job.next_attempt_at) / 1e6
        if late < 0:
            return f"{job.id} became due {-late} s too early"
        if min(late, trio.current_time() - host.started_at) > self.slack:
            return f"{job.id} became due {late} s too late"
        return None

    # -- handlers

    def started(self, run: Run, host: Host, workers: int) -> None:
        """A handler is entered."""
        self.trace("   run", run.id[-4:], run.epoch, run.kind, run.worker)
        self.check(self.ledger.begin(run))
        job = self.any_job(run.id)
        assert job is not None
        current = job.status is Status.RUNNING and job.epoch == run.epoch
        given_back = host.draining and (run.id, run.epoch) in self._claims  # in the moment in which it was handed out
        if not (current or given_back):
            self.blame(f"attempt {run.epoch} of {run.id} runs, but its claim is not durable: {core(job)}")
        if self.ledger.count(run.life) > workers:
            self.blame(f"{self.ledger.count(run.life)} handlers run on {workers} workers")

    def ended(self, run: Run) -> None:
        """A handler was left."""
        self.trace("   end", run.id[-4:], run.epoch, run.kind, run.how)
        if run.how == "killed" or not run.obedient:
            return
        lasted = trio.current_time() - run.started_at
        if lasted > run.timeout + self.slack:
            self.blame(f"{run.kind} {run.id} ran for {lasted} s; its timeout is {run.timeout} s")
        stop = self._stops.get((run.id, run.epoch))
        if stop is not None and trio.current_time() - stop > self.slack:
            self.blame(f"{run.kind} {run.id} ran on for {trio.current_time() - stop} s after its cancel")

    # -- the end

    def finish(self) -> None:
        """What must hold when all is over."""
        self.finish_answers()
        for job in (*self.jobs.values(), *self.removed.values()):
            run = self.ledger.find(job.id, job.epoch)
            if job.status is Status.DONE and (run is None or run.how != "returned"):
                self.blame(f"{job.id} is DONE, but the handler of epoch {job.epoch} never returned")


def _said(job: Job, name: str) -> object:
    return job.priority if name == "priority" else getattr(job.options, name)


def _queue(deed: Move | Configured) -> str:
    if isinstance(deed, Configured):
        return deed.queue.name
    job = deed.after or deed.before
    assert job is not None
    return job.queue
