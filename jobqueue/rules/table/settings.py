"""What users set up: queues and schedules."""

from __future__ import annotations

from jobqueue.clock import Micros, micros
from jobqueue.job import Job
from jobqueue.queue import Queue, Window
from jobqueue.rules.table.overlay import Overlay
from jobqueue.schedule import Schedule


class Settings(Overlay):
    """Settings of queues with what counts against their rates, and schedules."""

    __slots__ = ()

    def queue(self, name: str) -> Queue | None:
        """The settings of a queue; None = all as the server has it."""
        named = self._named
        if named[0] != name:
            named = self._named = name, self.changes.queues.get(name) or self._rows.queue(name)
        return named[1]

    def configured(self) -> list[str]:
        """The queues that have settings."""
        return sorted({*self._rows.configured(), *self.changes.queues})

    def known(self, queue: str) -> bool:
        """Whether the queue has been named before."""
        return queue in self.changes.counts or queue in self.changes.queues or self._rows.known(queue)

    def names(self) -> int:
        """How many queues have been named."""
        own = self.changes.counts.keys() | self.changes.queues.keys()
        return self._rows.names() + sum(1 for name in own if not self._rows.known(name))

    def window(self, queue: str, group: str | None) -> Window | None:
        """What counts against the rate of a queue, or of one of its groups."""
        return self.changes.windows.get((queue, group)) or self._rows.window(queue, group)

    def count_starts(self, queue: str, group: str | None, window: Window) -> None:
        """Keep what counts against a rate from now on."""
        self.changes.windows[queue, group] = window

    def redating(self) -> dict[str, int]:
        """Queues whose retention changed, with the seq up to which their ended jobs have been looked at."""
        left = {**self._rows.redating(), **self.changes.redating}
        return {queue: seq for queue, seq in left.items() if seq is not None}

    def ended_of(self, queue: str, after: int, count: int) -> tuple[list[Job], int | None]:
        """Ended jobs of a queue in order of seq, from after `after`; those that this batch changed are left out.

        And the seq up to which was looked; None = to the end.
        """
        jobs, reached = self._rows.ended_of(queue, after, count)
        return [job for job in jobs if job.id not in self.changes.jobs], reached

    def redate(self, queue: str, reached: int | None) -> None:
        """Note up to which seq the ended jobs of a queue have been looked at; None = all of them."""
        self.changes.redating[queue] = reached

    def kept_until(self, job: Job) -> Micros | None:
        """Until when an ended job is kept by the retention of its queue; as it says itself where that has none."""
        queue = self.queue(job.queue)
        seconds = None if queue is None else queue.retention.get(job.status.name)
        return job.due_at if seconds is None or job.finished_at is None else job.finished_at + micros(seconds)

    # -- schedules

    def schedule(self, name: str) -> Schedule | None:
        """A schedule, as it now stands."""
        return self.changes.schedules[name] if name in self.changes.schedules else self._rows.schedule(name)

    def schedules(self) -> int:
        """How many there are."""
        return self._rows.schedules() + self.changes.schedules_more

    def add_schedule(self, schedule: Schedule) -> None:
        """Keep a new schedule."""
        self.changes.schedules[schedule.name] = schedule
        self.changes.schedules_more += 1

    def keep_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule that is there, as it is now."""
        self.changes.schedules[schedule.name] = schedule

    def drop_schedule(self, name: str) -> None:
        """Forget a schedule that is there."""
        self.changes.schedules[name] = None
        self.changes.schedules_more -= 1

    def fires(self, count: int) -> list[tuple[Micros, str]]:
        """The first `count` fire times of schedules that are not paused, with their names: one of each, the next."""
        edits = self.changes.schedules
        own = [(schedule.next_at, schedule.name) for schedule in edits.values() if schedule and not schedule.paused]
        kept = [fire for fire in self._rows.fires(count + len(edits)) if fire[1] not in edits]
        return sorted(kept + [(at, name) for at, name in own if at is not None])[:count]
