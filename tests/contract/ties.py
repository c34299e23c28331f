"""The part of the model that is about ties between jobs: unique keys, dependencies, and who is kept for whom.

A submission is tried item by item on a copy of all jobs, which takes its place if no item was refused.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

SECOND = 1_000_000
SPARED = 1 << 62
SPARED_SECONDS = 3_600
TELL_MOST = 2  # children a batch: few, so that ends often wait to be told
ENDED = ("DONE", "FAILED", "CANCELLED")

Row = dict[str, Any]
End = tuple[int, int, str, bool]  # the last number when it ended, seq, id, whether DONE

uniques = st.none() | st.none() | st.tuples(
    st.sampled_from(["k", "l"]),
    st.sampled_from(["queued", "active", "exists"]),
    st.sampled_from(["reject", "return", "replace"]),
)  # fmt: skip
parents = st.just(()) | st.just(()) | st.lists(st.integers(0, 999), min_size=1, max_size=3)
modes = st.sampled_from(["cancel", "run"])


class Refused(Exception):
    """The name of the error that the rules raise."""


def holds(row: Row) -> bool:
    """Whether the job holds its unique key."""
    if row["unique"] is None or row["lost"]:
        return False
    ended = row["status"] in ENDED
    return {"queued": not row["epoch"] and not ended, "active": not ended, "exists": True}[row["unique"][1]]


class Ties:
    """Who holds which key, who waits for whom, and which ends have yet to be told."""

    def __init__(self) -> None:
        self.jobs: dict[str, Row] = {}
        self.now = 0
        self.number = 0
        self.ends: list[End] = []  # of this batch
        self.untold: list[End] = []  # of batches before

    def next(self) -> int:
        """A number greater than all before."""
        self.number += 1
        return self.number

    def holder(self, queue: str, key: str) -> str | None:
        """Who holds a key: one job, or nobody."""
        holders = [
            id for id, row in self.jobs.items() if row["queue"] == queue and holds(row) and row["unique"][0] == key
        ]
        assert len(holders) <= 1, "a key is never held by two"
        return holders[0] if holders else None

    def dependents(self) -> set[str]:
        """The jobs on which others depend that have not ended."""
        return {parent for row in self.jobs.values() if row["status"] not in ENDED for parent in row["links"]}

    # -- submissions

    def arrive(self, ids: list[str], drafts: list[Row]) -> tuple[list[str], set[int], dict[str, int]]:
        """Let all in or none; who stands at each place, where that is a holder, how many fewer wait. Raises Refused."""
        before, number = self.jobs, self.number
        self.jobs = deepcopy(before)
        places: list[str] = []
        returned: set[int] = set()
        replaced: list[Row] = []
        freed: dict[str, int] = Counter()
        try:
            for id, draft in zip(ids, drafts, strict=True):
                row = self._new(id, draft, places)
                holder = self._meet(row)
                if holder is not None and draft["unique"][2] == "return":
                    self.number -= 1
                    returned.add(len(places))
                    places.append(holder["id"])
                    freed[row["queue"]] += 1
                    continue
                if holder is not None and holds(row):
                    if holder["status"] not in ENDED:
                        holder |= {
                            "status": "CANCELLED",
                            "reason": "replaced",
                            "ended": self.now,
                            "at": None,
                            "links": set(),
                        }
                        freed[row["queue"]] += 1
                        replaced.append(holder)
                    holder["lost"] = True
                self.jobs[id] = row
                places.append(id)
        except Refused:
            self.jobs, self.number = before, number
            raise
        self.undo = (before, number, list(self.ends))
        dead = [row for row in self.jobs.values() if row["id"] not in before and row["status"] in ENDED]
        replaced = [row for row in replaced if row["id"] in before]
        self.ends += [(self.number, row["seq"], row["id"], False) for row in (*replaced, *dead)]
        return places, returned, freed

    def back_out(self) -> None:
        """The submission was refused after all."""
        self.jobs, self.number, self.ends = self.undo

    def _new(self, id: str, draft: Row, places: list[str]) -> Row:
        parents: dict[str, Row] = {}
        for said in draft["depends"]:
            named = places[said] if isinstance(said, int) and said < len(places) else said
            if named not in self.jobs:
                raise Refused("Invalid")
            parents[named] = self.jobs[named]
        seq = self.next()
        at = None if not draft["delay"] else self.now + draft["delay"] * SECOND
        row = draft | {
            "id": id, "seq": seq, "place": seq, "status": "QUEUED" if at is None else "SCHEDULED", "reason": None,
            "attempt": 0, "epoch": 0, "crashes": 0, "alone": False, "cancel": False, "at": at, "run_at": at,
            "error": False, "ended": None, "history": [], "lost": False, "spared": None,
            "links": set(parents), "waits": {one for one, row in parents.items() if row["status"] not in ENDED},
        }  # fmt: skip
        if draft["mode"] == "cancel" and any(
            parent["status"] in ("FAILED", "CANCELLED") for parent in parents.values()
        ):
            row |= {"status": "CANCELLED", "reason": "dependency", "ended": self.now, "at": None, "links": set()}
        elif row["waits"]:
            row |= {"status": "BLOCKED", "at": None}
        return row

    def _meet(self, row: Row) -> Row | None:
        if row["unique"] is None:
            return None
        key, _, answer = row["unique"]
        id = self.holder(row["queue"], key)
        if id is None:
            return None
        if answer == "reject" or (answer == "replace" and self.jobs[id]["status"] == "RUNNING"):
            raise Refused("Duplicate")
        return self.jobs[id]

    # -- ends

    def note_end(self, row: Row) -> None:
        """The job has ended."""
        row["links"] = set()
        self.ends.append((self.number, row["seq"], row["id"], row["status"] == "DONE"))

    def resolve(self) -> None:
        """At the end of a batch: tell children what has ended, some now and the rest later."""
        waiting = sorted(self.untold)
        kept, rest, left = waiting[:TELL_MOST], waiting[TELL_MOST:], TELL_MOST
        full = len(kept) == TELL_MOST
        queue, touched = [*kept, *([] if full else self._take())], dict[str, None]()
        while queue and left > 0:
            end = queue.pop(0)
            children = self._children(end)
            for child in children[:left]:
                if not end[3] and child["mode"] == "cancel":
                    child |= {"status": "CANCELLED", "reason": "dependency", "ended": self.now}
                    self.note_end(child)
                else:
                    child["waits"].discard(end[2])
                    touched[child["id"]] = None
            if len(children) > left:
                queue.insert(0, end)
            left -= len(children)
            queue += [] if full else self._take()
        for id in touched:
            self._release(self.jobs[id])
        later = [*queue, *self._take()]
        self.untold = [end for end in later if end in kept or self._children(end)] + rest

    def _take(self) -> list[End]:
        ends, self.ends = self.ends, []
        return ends

    def _children(self, end: End) -> list[Row]:
        rows = [row for row in self.jobs.values() if row["status"] == "BLOCKED" and end[2] in row["waits"]]
        return sorted((row for row in rows if row["seq"] <= end[0]), key=lambda row: int(row["seq"]))

    def _release(self, row: Row) -> None:
        if row["status"] != "BLOCKED" or row["waits"]:
            return
        if row["run_at"] is not None and row["run_at"] > self.now:
            row |= {"status": "SCHEDULED", "at": row["run_at"]}
        else:
            row |= {"status": "QUEUED", "place": self.next()}
