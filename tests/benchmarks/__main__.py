"""Measures the server and prints one table of what it promises: `just bench`, or `python -m tests.benchmarks`.

    python -m tests.benchmarks [--quick] [ROW...]               all rows, or some: post status bulk e2e drain idle
                                                                slow-disk depth memory start list
    python -m tests.benchmarks profile post|drain|e2e [JOBS]    where the time goes (profiling.py)

About eight minutes; `--quick` takes two, has short rounds and fewer jobs, and is for a look while one works. Nothing is
written into the checkout. A test never asserts a speed; this is where one is judged.

The method:

- Only ratios within one run count. What a row is compared with is measured in the same rounds, one after the other,
  round by round (interleaved), and the medians are compared: a machine that slows down slows both. Absolute floors
  ("jobs/s") are those of a quiet machine with two cores; elsewhere judge by the ratio beside them.
- The server runs on the first core, the load (wrk, one thread) on the last one. What runs inside one process has both.
- Before each measure the machine is given time to become quiet, bounded in all. The last line says how loud it was: at
  more than 0.25 cores of noise the figures are good for a rough look only, and the CPU a job says more than the rate.
- Durable means the default: SQLite, synchronous=FULL, on the file system of TMPDIR, whose fdatasync is measured too. In
  memory (tmpfs) nothing is.
- Each measure starts its server or interpreter afresh, on a new file, and warms it up first. A failed request, or an
  answer that is none, spoils the figure: the row is then not measured.
- The slow disk is strace, which holds up each fdatasync for 5 ms on its way back (it adds about 0.1 ms of its own).
- `raw` in row e2e is SQLite alone doing the same writes (raw.py); `stock` is stock Hypercorn and Quart-Trio (stock.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks import fresh, load, machine, over_http, profiling, scale, table
from tests.benchmarks.load import Unmeasured
from tests.benchmarks.machine import Quiet, say
from tests.benchmarks.plan import FULL, QUICK, Plan
from tests.benchmarks.rows import ROWS
from tests.benchmarks.table import Results, Row

EXIT_USAGE = 2

Measure = Callable[[Plan, Path], Mapping[str, float]]


def _inside(what: str, jobs: str, *workers: int) -> Measure:
    """A measure that needs no HTTP, on so many jobs as the plan has."""
    return lambda plan, folder: fresh.measured("inside", what, folder / "jobs.db", getattr(plan, jobs), *workers)


LOADED: dict[str, Measure] = {  # these need wrk
    "stock": over_http.stock,
    "post": over_http.post,
    "status": over_http.status,
    "bulk-array": over_http.bulk_array,
    "bulk-lines": over_http.bulk_lines,
    "post-128": over_http.post_many,
    "post-slow-disk": over_http.post_slow_disk,
}
ROUNDS: dict[str, Measure] = {
    **LOADED,
    "idle": over_http.idle,
    "raw": _inside("raw", "raw_jobs"),
    "e2e": _inside("e2e", "e2e_jobs", 32),
    "drain-32": _inside("drain", "drain_jobs", 32),
    "drain-128": _inside("drain", "drain_jobs", 128),
}
ONCE: dict[str, Measure] = {  # these have rounds of their own
    "depth": scale.depth,
    "depth-in-groups": scale.depth_in_groups,
    "memory": over_http.memory,
    "start": scale.start,
    "list": scale.lists,
}


def measured(rows: Sequence[Row], plan: Plan, quiet: Quiet) -> Results:
    """Everything that the rows need, in interleaved rounds."""
    wanted = {name for row in rows for name in row.measures}
    results = Results(plan)
    for number in range(plan.rounds):
        for name, measure in ROUNDS.items():
            if name in wanted:
                say(f"round {number + 1} of {plan.rounds}: {name}")
                _measure(name, partial(measure, plan), results, quiet)
    for name, measure in ONCE.items():
        if name in wanted:
            say(name)
            _measure(name, partial(measure, plan), results, quiet)
    return results


def _measure(name: str, measure: Callable[[Path], Mapping[str, float]], results: Results, quiet: Quiet) -> None:
    if name in results.failures:
        return
    quiet.wait()
    with tempfile.TemporaryDirectory(prefix="jobqueue-bench-") as folder:
        try:
            results.figures.setdefault(name, []).append(measure(Path(folder)))
        except Unmeasured as why:
            results.failures[name] = str(why)
            say(f"{name}: {why}")


def _conditions(quiet: Quiet) -> str:
    with tempfile.TemporaryDirectory(prefix="jobqueue-bench-") as folder:
        sync = machine.sync_ms(Path(folder))
    version = ".".join(map(str, sys.version_info[:3]))
    loud = max(quiet.noise)
    advice = "quiet" if loud < machine.QUIET_CORES else "LOUD: only a rough look"
    return (
        f"Python {version}, {len(machine.CORES)} cores, fdatasync {sync:.2f} ms; others used up to {loud:.2f} cores"
        f" before a measure ({advice})"
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, print; the exit code."""
    if arguments[:1] == ["profile"]:
        return profiling.main(arguments[1:])
    names = [argument for argument in arguments if argument != "--quick"]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        say(f"no such row: {', '.join(sorted(unknown))}; there are: {' '.join(row.name for row in ROWS)}, and profile")
        return EXIT_USAGE
    rows = [row for row in ROWS if not names or row.name in names]
    if not load.installed() and any(name in LOADED for row in rows for name in row.measures):
        say("wrk is missing; it is the Debian package wrk: apt-get install wrk")
        return EXIT_USAGE
    plan = QUICK if "--quick" in arguments else FULL
    quiet = Quiet(plan.patience)
    results = measured(rows, plan, quiet)
    print("\n".join(table.lines(rows, results)))
    print(f"\n{_conditions(quiet)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
