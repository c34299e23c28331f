"""Whatever comes, ends and is changed in whatever order: no cap is exceeded, and nothing that may start waits."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jobqueue.clock import Micros, micros
from jobqueue.job import Ending, Job, Status
from jobqueue.queue import Caps, Rate
from jobqueue.rules.admission import ALL_QUEUES, Want
from tests.helpers import draft, memory, run

QUEUES = ("default", "other")
GROUPS = (None, "a", "b", "c")
CAPS = st.builds(
    Caps,
    st.none() | st.integers(1, 4),
    st.none() | st.builds(Rate, st.integers(1, 4), st.sampled_from([1.0, 5.0])),
)
ENDINGS = st.sampled_from([Ending.DONE, Ending.ERROR, Ending.RELEASED, Ending.CRASHED])
SLACK = 1.03  # a rate is reached to within a fiftieth, and slots begin at whole multiples


class Capped(RuleBasedStateMachine):
    """The rules beside the plainest account of what runs and of what has started when."""

    @initialize()
    def begin(self) -> None:
        """An empty table, caps in one queue."""
        self.desk = memory()
        self.running: list[Job] = []
        self.starts: list[tuple[str, str | None, Micros]] = []
        self.caps: dict[str, tuple[Caps, Caps, int]] = {}  # of the queue, of each group, and after how many starts
        self.paused: set[str] = set()

    @rule(queue=st.sampled_from(QUEUES), group=st.sampled_from(GROUPS), priority=st.sampled_from([0, 5]))
    def submit(self, queue: str, group: str | None, priority: int) -> None:
        """Three jobs of one lane."""
        run(self.desk.submit([draft(queue=queue, group=group, priority=priority, max_attempts=99)] * 3))

    @rule(queue=st.sampled_from(QUEUES), caps=CAPS, group=CAPS, paused=st.booleans())
    def configure(self, queue: str, caps: Caps, group: Caps, paused: bool) -> None:  # noqa: FBT001 - a case's parameter
        """Other settings, in the midst of it."""
        run(self.desk.configure(queue, caps=caps, group=group, paused=paused))
        self.caps[queue] = caps, group, len(self.starts)
        (self.paused.add if paused else self.paused.discard)(queue)

    @rule(most=st.integers(1, 9), queues=st.sampled_from([("default",), ("other",), QUEUES, ALL_QUEUES]))
    def claim(self, most: int, queues: tuple[str, ...]) -> None:
        """Takers come."""
        self._claim(most, queues)

    @rule(which=st.integers(0, 99), ending=ENDINGS)
    def end(self, which: int, ending: Ending) -> None:
        """An attempt ends."""
        if self.running:
            run(self.desk.settle(self.running.pop(which % len(self.running)), ending))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.2, 400.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.desk.clock.advance(seconds)
        run(self.desk.ripen())

    @rule()
    def enough_takers(self) -> None:
        """When there are more takers than jobs, every job that may start does."""
        while self._claim(99, ALL_QUEUES):  # a suspect comes by itself
            pass
        if not any(job.alone for job in self.running) and not self.desk.isolation.holding(self.desk.clock.monotonic()):
            assert [job for job in self._queued() if self._may_start(job)] == []

    @invariant()
    def caps_hold(self) -> None:
        """At any time, in any queue and group."""
        for queue, (caps, group, since) in self.caps.items():
            started = [(of, at) for name, of, at in self.starts[since:] if name == queue]
            self._holds(caps, [at for _, at in started])
            for name in GROUPS[1:]:
                self._holds(group, [at for of, at in started if of == name])

    def _holds(self, caps: Caps, starts: list[Micros]) -> None:
        if caps.rate is not None:
            span = micros(caps.rate.per)
            for first in starts:
                assert sum(1 for at in starts if first <= at < first + span) <= caps.rate.limit

    def _claim(self, most: int, queues: tuple[str, ...]) -> int:
        full = {queue for queue in QUEUES if self._full(queue)}
        taken = run(self.desk.turn((), [Want(queues, tuple(f"w{n}" for n in range(most)))]))[0]
        for job in taken:
            assert job.queue not in full
            assert job.queue not in self.paused
            assert self._group_room(job.queue, job.group)
            self.running.append(job)
            self.starts.append((job.queue, job.group, self.desk.clock.now()))
        for queue, (caps, _, _) in self.caps.items():
            if caps.concurrency is not None and any(job.queue == queue for job in taken):
                assert sum(1 for job in self.running if job.queue == queue) <= caps.concurrency
        return len(taken)

    def _full(self, queue: str) -> bool:
        caps = self.caps[queue][0] if queue in self.caps else Caps()
        return caps.concurrency is not None and self._count(queue) >= caps.concurrency

    def _count(self, queue: str, group: Any = ...) -> int:
        return sum(1 for job in self.running if job.queue == queue and group in (..., job.group))

    def _group_room(self, queue: str, group: str | None) -> bool:
        caps = self.caps[queue][1] if queue in self.caps else Caps()
        return group is None or caps.concurrency is None or self._count(queue, group) < caps.concurrency

    def _queued(self) -> list[Job]:
        return [job for job in self.desk.store.tables.jobs.values() if job.status is Status.QUEUED]  # type: ignore[attr-defined]  # a look inside

    def _may_start(self, job: Job) -> bool:
        if job.queue in self.paused or self._full(job.queue) or not self._group_room(job.queue, job.group):
            return False
        caps, of_group, _ = self.caps.get(job.queue, (Caps(), Caps(), 0))
        in_queue = [at for queue, _, at in self.starts if queue == job.queue]
        in_group = [at for queue, group, at in self.starts if (queue, group) == (job.queue, job.group)]
        return self._has_left(caps, in_queue) and (job.group is None or self._has_left(of_group, in_group))

    def _has_left(self, caps: Caps, starts: list[Micros]) -> bool:
        if caps.rate is None:
            return True
        since = self.desk.clock.now() - micros(caps.rate.per * SLACK)
        return sum(1 for at in starts if at > since) < caps.rate.limit


TestCapped = Capped.TestCase
TestCapped.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
