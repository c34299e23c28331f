"""The whole program keeps its promises in every schedule, and the simulation finds it out when it does not.

Fresh seeds for every version of the program: they begin at a digest of its source and of this harness, so whoever tests
that version runs the same ones, and the next change runs others; the long run draws its own. SIM_SCHEDULES says how
many, SIM_SEED where they begin instead. A failure prints the command that replays it; its seed then belongs into
FAILED_ONCE.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import jobqueue
from tests.simulation.__main__ import report
from tests.simulation.bugs import BUGS, FEATURES
from tests.simulation.run import DISKS, Verdict, simulate

SCHEDULES = int(os.environ.get("SIM_SCHEDULES", "2000"))
SHARES = {"memory": 0.7, "sqlite": 0.3}  # the file is slower, and most faults are not the engine's


def of_this_version() -> int:
    """A number that changes with every line of the program and of its simulation."""
    source = hashlib.blake2b(digest_size=5)
    for folder in (Path(jobqueue.__file__).parent, Path(__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            source.update(file.read_bytes())
    return int.from_bytes(source.digest(), "big")


BASE = int(os.environ.get("SIM_SEED") or of_this_version())
CAUGHT_WITHIN = 2_000
SOAK_SCHEDULES = int(os.environ.get("SIM_SOAK_SCHEDULES", "100000"))
CHUNK = 50

FAILED_ONCE: tuple[tuple[int, str, tuple[str, ...]], ...] = (
    (4, "memory", ()),  # a client that left a stream of lines left a generator behind, to the garbage collector
    (68, "memory", ()),  # SIGTERM while the process ended for an I/O error: exit code 70 instead of 74
    (1041819091552, "memory", ()),  # the clock set back by two hours: the harness was less patient than that
    (1190, "memory", ("schedules",)),  # a full queue: the last job of a schedule was replaced, but by no other
    (1231, "memory", ("amend", "depends", "explain", "unique")),  # a read that failed cost a job a try
    (204, "sqlite", ("bulk",)),  # what was cancelled already was counted again
)


def check(verdict: Verdict) -> None:
    """Fail with all that is needed to see it again."""
    if verdict.violations:
        pytest.fail(report(verdict), pytrace=False)


def schedules(store: str, count: int, base: int) -> None:
    """Run that many seeds."""
    sys.stdout.write(f"{count} schedules on {store} from SIM_SEED={base}\n")
    for seed in range(base, base + count):
        check(simulate(seed, store))


@pytest.mark.parametrize("store", DISKS)
def test_every_promise_holds_in_fresh_schedules(store: str) -> None:
    """Nothing acknowledged is lost, doubled, run twice at once, miscounted, out of order or forgotten."""
    schedules(store, int(SCHEDULES * SHARES[store]), BASE)


@pytest.mark.parametrize("seed, store, using", FAILED_ONCE)
def test_what_failed_once_does_not_fail_again(seed: int, store: str, using: tuple[str, ...]) -> None:
    """A seed that showed a bug goes on being run."""
    check(simulate(seed, store, using=using))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    """The harness can fail: each bug shows itself in some of the schedules that CI runs, and is what failed.

    A bug of a feature is looked for among seeds that use it, which are at least one in seven.
    """
    using = FEATURES.get(bug)
    most = CAUGHT_WITHIN if using is None else CAUGHT_WITHIN // (4 if len(using) == 1 else 7)
    for count in range(1, most + 1):
        seed, store = BASE + count, "memory" if count % 4 else "sqlite"
        with BUGS[bug]():
            verdict = simulate(seed, store, using=using)
        if verdict.violations:
            check(simulate(seed, store, using=using))
            sys.stdout.write(f"{bug} was caught after {count} schedules: {verdict.violations[0].splitlines()[0]}\n")
            return
    pytest.fail(f"{bug} was not caught in {most} schedules from SIM_SEED={BASE}")


@pytest.mark.parametrize("store", DISKS)
def test_a_seed_is_one_schedule(store: str) -> None:
    """The same seed takes the same steps again, in another process with other hashes as well."""
    verdict = simulate(BASE, store)
    again = simulate(BASE, store)
    command = [sys.executable, "-m", "tests.simulation", str(BASE), "--store", store, "--tail", "1"]
    other = subprocess.run(
        command,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.digest == verdict.digest
    assert f"digest {verdict.digest}" in other.stdout, other.stdout + other.stderr


def test_seeds_are_different_schedules() -> None:
    """So that many seeds try many schedules."""
    assert len({simulate(BASE + offset).digest for offset in range(20)}) == 20


def test_the_schedules_reach_what_they_are_to_try() -> None:
    """Among two hundred there are crashes, convictions, give-backs and the rest: an idle fault proves nothing."""
    wanted = (
        "CRASH step", "CRASH commit", "CRASH left stuck work", "SIGTERM", "DIED StoreFailed", "store failing",
        "crash-loop", "timeout", "undecodable", "unknown-kind", "expired", "RUNNING -> CANCELLED",
        "FAILED -> QUEUED", "RUNNING -> QUEUED", "echo", "no answer", " 429", " 503", " 507", " 202", " 204", " 404",
        " 409", " 410", "BLOCKED -> QUEUED", "BLOCKED -> SCHEDULED", "BLOCKED -> CANCELLED", "None -> CANCELLED",
        "dependency", "replaced", "DONE removed", "CANCELLED removed", "queue Queue(name='mail', paused=True",
        "weights={'red'", "rate=Rate", "concurrency=1", "schedule tick", "schedule tock None",
        "POST /schedules/tick/ 201",
        "PATCH /jobs/01920000-0 200", "POST /jobs/cancel 200", "POST /jobs/retry 200", "POST /jobs/delete 200",
        "GET /events? 200", "GET /jobs/01920000-0 200",
    )  # fmt: skip
    seen: Counter[str] = Counter()
    for seed in range(200):
        trace = "\n".join(simulate(seed, keep=1_000_000).tail)
        seen.update({what: trace.count(what) for what in wanted})
    assert not [what for what in wanted if not seen[what]], seen


@pytest.mark.soak
@pytest.mark.parametrize("store", DISKS)
def test_every_promise_holds_in_very_many_schedules(store: str) -> None:
    """The same, for hours."""
    base = int(os.environ.get("SIM_SEED") or random.SystemRandom().randrange(1 << 40))
    for start in range(0, int(SOAK_SCHEDULES * SHARES[store]), CHUNK):
        schedules(store, CHUNK, base + start)
