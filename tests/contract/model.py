"""What the rules say, once more and independently: a plain dict of jobs, for the state machine to compare with.

It follows README, "A job's life", command by command. Of a claim it checks the outcome, not the order of lanes: FIFO in
a lane, the highest priority first, suspects alone.
"""

from __future__ import annotations

from typing import Any

from tests.contract.ties import SPARED, SPARED_SECONDS, Refused, Ties

SECOND = 1_000_000
RETENTION = {"DONE": 86_400, "FAILED": 604_800, "CANCELLED": 604_800}
ENDED = tuple(RETENTION)
WAITING = ("SCHEDULED", "BLOCKED", "QUEUED")
MAX_QUEUED, MAX_ENDED = 9, 6

Row = dict[str, Any]


class Model(Ties):
    """The jobs by id, the removed ones and when, the keys, and the node's quarantine."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: dict[str, int] = {}
        self.forgotten: list[str] = []
        self.keys: dict[str, tuple[str, list[str], int]] = {}
        self.alone: tuple[str, int, int] | None = None  # id, epoch, until
        self.hold_until: int | None = None

    def of(self, *statuses: str, queue: str | None = None) -> list[Row]:
        """The jobs in one of the statuses."""
        return [row for row in self.jobs.values() if row["status"] in statuses and queue in (None, row["queue"])]

    # -- commands: what they do, or the name of the error they raise

    def submit(self, ids: list[str], drafts: list[Row], key: tuple[str, str] | None) -> str | list[str]:
        """Accept; `ids` are those that the store gave."""
        if key is not None and key[0] in self.keys and self.keys[key[0]][2] > self.now:
            digest, made, _ = self.keys[key[0]]
            if digest != key[1]:
                return "KeyReuse"
            return next((self.missing(id) for id in made if id not in self.jobs), made)
        try:
            places, _, freed = self.arrive(ids, drafts)
        except Refused as refused:
            return str(refused)
        for queue in {draft["queue"] for draft in drafts}:
            asked = sum(1 for draft in drafts if draft["queue"] == queue) - freed.get(queue, 0)
            waits = sum(1 for row in self.undo[0].values() if row["queue"] == queue and row["status"] in WAITING)
            if asked > 0 and waits + asked > MAX_QUEUED:
                self.back_out()
                return "QueueFull"
        if key is not None:
            self.keys[key[0]] = (key[1], places, self.now + 86_400 * SECOND)
        return places

    def cancel(self, id: str) -> str:
        """Cancel."""
        if id not in self.jobs:
            return self.missing(id)
        row = self.jobs[id]
        if row["status"] in ("DONE", "FAILED"):
            return "BadState"
        if row["status"] == "RUNNING":
            row["cancel"] = True
        elif row["status"] != "CANCELLED":
            self.end(row, "CANCELLED", "cancelled")
        return "ok"

    def amend(self, id: str, priority: int) -> str:
        """Change the priority: the place stays."""
        if id not in self.jobs:
            return self.missing(id)
        row = self.jobs[id]
        if row["status"] in ENDED:
            return "BadState"
        row["priority"] = priority
        return "ok"

    def retry(self, id: str) -> str:
        """Retry."""
        if id not in self.jobs:
            return self.missing(id)
        row = self.jobs[id]
        if row["status"] not in ("FAILED", "CANCELLED"):
            return "BadState"
        if row["unique"] is not None and self.holder(row["queue"], row["unique"][0]) not in (None, id):
            return "Duplicate"
        row |= {"attempt": 0, "crashes": 0, "reason": None, "cancel": False, "expires": None, "error": False}
        row |= {"lost": False, "spared": None}
        self.queue(row, place=self.next())
        return "ok"

    def delete(self, id: str) -> str:
        """Remove an ended job."""
        if id not in self.jobs:
            return self.missing(id)
        if self.jobs[id]["status"] not in ENDED:
            return "BadState"
        self.remove(id)
        return "ok"

    def settle(self, id: str, epoch: int, ending: str, *, fatal: bool, retry_in: int | None) -> str:
        """Take in the end of an attempt."""
        if id not in self.jobs:
            return self.missing(id)
        row = self.jobs[id]
        if row["status"] != "RUNNING" or row["epoch"] != epoch:
            return "LeaseLost"
        row["error"] = ending in ("error", "timeout", "crashed", "lost")
        if row["cancel"] and ending != "done":
            ending = "cancelled"
        elif ending == "cancelled":
            ending = "released"
        row["history"].append((epoch, row["attempt"], ending))
        deaths = row["crashes"] + 1
        row["crashes"] = 0
        if ending == "done":
            self.end(row, "DONE", None)
        elif ending == "cancelled":
            self.end(row, "CANCELLED", "cancelled")
        elif ending in ("crashed", "lost"):
            row["crashes"] = deaths
            if row["alone"]:
                row["attempt"] -= 1
                self.end(row, "FAILED", "crash-loop")
            else:
                self.queue(row | {}, place=row["place"], into=row, spent=-1)
        elif ending == "released":
            self.queue(row, place=row["place"], spent=-1)
        elif fatal or row["attempt"] >= row["max_attempts"]:
            self.end(row, "FAILED", "fatal" if fatal else ending)
        else:
            seconds = min(2 ** (row["attempt"] - 1), 3600) / 2 if retry_in is None else retry_in
            row |= {"status": "SCHEDULED", "at": self.now + round(seconds * SECOND), "alone": False}
        return "ok"

    def die(self) -> None:
        """The process died and began anew."""
        for row in self.of("RUNNING"):
            self.settle(row["id"], row["epoch"], "crashed", fatal=False, retry_in=None)
        self.alone = self.hold_until = None

    def ripen(self) -> None:
        """What time brings."""
        ended = sorted(self.of(*ENDED), key=lambda row: (self.due(row), row["seq"]))
        surplus = [row for row in ended if row["spared"] is None][:-MAX_ENDED]
        ripe = [row for row in self.jobs.values() if (due := self.wakes(row)) is not None and due <= self.now]
        needed = self.dependents()
        for row in sorted(ripe, key=lambda row: (row["status"] in ENDED, self.due(row), row["seq"])):
            if row["status"] in ENDED:
                self.forget(row, needed)
            elif row["expires"] is not None and row["expires"] <= self.now:
                self.end(row, "FAILED", "expired")
            else:
                self.queue(row, place=self.next())
        for row in surplus:
            if row["id"] in self.jobs and row not in ripe:
                self.forget(row, needed)
        self.keys = {key: bound for key, bound in self.keys.items() if bound[2] > self.now}

    def claim(self, queues: list[str], workers: int, got: list[tuple[str, int, bool]]) -> None:
        """Follow a claim; `got` are id, epoch and alone of what was started. Fails where it may not be."""
        if self.alone is not None:
            id, epoch, until = self.alone
            row = self.jobs.get(id)
            if row is not None and (row["status"], row["epoch"]) == ("RUNNING", epoch):
                if self.now < until:
                    assert got == [], "a suspect is alone"
                    return
                row["alone"] = False
            self.alone = None
        queued = [row for queue in queues for row in self.of("QUEUED", queue=queue)]
        suspects = [row for row in queued if row["crashes"] >= 2]
        if suspects and not self.of("RUNNING"):
            ((id, epoch, alone),) = got
            assert alone
            assert id in [row["id"] for row in suspects]
            self.start(id, epoch, alone=True)
            self.alone, self.hold_until = (id, epoch, self.now + 30 * SECOND), None
            return
        if suspects and (self.hold_until is None or self.now >= self.hold_until + 300 * SECOND):
            self.hold_until = self.now + 30 * SECOND
        held = suspects and self.hold_until is not None and self.now < self.hold_until
        free = [] if held else [row for row in queued if row["crashes"] < 2]
        assert len(got) == min(workers, len(free))
        for id, epoch, alone in got:
            assert not alone
            self.start(id, epoch, alone=False)

    # -- steps

    def start(self, id: str, epoch: int, *, alone: bool) -> None:
        """A job is claimed: it must be the first of its lane, and no other of its queue may be more urgent."""
        row = self.jobs[id]
        assert row["status"] == "QUEUED"
        assert epoch == row["epoch"] + 1
        rivals = [other for other in self.of("QUEUED", queue=row["queue"]) if (other["crashes"] >= 2) == alone]
        assert row["priority"] == max(other["priority"] for other in rivals)
        lane = [other for other in rivals if (other["priority"], other["group"]) == (row["priority"], row["group"])]
        assert row["place"] == min(other["place"] for other in lane)
        row |= {"status": "RUNNING", "epoch": epoch, "attempt": row["attempt"] + 1, "alone": alone, "error": False}

    def queue(self, row: Row, *, place: int, into: Row | None = None, spent: int = 0) -> None:
        """The job waits to be claimed."""
        target = row if into is None else into
        target |= {"status": "QUEUED", "place": place, "attempt": row["attempt"] + spent, "at": None, "alone": False}
        target["ended"] = None

    def end(self, row: Row, status: str, reason: str | None) -> None:
        """The job is in an end state."""
        row |= {"status": status, "reason": reason, "ended": self.now, "at": None, "alone": False}
        self.note_end(row)

    def forget(self, row: Row, needed: set[str]) -> None:
        """The job's time is over, unless others need it."""
        if row["id"] in needed:
            row["spared"] = self.now + SPARED_SECONDS * SECOND
        else:
            self.remove(row["id"])

    def remove(self, id: str) -> None:
        """The job is forgotten."""
        del self.jobs[id]
        self.removed[id] = self.now

    def sweep(self) -> None:
        """Tombstones count for 7 days."""
        old = [id for id, at in self.removed.items() if at <= self.now - 604_800 * SECOND]
        self.forgotten += old
        self.removed = {id: at for id, at in self.removed.items() if id not in old}

    def missing(self, id: str) -> str:
        """The error that names a job which is not there."""
        return "Removed" if id in self.removed else "NotFound"

    def due(self, row: Row) -> int | None:
        """When time changes it."""
        if row["status"] == "RUNNING":
            return None
        if row["spared"] is not None:
            return SPARED + int(row["spared"])
        if row["status"] in ENDED:
            due: int = row["ended"] + RETENTION[row["status"]] * SECOND
            return due
        return min((at for at in (row["at"], row["expires"]) if at is not None), default=None)

    def next_due(self) -> int | None:
        """The first moment at which anything changes."""
        dues = [self.wakes(row) for row in self.jobs.values()] + [bound[2] for bound in self.keys.values()]
        return 0 if self.untold else min((due for due in dues if due is not None), default=None)

    def wakes(self, row: Row) -> int | None:
        """When to look at it."""
        return self.due(row) if row["spared"] is None else int(row["spared"])
