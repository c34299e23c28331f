"""What the state actor can be asked that needs no store: it is answered from the actor's own memory."""

from __future__ import annotations

from jobqueue.job import Job
from jobqueue.mailbox import Reply


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

    __slots__ = ("draining", "running", "store_failing", "stuck")

    def __init__(self, *, running: int, stuck: int, draining: bool, store_failing: bool) -> None:
        self.running = running
        self.stuck = stuck
        self.draining = draining
        self.store_failing = store_failing


class Look:
    """Ask for the vitals."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[Vitals]) -> None:
        self.reply = reply


Note = Watch | Drain | StopAll | Look
NOTES = (Watch, Drain, StopAll, Look)
