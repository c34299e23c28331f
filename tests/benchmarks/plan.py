"""How much is measured: all of it, or a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, the seconds of each load, and numbers of jobs. patience: seconds in all to wait for a quiet machine."""

    rounds: int
    seconds: int
    warm_seconds: int
    patience: float
    e2e_jobs: int
    raw_jobs: int
    drain_jobs: int
    idle_jobs: int
    memory_jobs: int
    few: int
    many: int
    groups: int
    starts: int


FULL = Plan(
    rounds=3,
    seconds=5,
    warm_seconds=1,
    patience=90,
    e2e_jobs=64_000,
    raw_jobs=64_000,
    drain_jobs=100_000,
    idle_jobs=500,
    memory_jobs=100_000,
    few=1_000,
    many=1_000_000,
    groups=10_000,
    starts=5,
)
QUICK = Plan(
    rounds=2,
    seconds=1,
    warm_seconds=1,
    patience=5,
    e2e_jobs=12_800,
    raw_jobs=12_800,
    drain_jobs=20_000,
    idle_jobs=100,
    memory_jobs=20_000,
    few=1_000,
    many=100_000,
    groups=1_000,
    starts=2,
)
