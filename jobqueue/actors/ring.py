"""The ring: the last events of a server, numbered, and how one listener after another reads on from where it was.

Pure; `herald.py` drives it. A listener is nothing here but a number, so one that stalls costs no memory and holds
nothing up: what it has missed in the end it is told as a gap. An event is encoded once, however many read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobqueue.wire.events import Step, event, gap

EVENTS_MOST = 10_000
TEXT_MOST_BYTES = 16 << 20  # of progress reports, whose data may be large: beyond it the ring is shorter
PIECE_BYTES = 32 << 10
UNKNOWN = -1  # the number of an event of which nothing is known: of another boot, or of none

SLACK = 1_000  # what has fallen out goes in such portions


class Wanted(NamedTuple):
    """What a listener wants to hear of: one job or all, and of that some queues, kinds, statuses; empty = all."""

    job: str | None = None
    queues: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()

    def takes(self, step: Step) -> bool:
        """Whether it is wanted, as far as queue, kind and status say."""
        return (
            (not self.queues or step.queue in self.queues)
            and (not self.kinds or step.kind in self.kinds)
            and (not self.statuses or step.status in self.statuses)
        )


class News(NamedTuple):
    """What a listener is told. after: the number up to which it now knows all; go on from there.

    gap: some were missed. Of one job, whose end may be among them, nothing follows: look at the job itself.
    ended: this is the end of the one job that was asked for.
    """

    piece: bytes
    after: int
    gap: bool = False
    ended: bool = False

    @property
    def nothing(self) -> bool:
        """There is nothing to tell."""
        return not (self.piece or self.ended)


class Ids:
    """The ids of events: the life of the process that they belong to, and a number in it."""

    __slots__ = ("_prefix",)

    def __init__(self, boot_id: str) -> None:
        self._prefix = f"{boot_id.replace('-', '')}-"

    def of(self, number: int) -> str:
        """The id of the event of that number."""
        return f"{self._prefix}{number}"

    def number(self, id: str) -> int:
        """The number in an id; UNKNOWN if it is none of this life."""
        prefix, number = id[: len(self._prefix)], id[len(self._prefix) :]
        good = prefix == self._prefix and number.isascii() and number.isdigit() and len(number) < 19
        return int(number) if good else UNKNOWN


class Ring:
    """The events from `oldest` to `last`; the first ever has number 1. None stands for events that were lost."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._steps: list[Step | None] = []
        self._dropped = 0  # how many stood before those
        self._text = 0
        self.lost_at = 0  # the number that stands for those that were lost last

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._dropped + len(self._steps)

    @property
    def oldest(self) -> int:
        """The number of the oldest event that can be told."""
        return max(self._dropped, self.last - EVENTS_MOST) + 1

    # -- in

    def add(self, reports: Sequence[Step], steps: Sequence[Step]) -> None:
        """What a commit brought: reports of progress, and changes of status."""
        self._steps += reports
        self._steps += steps
        for report in reports:
            self._text += _text(report)
        if self._text > TEXT_MOST_BYTES or len(self._steps) > EVENTS_MOST + SLACK:
            self._forget()

    def lose(self) -> None:
        """Note that some events did not come: whoever reads across here is told of a gap."""
        self._steps.append(None)
        self.lost_at = self.last

    def _forget(self) -> None:
        """Let go of what has fallen out, and of as much more as there is too much text."""
        count = max(0, len(self._steps) - EVENTS_MOST)
        if self._text:
            self._text -= sum(map(_text, self._steps[:count]))
            while self._text > TEXT_MOST_BYTES:
                self._text -= _text(self._steps[count])
                count += 1
        del self._steps[:count]
        self._dropped += count

    # -- out

    def since(self, after: int) -> Sequence[Step | None]:
        """The events after that number that are still here."""
        return self._steps[max(0, after - self._dropped) :]

    def read(self, wanted: Wanted, after: int, upto: int) -> News:
        """What is wanted of the events after `after` up to `upto`, as much as one piece holds."""
        if not self.oldest - 1 <= after <= self.last:
            return self._missed(wanted, after)
        pieces: list[bytes] = []
        size = 0
        number = after
        for step in self._steps[after - self._dropped : upto - self._dropped]:
            number += 1
            if step is None:
                if pieces:
                    return News(b"".join(pieces), number - 1)
                return News(gap(None, self._ids.of(number)), number, gap=True)
            if wanted.job is not None and step.id != wanted.job:
                continue
            if wanted.takes(step):
                pieces.append(self._told(number, step))
                size += len(pieces[-1])
            if wanted.job is not None and step.ends:
                return News(b"".join(pieces), number, ended=True)
            if size >= PIECE_BYTES:
                break
        return News(b"".join(pieces), number)

    def told(self, after: int, steps: Sequence[Step]) -> int:
        """Where to go on for one who knows all up to `after`, and these steps of one job from elsewhere.

        That is behind the last event that says the same, but for its time: what is older is no news any more.
        """
        for number in range(self.last, max(after, self._dropped), -1):
            step = self._steps[number - self._dropped - 1]
            if step is not None and any(map(step.same, steps)):
                return number
        return after

    def _missed(self, wanted: Wanted, after: int) -> News:
        """The gap between `after` and what is still here. Of one job all of that is passed over."""
        missed = self.oldest - 1 - after if 0 <= after <= self.last else None
        number = self.oldest - 1 if wanted.job is None else self.last
        return News(gap(missed, self._ids.of(number)), number, gap=True)

    def _told(self, number: int, step: Step) -> bytes:
        if step.told is None:
            step.told = event(step, self._ids.of(number))
        return step.told


def _text(step: Step | None) -> int:
    """The bytes of a report that are text of the user's, about."""
    progress = None if step is None else step.progress
    return 0 if progress is None else len(progress.data or "") + len(progress.message or "")
