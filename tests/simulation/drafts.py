"""What a submission says: drawn, and of all features that the seed uses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from jobqueue.clock import SECOND, iso
from tests.simulation.keys import Place
from tests.simulation.plan import Plan
from tests.simulation.world import Wall

KINDS = {"quick": 5, "sleepy": 4, "failing": 3, "retrying": 2, "reporting": 1, "fatal": 1, "exiting": 1, "missing": 1}
KEYS = ("a", "b")
PARENTS_MOST = 3


def draft(key: str, index: int, plan: Plan, rng: random.Random, wall: Wall) -> dict[str, Any]:
    """One job, without what ties it to others."""
    kinds = dict(KINDS)
    if plan.has("stall"):
        kinds |= {"stalling": 4, "shielded": 4}
    if plan.has("poison"):
        kinds |= {"poison": 1}
    if plan.has("spoiled"):
        kinds |= {"unstorable": 3}
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    said: dict[str, Any] = {"kind": kind, "payload": {"key": key, "n": index}}
    if kind in ("stalling", "shielded") or rng.random() < 0.2:
        said["timeout"] = rng.choice((0.5, 2, 6))
    if rng.random() < (0.7 if plan.uses("queues") else 0.3):
        said["group"] = rng.choice(("red", "blue"))
    if rng.random() < (0.4 if plan.uses("queues") else 0.15):
        said["priority"] = rng.choice((-1, 5))
    if rng.random() < 0.2:
        said["queue"] = "mail"
    if rng.random() < 0.15:
        said["delay"] = rng.choice((0.5, 4, 20))
    if rng.random() < 0.15:
        at = wall.now() + round((said.get("delay", 0) + rng.choice((0.5, 3, 10))) * SECOND)
        said["expires_at"] = iso(at)
    if rng.random() < 0.5:
        said["max_attempts"] = rng.choice((1, 2, 3))
    return said


def tie(drafts: Sequence[dict[str, Any]], plan: Plan, rng: random.Random, known: Sequence[str]) -> None:
    """Give the drafts of one submission unique keys, and make them wait for known jobs and for each other."""
    for index, said in enumerate(drafts):
        if plan.uses("unique") and rng.random() < 0.5:
            said["unique"] = {
                "key": rng.choice(KEYS),
                "while": rng.choice(("queued", "active", "exists")),
                "on_conflict": rng.choice(("reject", "return", "replace")),
            }
        if plan.uses("depends") and rng.random() < 0.5:
            parents = [f"#{rng.randrange(index)}" for _ in range(rng.randint(0, 2)) if index]
            parents += [rng.choice(known[-8:]) for _ in range(rng.randint(0, 2)) if known]
            if parents:
                said["depends_on"] = list(dict.fromkeys(parents))[:PARENTS_MOST]
                said["on_dependency_failure"] = rng.choice(("cancel", "run"))


def places(drafts: Sequence[Mapping[str, Any]]) -> list[tuple[Place, str]]:
    """The unique keys that the drafts name, and what is to happen where one is held already."""
    named = [said for said in drafts if "unique" in said]
    return [((said.get("queue", "default"), said["unique"]["key"]), said["unique"]["on_conflict"]) for said in named]
