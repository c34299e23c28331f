"""Faults of the disk and of the process, injected at every single point of a short history through the SQLite engine.

strace does the injecting: at the n-th call of a kind it kills the process, or makes the call fail. Needs ptrace; the full
disk needs root, for a small file system of its own.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from tests.e2e import power_loss
from tests.e2e.store_history import Answer, judge, read_answers

SEED = 6
BATCHES = 5
CHECKPOINT_PAGES = 12
FILE = "jobs.db"
STRACE = tuple(option for option in power_loss.STRACE if option != "--seccomp-bpf")
SYNCS = ("fdatasync", "fsync")
KILLED_AT = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "write")
HURT_AT = ("pwrite64", "fdatasync", "fsync", "ftruncate")

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Run:
    """One play of the history under strace."""

    folder: Path
    code: int
    answers: list[Answer]
    log: str

    @property
    def store(self) -> Path:
        return self.folder / "store" / FILE

    def calls(self) -> list[tuple[str, str, int]]:
        return list(power_loss.calls(self.log))


def play(folder: Path, *inject: str, checkpoint: int = CHECKPOINT_PAGES) -> Run:
    """Play it, with faults."""
    (folder / "store").mkdir(parents=True)
    log = folder / "strace"
    program = power_loss.python(
        "tests.e2e.store_history",
        folder / "store" / FILE,
        *("--seed", SEED, "--batches", BATCHES, "--checkpoint", checkpoint),
    )
    # without --seccomp-bpf, with which strace 6.1 does not count up to `when`
    strace = [*STRACE, f"--trace={','.join({*KILLED_AT, *HURT_AT})}", f"--output={log}"]
    done = subprocess.run([*strace, *inject, *program], check=False, capture_output=True, timeout=60)
    answers = read_answers(done.stdout)
    return Run(folder, done.returncode, answers, log.read_text("ascii"))


def at(name: str, when: str, fault: str) -> str:
    """The option of strace that injects a fault at the n-th call (of each thread, but one thread does the writing)."""
    return f"--inject={name}:{fault}:when={when}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same history without a fault: what the others are judged against."""
    run = play(tmp_path_factory.mktemp("undisturbed"))
    assert run.code == 0
    assert len(run.answers) == BATCHES
    return run


def points(run: Run, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every call of these kinds, as (name, n-th of the thread that makes most of them)."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for line in run.log.splitlines():
        pid, _, rest = line.partition(" ")
        name, _, arguments = rest.strip().partition("(")
        if name in counts and (name != "write" or arguments.startswith("1<") and '"{' in arguments):
            counts[name][pid] += 1
    for name, by_thread in counts.items():
        yield from ((name, n) for n in range(1, max(by_thread.values(), default=0) + 1))


def side_by_side(work: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Do it for all, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


def test_a_kill_at_every_single_call_loses_nothing(undisturbed: Run, tmp_path: Path) -> None:
    """SIGKILL before each write, sync, truncation and answer: what was answered is there, every job ends once."""

    def kill(point: tuple[str, int]) -> list[str]:
        name, n = point
        run = play(tmp_path / f"{name}-{n}", at(name, str(n), "signal=SIGKILL"))
        wrong = [] if run.code == -9 and "+++ killed by SIGKILL +++" in run.log else [f"it was not killed: {run.code}"]
        findings = trio.run(judge, run.store, run.answers, undisturbed.answers)
        return [f"{name} {n}: {wrong}" for wrong in (*wrong, *findings.lost, *findings.broken)]

    every = list(points(undisturbed, KILLED_AT))
    assert {name for name, _ in every} == {*KILLED_AT} - {"fsync"}
    assert len(every) > 150
    assert [wrong for result in side_by_side(kill, every) for wrong in result] == []


def test_an_io_error_is_never_answered_as_success(undisturbed: Run, tmp_path: Path) -> None:
    """EIO at each write, sync and truncation: from then on all are told, and no file is ever synced a second time."""

    def hurt(point: tuple[str, int]) -> list[str]:
        name, n = point
        run = play(tmp_path / f"{name}-{n}", at(name, str(n), "error=EIO"))
        return [f"{name} {n}: {wrong}" for wrong in _wrong_after_an_error(run, undisturbed.answers)]

    every = list(points(undisturbed, HURT_AT))
    assert [wrong for result in side_by_side(hurt, every) for wrong in result] == []


def test_an_io_error_while_it_stops_is_not_hidden(undisturbed: Run, tmp_path: Path) -> None:
    """EIO at a sync of the last checkpoint, when the store is closed: exit code 74, nothing lost, no second sync."""
    quiet = play(tmp_path / "quiet", checkpoint=1_000)
    last = max(n for _, n in points(quiet, ["fdatasync"]))
    for n in (last - 1, last):
        run = play(tmp_path / str(n), at("fdatasync", str(n), "error=EIO"), checkpoint=1_000)
        assert len(run.answers) == BATCHES
        assert not any(answer.error for answer in run.answers)
        assert run.code == 74
        assert [*_wrong_after_an_error(run, undisturbed.answers)] == []


def _wrong_after_an_error(run: Run, undisturbed: Sequence[Answer]) -> Iterator[str]:
    yield from _answers_after(run)
    if run.answers:  # before that the file was only being made
        yield from _synced_again(run)
    good = [answer for answer in run.answers if not answer.error]
    findings = trio.run(judge, run.store, good, undisturbed)
    yield from (*findings.lost, *findings.broken)


def _answers_after(run: Run) -> Iterator[str]:
    """What was answered with success although a call had failed before."""
    if "(INJECTED)" not in run.log:
        yield "nothing was injected"
        return
    if "-shm>" in next(line for line in run.log.splitlines() if "(INJECTED)" in line):
        return  # shared memory: nothing of it is to be kept, the engine tries again
    failed = [answer.batch for answer in run.answers if answer.error]
    for answer in run.answers:
        if not answer.error and failed and answer.batch > failed[0]:
            yield f"batch {answer.batch} was answered after batch {failed[0]} had failed"
    before = run.log[: run.log.index("(INJECTED)")]
    told = before.count("write(1<")
    if len(run.answers) > told and not run.answers[told].error:
        yield f"batch {told} was answered with success after the failure"
    if run.code not in (0, 74) or (len(run.answers) < BATCHES and run.code != 74):
        yield f"exit code {run.code}"


def _synced_again(run: Run) -> Iterator[str]:
    """Syncs of a file after one of it had failed: the second may report a success that is none."""
    hurt: set[str] = set()
    for name, arguments, result in run.calls():
        file = arguments.partition("<")[2].partition(">")[0]
        if name in SYNCS and file in hurt:
            yield f"{name} of {Path(file).name} after a failure"
        elif name in SYNCS and result == -1 and file != str(run.store.parent):  # SQLite tries a folder again
            hurt.add(file)
