"""What users set up: queues and schedules."""

from __future__ import annotations

from jobqueue.clock import Micros
from jobqueue.job import Job
from jobqueue.queue import Queue, Window
from jobqueue.rules.table.overlay import Overlay
from jobqueue.schedule import Schedule


class Settings(Overlay):
    """Settings of queues with what counts against their rates, and schedules."""

    __slots__ = ()

    def queue(self, name: str) -> Queue | None:
        """The settings of a queue; None = all as the server has it."""
        return self.changes.queues.get(name) or self._rows.queue(name)

    def known(self, queue: str) -> bool:
        """Whether the queue has been named before."""
        return queue in self.changes.counts or queue in self.changes.queues or self._rows.known(queue)

    def names(self) -> int:
        """How many queues have been named, without those of this batch."""
        return self._rows.names()

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

    def ended_of(self, queue: str, after: int, count: int) -> list[Job]:
        """Ended jobs of a queue, in order of seq from after `after`; those that this batch changed are left out."""
        return [job for job in self._rows.ended_of(queue, after, count) if job.id not in self.changes.jobs]

    # -- schedules

    def schedule(self, name: str) -> Schedule | None:
        """A schedule, as it now stands."""
        return self.changes.schedules[name] if name in self.changes.schedules else self._rows.schedule(name)

    def schedules(self) -> int:
        """How many there are, without those of this batch."""
        return self._rows.schedules()

    def keep_schedule(self, schedule: Schedule) -> None:
        """Keep a schedule as it is now."""
        self.changes.schedules[schedule.name] = schedule

    def drop_schedule(self, name: str) -> None:
        """Forget a schedule."""
        self.changes.schedules[name] = None

    def firing(self, now: Micros, count: int) -> list[Schedule]:
        """Schedules whose next fire time has come, but for those that this batch touched."""
        return [schedule for schedule in self._rows.firing(now, count) if schedule.name not in self.changes.schedules]

    def next_fire(self) -> Micros | None:
        """When the next schedule fires."""
        own = [schedule for schedule in self.changes.schedules.values() if schedule is not None]
        ats = [schedule.next_at for schedule in own if schedule.next_at is not None and not schedule.paused]
        first = self._rows.next_fire()
        return min([*ats, *([] if first is None else [first])], default=None)
