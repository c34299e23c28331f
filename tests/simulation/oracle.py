"""The judge outside of the node. It hears of every move at the moment of its commit, of every handler and every answer.

`jobs` is what must be durable: it follows the commits, and `disk.audit` holds the medium against it after each life.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import trio

from jobqueue.clock import Micros
from jobqueue.job import AttemptRecord, Ending, Job, Reason, Status
from tests.simulation import endings
from tests.simulation.lanes import Lanes
from tests.simulation.plan import Plan
from tests.simulation.runs import Ledger, Run
from tests.simulation.world import Trace

SLACK_SECONDS = 3.0  # between the moment of an order, or of a job, and its effect
SLOW_SLACK_SECONDS = 100.0  # the same where commits take up to 10 s, and a spoiled batch one for each command
CRASHES_MOST = 3


class Host(Protocol):
    """What the oracle must know of a life of the program."""

    number: int
    draining: bool
    started_at: float


class Move(NamedTuple):
    """One change of one job, as a rule made it."""

    before: Job | None
    after: Job | None
    record: AttemptRecord | None


State = tuple[str, int, int]


class Oracle:
    """All that must hold. The first thing that does not is noted, and `stop` ends the run."""

    def __init__(self, plan: Plan, trace: Trace, now: Callable[[], Micros]) -> None:
        self._plan = plan
        self._trace = trace
        self._now = now
        self._slack = SLOW_SLACK_SECONDS if plan.has("slow") else SLACK_SECONDS
        self.stop: Callable[[], object] = lambda: None
        self.violations: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.history: dict[str, list[State]] = {}
        self.ledger = Ledger()
        self.lanes = Lanes()
        self.deaths: dict[int, str | None] = {}  # life -> the job that killed it, None: something outside
        self.retried: set[str] = set()
        self._spent: dict[str, int] = {}
        self._claims: dict[tuple[str, int], float] = {}  # when an attempt was claimed
        self._stops: dict[tuple[str, int], float] = {}  # when it was asked to end
        self._made: dict[str, list[str]] = {}
        self._expected: dict[str, int] = {}
        self._acknowledged: dict[str, tuple[str, ...]] = {}
        self._cancelled: set[str] = set()

    def blame(self, what: str) -> None:
        """Something that must hold does not."""
        self._trace("VIOLATION", what)
        self.violations.append(what)
        self.stop()

    def _check(self, fault: str | None) -> None:
        if fault is not None:
            self.blame(fault)

    # -- commits

    def committed(self, moves: Sequence[Move], host: Host) -> None:
        """A batch became durable."""
        for before, after, record in moves:
            if after is None:
                self.blame(f"{before and before.id} was removed")
                continue
            if before is None:
                self._accepted(after)
            elif before.status is Status.RUNNING and after.status is not Status.RUNNING:
                self._settled(before, after, record, host)
            elif after.status is Status.RUNNING and before.status is not Status.RUNNING:
                self._claimed(before, after, host)
            else:
                self._moved(before, after, host)
            if before is not None and _core(self.jobs[after.id]) != _core(before):
                self.blame(f"{after.id} was changed from {_core(before)}, but was {_core(self.jobs[after.id])}")
            self.jobs[after.id] = after
            self.history.setdefault(after.id, []).append(_state(after))
            self._trace("  ", after.id[-4:], before and before.status.name, "->", *_core(after), after.reason or "")

    def _accepted(self, job: Job) -> None:
        said = json.loads(job.payload)
        key = said if isinstance(said, str) else said["key"]
        made = self._made.setdefault(key, [])
        made.append(job.id)
        if key in self._expected and len(made) > self._expected[key]:
            self.blame(f"the key {key} made {len(made)} jobs instead of {self._expected[key]}")
        if job.status is Status.QUEUED:
            self._check(self.lanes.enter(job, kept=None))

    def _claimed(self, before: Job, after: Job, host: Host) -> None:
        self._check(self.lanes.claim(before))
        if after.epoch != before.epoch + 1 or after.attempt != before.attempt + 1:
            self.blame(f"a claim of {after.id} took it from {_core(before)} to {_core(after)}")
        self._claims[after.id, after.epoch] = trio.current_time()
        other = self.ledger.busy(host.number, after.worker)
        if other is not None:
            self.blame(f"{after.worker} got {after.id} while its {other.kind} {other.id} still ran")
        running = [job for job in self.jobs.values() if job.status is Status.RUNNING]
        if any(job.alone for job in running) or (after.alone and running):
            self.blame(f"{after.id} was started beside a suspect that should be alone")
        if before.suspect and not after.alone:
            self.blame(f"the suspect {after.id} was not started alone")
        if after.id in self._cancelled and after.id not in self.retried:
            self.blame(f"{after.id} was started after its cancel was answered")

    def _settled(self, before: Job, after: Job, record: AttemptRecord | None, host: Host) -> None:
        if record is None or (record.seq, record.epoch) != (before.seq, before.epoch):
            self.blame(f"{before.id} left RUNNING without a record of its attempt")
            return
        self._check(endings.fault(before, after, record, self._facts(before, host)))
        spent = self._spent.get(before.id, 0) + (record.ending not in (Ending.RELEASED, Ending.CRASHED))
        self._spent[before.id] = spent
        if after.attempt != spent or after.epoch != before.epoch:
            self.blame(f"{after.id} counts {after.attempt} tries, but {spent} were spent ({record.ending})")
        if before.cancel_requested_at is not None and after.status not in (Status.DONE, Status.CANCELLED):
            self.blame(f"{after.id} was asked to be cancelled, and became {after.status.name}")
        if after.status is Status.QUEUED:
            self._check(self.lanes.enter(after, kept=before.place))
        if after.status is Status.FAILED:
            self._check(endings.failure_fault(before, after, self._facts(before, host)))
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
        if (after.epoch, after.attempt) != (before.epoch, before.attempt) and after.id not in self.retried:
            self.blame(f"{after.id} went from {_core(before)} to {_core(after)} without a start")
        if after.status is Status.RUNNING:
            if after.cancel_requested_at is not None:
                self._stops.setdefault((after.id, after.epoch), trio.current_time())
            return
        if before.status is Status.QUEUED:
            self.lanes.leave(before)
        if after.status is Status.QUEUED:
            self._check(self.lanes.enter(after, kept=None))
            if before.status.ended and after.id not in self.retried:
                self.blame(f"{after.id} had ended, and is queued again though nobody asked for a retry")
            if before.status.ended:
                self._spent[after.id] = 0
            elif before.next_attempt_at is not None:
                self._check(self._moment_fault(before, host))
        if after.reason is Reason.EXPIRED and self._exact():
            late = (self._now() - (before.options.expires_at or 0)) / 1e6
            self._check(None if late >= 0 else f"{after.id} expired {-late} s too early")

    def _moment_fault(self, job: Job, host: Host) -> str | None:
        """Whether a scheduled job became due at its time."""
        if not self._exact() or job.next_attempt_at is None:
            return None
        late = (self._now() - job.next_attempt_at) / 1e6
        if late < 0:
            return f"{job.id} became due {-late} s too early"
        if min(late, trio.current_time() - host.started_at) > self._slack:
            return f"{job.id} became due {late} s too late"
        return None

    def _exact(self) -> bool:
        return not any(self._plan.has(fault) for fault in ("jump", "full", "busy"))

    # -- handlers

    def started(self, run: Run, host: Host, workers: int) -> None:
        """A handler is entered."""
        self._trace("   run", run.id[-4:], run.epoch, run.kind, run.worker)
        self._check(self.ledger.begin(run))
        job = self.jobs[run.id]
        current = job.status is Status.RUNNING and job.epoch == run.epoch
        given_back = host.draining and (run.id, run.epoch) in self._claims  # in the moment in which it was handed out
        if not (current or given_back):
            self.blame(f"attempt {run.epoch} of {run.id} runs, but its claim is not durable: {_core(job)}")
        if self.ledger.count(run.life) > workers:
            self.blame(f"{self.ledger.count(run.life)} handlers run on {workers} workers")

    def ended(self, run: Run) -> None:
        """A handler was left."""
        self._trace("   end", run.id[-4:], run.epoch, run.kind, run.how)
        if run.how == "killed" or not run.obedient:
            return
        lasted = trio.current_time() - run.started_at
        if lasted > run.timeout + self._slack:
            self.blame(f"{run.kind} {run.id} ran for {lasted} s; its timeout is {run.timeout} s")
        stop = self._stops.get((run.id, run.epoch))
        if stop is not None and trio.current_time() - stop > self._slack:
            self.blame(f"{run.kind} {run.id} ran on for {trio.current_time() - stop} s after its cancel")

    # -- answers

    def expect(self, key: str, count: int) -> None:
        """A client will submit `count` jobs under the key, maybe several times."""
        self._expected[key] = count

    def acknowledged(self, key: str, ids: Sequence[str]) -> None:
        """A submission was answered with these jobs."""
        self._trace("  ack", key, *(id[-4:] for id in ids))
        missing = [id for id in ids if id not in self.jobs]
        if missing:
            self.blame(f"{key} was answered with {missing[0]}, which is not durable")
        if self._acknowledged.setdefault(key, tuple(ids)) != tuple(ids):
            self.blame(f"{key} was answered with {self._acknowledged[key]}, then with {tuple(ids)}")
        if len(ids) != self._expected[key] or sorted(ids) != sorted(self._made.get(key, ())):
            self.blame(f"{key} was answered with {len(ids)} jobs, and made {self._made.get(key)}")

    def cancelled(self, id: str) -> None:
        """A cancel was answered with 200."""
        if "CANCELLED" not in [status for status, _, _ in self.history[id]]:
            self.blame(f"the cancel of {id} was answered 200, but it is {self.jobs[id].status.name}")
        if id not in self.retried:
            self._cancelled.add(id)

    def mark(self) -> Mapping[str, int]:
        """How many states each job has had, at the start of a request."""
        return {id: len(states) for id, states in self.history.items()}

    def shown(self, shown: Mapping[str, Any], since: Mapping[str, int]) -> None:
        """An answer shows a job: in a state that it had between the request and the answer, never an older one."""
        id = shown["id"]
        state = (shown["status"], shown["epoch"], shown["attempt"])
        states = self.history.get(id, [])[max(0, since.get(id, 0) - 1) :]
        if state not in states:
            self.blame(f"{id} was shown as {state}, but in that time it was {states}")

    # -- the end

    def unended(self) -> list[str]:
        """The jobs that have not ended."""
        return [id for id, job in self.jobs.items() if not job.status.ended]

    def finish(self) -> None:
        """What must hold when all is over."""
        for key, ids in self._acknowledged.items():
            lost = [id for id in ids if id not in self.jobs]
            if lost:
                self.blame(f"{key}: the acknowledged {lost[0]} was lost")
        for key, made in self._made.items():
            if len(made) != self._expected.get(key, 1):
                self.blame(f"{key} made {len(made)} jobs of {self._expected.get(key, 1)}: half a submission")
        for job in self.jobs.values():
            run = self.ledger.find(job.id, job.epoch)
            if job.status is Status.DONE and (run is None or run.how != "returned"):
                self.blame(f"{job.id} is DONE, but the handler of epoch {job.epoch} never returned")


def _core(job: Job) -> tuple[str, int, int, int, int]:
    return job.status.name, job.epoch, job.attempt, job.crashes, job.place


def _state(job: Job) -> State:
    return job.status.name, job.epoch, job.attempt
