"""What a million jobs in the file cost: at the start of a server, at each operation, and in lists."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks import fresh, servers
from tests.benchmarks.plan import Plan

Figures = Mapping[str, float]

FEW_GROUPS = 100  # more than a claim serves at once, so that it touches as many lanes as among thousands


def start(plan: Plan, folder: Path) -> Figures:
    """Seconds until ready, with many jobs in the file and with none."""
    file = folder / "many.db"
    fresh.measured("inside", "fill", file, plan.many, 0)
    full, empty = [], []
    for number in range(plan.starts):
        empty.append(servers.time_to_ready(folder, folder / f"empty-{number}.db"))
        full.append(servers.time_to_ready(folder, file))
    return {"full": statistics.median(full), "empty": statistics.median(empty)}


def depth(plan: Plan, folder: Path) -> Figures:
    """Microseconds an operation, `submit small` with few jobs queued, `submit large` with many, and so on."""
    return _compare(folder, (plan.few, 0), (plan.many, 0))


def depth_in_groups(plan: Plan, folder: Path) -> Figures:
    """The same with the jobs in many groups, ten a group."""
    return _compare(folder, (10 * FEW_GROUPS, FEW_GROUPS), (10 * plan.groups, plan.groups))


def lists(plan: Plan, folder: Path) -> Figures:
    """Milliseconds of the slowest page of each filter, and of a thousand ids (`ids: ...`)."""
    return fresh.measured("lists", folder / "lists.db", plan.many)


def _compare(folder: Path, *fillings: tuple[int, int]) -> Figures:
    files = [folder / "small.db", folder / "large.db"]
    for file, (jobs, groups) in zip(files, fillings, strict=True):
        fresh.measured("inside", "fill", file, jobs, groups)
    return fresh.measured("depth", *files)
