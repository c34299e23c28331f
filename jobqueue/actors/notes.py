"""What the state actor can be asked that needs no store: it is answered from the actor's own memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jobqueue.clock import ManualClock, Micros, Sleeper
from jobqueue.job import Job
from jobqueue.mailbox import Reply
from jobqueue.rules.isolation import Quarantine


class Watch:
    """Ask to be told when a job ends; a message that needs no store."""

    __slots__ = ("id", "reply", "watcher")

    def __init__(self, id: str, watcher: Reply[Job | None], reply: Reply[None]) -> None:
        self.id = id
        self.watcher = watcher
        self.reply = reply


class Drain:
    """No longer ready; with `refuse` take nothing new any more, and tell all who wait."""

    __slots__ = ("refuse", "reply")

    def __init__(self, reply: Reply[None], *, refuse: bool) -> None:
        self.refuse = refuse
        self.reply = reply


class StopAll:
    """Order every running attempt to stop; with `give_back`, take the jobs back without waiting for it."""

    __slots__ = ("give_back", "reply")

    def __init__(self, reply: Reply[None], *, give_back: bool) -> None:
        self.give_back = give_back
        self.reply = reply


class Vitals:
    """How the actor does: for /readyz. stuck: attempts that did not end 10 s after they were told to."""

    __slots__ = ("draining", "quarantine", "running", "store_failing", "stuck")

    def __init__(
        self, *, running: int, stuck: int, draining: bool, store_failing: bool, quarantine: Quarantine
    ) -> None:
        self.quarantine = quarantine
        self.running = running
        self.stuck = stuck
        self.draining = draining
        self.store_failing = store_failing


class Look:
    """Ask for the vitals."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[Vitals]) -> None:
        self.reply = reply


class Measure:
    """Ask for the flow: for each queue how many jobs a second were submitted, and how many ended."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[Mapping[str, tuple[float, float]]]) -> None:
        self.reply = reply


class Pulse(NamedTuple):
    """How far a manual clock may go. first: the next due moment. awake: who is at work at the present one.

    stirs: grows whenever an attempt starts or ends, and when there is more to claim.
    """

    first: Micros | None
    awake: frozenset[Sleeper]
    stirs: int


class Feel:
    """Ask for the pulse."""

    __slots__ = ("clock", "reply")

    def __init__(self, clock: ManualClock, reply: Reply[Pulse]) -> None:
        self.clock = clock
        self.reply = reply


class Move:
    """Move a manual clock; answered once what is due then is committed."""

    __slots__ = ("at", "clock", "reply")

    def __init__(self, clock: ManualClock, at: Micros, reply: Reply[Micros]) -> None:
        self.clock = clock
        self.at = at
        self.reply = reply


Note = Watch | Drain | StopAll | Look | Measure | Feel | Move
NOTES = (Watch, Drain, StopAll, Look, Measure, Feel, Move)
