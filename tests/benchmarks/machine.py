"""The machine: its cores, whether it is quiet, how fast its disk syncs, what a process used of it."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
QUIET_CORES = 0.25  # what others may use of the machine while we measure
LOOK_SECONDS = 0.5
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started within runs on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Quiet:
    """Waits until nobody else uses the machine, but not for ever: `patience` seconds in all of a run."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.noise: list[float] = []

    def wait(self) -> None:
        """Wait, and note how many cores others used last."""
        while True:
            used = _used_cores()
            if used < QUIET_CORES or self._patience <= 0:
                self.noise.append(used)
                return
            self._patience -= LOOK_SECONDS


def _used_cores() -> float:
    before = _busy_ticks()
    time.sleep(LOOK_SECONDS)
    return (_busy_ticks() - before) / TICKS / LOOK_SECONDS


def _busy_ticks() -> int:
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal


def cpu_seconds(pid: int) -> float:
    """What a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """What a process holds in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


def sync_ms(folder: Path, times: int = 200) -> float:
    """What the disk takes to make 4 KiB safe: the median."""
    taken = []
    file = os.open(folder / "sync", os.O_RDWR | os.O_CREAT)
    try:
        for number in range(times):
            os.pwrite(file, b"x" * 4096, number * 4096)
            began = time.perf_counter()
            os.fdatasync(file)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(file)
    return 1e3 * statistics.median(taken)


def percentile(values: Sequence[float], percent: float) -> float:
    """Of what was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def say(line: str) -> None:
    """To whoever waits for the table; the table alone goes to stdout."""
    print(line, file=sys.stderr, flush=True)
