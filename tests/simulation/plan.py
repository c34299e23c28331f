"""What a seed draws before anything runs. Some seeds have one fault only, so that none hides behind another (swarm)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

FAULTS = (
    "crash",  # kill -9 at a scheduler step
    "cut",  # kill -9 just before or after a commit
    "slow",  # commits of up to 5 s
    "full",  # the disk is full for a while
    "busy",  # the store is unavailable for a while
    "failed",  # an I/O error: the process must end
    "hangup",  # clients leave at any await
    "stall",  # handlers that outlive their timeout, also behind a shield
    "echo",  # ends of attempts are reported twice, or long after
    "drain",  # SIGTERM, and another start
    "jump",  # the wall clock jumps by up to an hour
    "poison",  # a job that kills the process
    "spoiled",  # rows that the store refuses
    "tight",  # a queue that takes few jobs
)
FEATURES = (
    "unique",  # jobs with unique keys, few of them
    "depends",  # jobs that wait for others
    "queues",  # settings of queues change: pauses, caps, rates, weights, retention
    "schedules",  # jobs that are submitted again and again
    "amend",  # jobs are changed and deleted
    "bulk",  # many are cancelled, retried, deleted by a filter
    "explain",  # why does it not run?
    "filter",  # lists of what matches
    "events",  # listeners, some of which come back
)
STEPS = 900  # about as many as a run takes
SECONDS = 30.0  # the same in virtual time


@dataclass(frozen=True)
class Plan:
    """One seed's world. Steps and commits count from the start of the run, times are virtual seconds."""

    seed: int
    faults: frozenset[str]
    features: frozenset[str]
    crash_steps: tuple[int, ...]
    cuts: tuple[int, ...]
    drains: tuple[float, ...]
    jumps: tuple[tuple[float, float], ...]
    workers: int
    clients: int
    operations: int
    max_queued: int

    @property
    def set_back(self) -> float:
        """By how many seconds in all the wall clock is set back."""
        return sum(-by for _, by in self.jumps if by < 0)

    def has(self, fault: str) -> bool:
        """Whether it is one of this seed's faults."""
        return fault in self.faults

    def uses(self, feature: str) -> bool:
        """Whether clients use it."""
        return feature in self.features


def draw(seed: int, only: Sequence[str] | None = None, using: Sequence[str] | None = None) -> Plan:
    """The plan of a seed; with `only`, of those faults, and with `using`, of those features."""
    rng = random.Random(f"plan {seed}")
    kind = rng.random()
    if kind < 0.1:
        faults: frozenset[str] = frozenset()
    elif kind < 0.4:
        faults = frozenset({rng.choice(FAULTS)})
    else:
        likely = rng.choice((0.2, 0.5))
        faults = frozenset(fault for fault in FAULTS if rng.random() < likely)
    if only is not None:
        faults = frozenset(only)
    crashes, cuts, drains, jumps = (rng.randint(1, 3) for _ in range(4))
    return Plan(
        seed=seed,
        faults=faults,
        features=_features(seed) if using is None else frozenset(using),
        crash_steps=tuple(sorted(rng.randrange(40, STEPS) for _ in range(crashes))) if "crash" in faults else (),
        cuts=tuple(sorted(rng.randrange(1, 80) for _ in range(cuts))) if "cut" in faults else (),
        drains=tuple(_signals(rng, drains)) if "drain" in faults else (),
        jumps=tuple(
            (rng.uniform(0.5, SECONDS), rng.choice((-3600.0, -60.0, -2.0, 2.0, 60.0, 3600.0))) for _ in range(jumps)
        )
        if "jump" in faults
        else (),
        workers=rng.randint(1, 3),
        clients=rng.randint(2, 4),
        operations=rng.randint(3, 6),
        max_queued=rng.randint(3, 8) if "tight" in faults else 1_000,
    )


def _signals(rng: random.Random, count: int) -> list[float]:
    """The moments of SIGTERM; some are followed by a second one."""
    moments = [rng.uniform(0.5, SECONDS) for _ in range(count)]
    return sorted([*moments, *(at + rng.choice((0.01, 1.0)) for at in moments if rng.random() < 0.3)])


def _features(seed: int) -> frozenset[str]:
    """What clients use beside the plain things; drawn by itself, so that a new feature changes nothing else."""
    rng = random.Random(f"features {seed}")
    kind = rng.random()
    if kind < 0.12:
        return frozenset()
    if kind < 0.4:
        return frozenset({rng.choice(FEATURES)})
    likely = rng.choice((0.3, 0.6))
    return frozenset(feature for feature in FEATURES if rng.random() < likely)
