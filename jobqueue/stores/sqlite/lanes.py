"""All lanes, in memory: the engine alone writes them. Those that may be served stand in the order of service.

A list in order, searched by halves, beats an index in the file: with 10,000 lanes a change costs a few microseconds and
no page, with one lane next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from jobqueue.clock import Micros
from jobqueue.job import NEVER, OPEN, Lane, LaneKey

Entry = tuple[int, float, str, Lane]


def _entry(lane: Lane) -> Entry:
    """No two lanes of a queue agree in all before the last."""
    key = lane.key
    return (-key.priority, lane.turn, key.group or "", lane)


class LaneIndex:
    """Lanes by key, their row numbers in the file, and the ways in which they are looked for."""

    def __init__(self) -> None:
        self.lanes: dict[LaneKey, Lane] = {}
        self.rows: dict[LaneKey, int] = {}
        self.last_row = 0
        self._sizes: dict[str, int] = {}
        self._ready: dict[tuple[str, bool], list[Entry]] = {}
        self._groups: dict[tuple[str, str], set[LaneKey]] = {}
        self._closed: dict[str, set[LaneKey]] = {}
        self._opening: list[tuple[Micros, LaneKey]] = []

    def load(self, lane: Lane, row: int) -> None:
        """A lane of the file, as it is opened."""
        self.rows[lane.key] = row
        self.last_row = max(self.last_row, row)
        self.put(lane)

    def put(self, lane: Lane) -> None:
        """A lane came, or changed."""
        key = lane.key
        old = self.lanes.get(key)
        self.lanes[key] = lane
        if old is not None:
            self._out(old)
        else:
            self._sizes[key.queue] = self._sizes.get(key.queue, 0) + 1
            if key.group is not None:
                self._groups.setdefault((key.queue, key.group), set()).add(key)
        if lane.opens_at != OPEN:
            self._closed.setdefault(key.queue, set()).add(key)
            if lane.opens_at != NEVER:
                insort(self._opening, (lane.opens_at, key))
        elif lane.queued:
            insort(self._ready.setdefault((key.queue, key.suspect), []), _entry(lane))

    def drop(self, key: LaneKey) -> None:
        """A lane went."""
        old = self.lanes.pop(key, None)
        self.rows.pop(key, None)
        if old is None:
            return
        self._out(old)
        self._sizes[key.queue] -= 1
        if key.group is not None:
            lanes = self._groups[key.queue, key.group]
            lanes.discard(key)
            if not lanes:
                del self._groups[key.queue, key.group]

    def _out(self, lane: Lane) -> None:
        """Take it out of where it stood by its state."""
        key = lane.key
        if lane.opens_at != OPEN:
            closed = self._closed[key.queue]
            closed.discard(key)
            if not closed:
                del self._closed[key.queue]
            if lane.opens_at != NEVER:
                del self._opening[bisect_left(self._opening, (lane.opens_at, key))]
        elif lane.queued:
            place = (key.queue, key.suspect)
            lanes = self._ready[place]
            if len(lanes) == 1:
                del self._ready[place]
            else:
                del lanes[bisect_left(lanes, _entry(lane))]

    def count(self, queue: str) -> int:
        """How many a queue has."""
        return self._sizes.get(queue, 0)

    def ready(self, queue: str, count: int, *, suspect: bool) -> Sequence[Lane]:
        """The first `count` of a queue: highest priority first, then smallest turn, then by group."""
        return [entry[3] for entry in self._ready.get((queue, suspect), ())[:count]]

    def of_group(self, queue: str, group: str) -> Sequence[Lane]:
        """All of a group."""
        return [self.lanes[key] for key in self._groups.get((queue, group), ())]

    def closed(self, queue: str) -> Sequence[Lane]:
        """All of a queue that are not open."""
        return [self.lanes[key] for key in self._closed.get(queue, ())]

    def opening(self, now: Micros, count: int) -> Sequence[Lane]:
        """Up to `count` whose moment to open has come."""
        return [self.lanes[key] for at, key in self._opening[:count] if at <= now]

    def next_opening(self) -> Micros | None:
        """The earliest moment at which one may open."""
        return self._opening[0][0] if self._opening else None
