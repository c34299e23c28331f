"""Faults of the disk and of the process, injected at every single point of a short history through the SQLite engine.

strace does the injecting: at the n-th call of a kind it kills the process, or makes the call fail. It needs ptrace; the
rest of the story, a server on such a disk, is in test_disk_faults.py.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import pytest
import trio

from tests.e2e import power_loss
from tests.e2e.fork_server import ForkServer
from tests.e2e.store_history import Answer, read_answers
from tests.e2e.store_judge import judge

SEED = 6
BATCHES = 5
CHECKPOINT_PAGES = 12
FILE = "jobs.db"
SYNCS = ("fdatasync", "fsync")
KILLED_AT = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "write")
HURT_AT = ("pwrite64", "fdatasync", "fsync", "ftruncate")
# without --seccomp-bpf, with which strace 6.1 does not count up to `when`
STRACE = ("strace", "--follow-forks", "--decode-fds=path", "--string-limit=4096")
STRACE_SECONDS = 60.0
AT_ONCE = os.cpu_count() or 1

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

    @property
    def hurt(self) -> str:
        """The line of the call that was made to fail."""
        return next((line for line in self.log.splitlines() if line.endswith("(INJECTED)")), "")


class Player:
    """Plays the history, again and again, each time in a fresh process that strace follows from its first step on."""

    def __init__(self, forks: SimpleQueue[ForkServer]) -> None:
        self._forks = forks

    def play(self, folder: Path, *inject: str, checkpoint: int = CHECKPOINT_PAGES) -> Run:
        """Play it, with faults."""
        (folder / "store").mkdir(parents=True)
        options = ("--seed", SEED, "--batches", BATCHES, "--checkpoint", checkpoint)
        arguments = [str(folder / "store" / FILE), *map(str, options)]
        answers, log = folder / "answers", folder / "strace"
        forks = self._forks.get()
        try:
            with answers.open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
                code = self._follow(forks, arguments, (stdout.fileno(), stderr.fileno()), log, inject)
        finally:
            self._forks.put(forks)
        return Run(folder, code, read_answers(answers.read_bytes()), log.read_text("ascii"))

    def _follow(
        self, forks: ForkServer, arguments: Sequence[str], output: tuple[int, int], log: Path, inject: Sequence[str]
    ) -> int:
        """The exit code of a run that waits at a gate until strace is there."""
        gate, opener = os.pipe()
        try:
            process = forks.start(arguments, stdout=output[0], stderr=output[1], gate=gate)
            traced = f"--trace={','.join({*KILLED_AT, *HURT_AT})}"
            command = [*STRACE, traced, f"--output={log}", f"--attach={process.pid}", *inject]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as strace:
                assert strace.stderr is not None
                attached = strace.stderr.readline()
                assert b"attached" in attached, attached
                os.write(opener, b"!")
                code = process.wait(STRACE_SECONDS)
                strace.wait(STRACE_SECONDS)
        finally:
            os.close(gate)
            os.close(opener)
        return code


def at(name: str, n: int, fault: str) -> str:
    """The option of strace that injects a fault at the n-th call (of each thread, but one thread does the writing)."""
    return f"--inject={name}:{fault}:when={n}"


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    queue: SimpleQueue[ForkServer] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            queue.put(stack.enter_context(ForkServer("tests.e2e.store_history:main")))
        yield Player(queue)


@pytest.fixture(scope="module")
def undisturbed(player: Player, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same history without a fault: what the others are judged against."""
    run = player.play(tmp_path_factory.mktemp("undisturbed") / "run")
    assert run.code == 0
    assert len(run.answers) == BATCHES
    return run


def points(run: Run, names: Sequence[str]) -> list[tuple[str, int]]:
    """Every call of these kinds, as (name, n-th of the thread that makes most of them)."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for line in run.log.splitlines():
        pid, _, rest = line.partition(" ")
        name = rest.strip().partition("(")[0]
        if name in counts:
            counts[name][pid] += 1
    return [(name, n) for name, of in counts.items() for n in range(1, max(of.values(), default=0) + 1)]


def side_by_side(work: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Do it for all, as many at a time as there are cores."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def test_a_kill_at_every_single_call_loses_nothing(player: Player, undisturbed: Run, tmp_path: Path) -> None:
    """SIGKILL before each write, sync, truncation and answer: what was answered is there, every job ends once."""

    def kill(point: tuple[str, int]) -> list[str]:
        name, n = point
        run = player.play(tmp_path / f"{name}-{n}", at(name, n, "signal=SIGKILL"))
        wrong = [] if run.code == -9 and "+++ killed by SIGKILL +++" in run.log else [f"it was not killed: {run.code}"]
        findings = trio.run(judge, run.store, run.answers, undisturbed.answers)
        return [f"{name} {n}: {wrong}" for wrong in (*wrong, *findings.lost, *findings.broken)]

    every = points(undisturbed, KILLED_AT)
    assert {name for name, _ in every} == {*KILLED_AT}
    assert len(every) > 150
    assert [wrong for result in side_by_side(kill, every) for wrong in result] == []


def test_an_io_error_is_never_answered_as_success(player: Player, undisturbed: Run, tmp_path: Path) -> None:
    """EIO at each write, sync and truncation: from then on all are told, and no file is ever synced a second time."""

    def hurt(point: tuple[str, int]) -> list[str]:
        name, n = point
        run = player.play(tmp_path / f"{name}-{n}", at(name, n, "error=EIO"))
        return [f"{name} {n}: {wrong} ({run.hurt[:120]})" for wrong in wrong_after_an_error(run, undisturbed.answers)]

    every = points(undisturbed, HURT_AT)
    assert [wrong for result in side_by_side(hurt, every) for wrong in result] == []


def test_an_io_error_while_it_stops_is_not_hidden(player: Player, undisturbed: Run, tmp_path: Path) -> None:
    """EIO at a sync of the last checkpoint, when the store is closed: exit code 74, nothing lost, no second sync."""
    quiet = player.play(tmp_path / "quiet", checkpoint=1_000)
    last = max(n for _, n in points(quiet, ["fdatasync"]))
    for n in (last - 1, last):
        run = player.play(tmp_path / str(n), at("fdatasync", n, "error=EIO"), checkpoint=1_000)
        assert len(run.answers) == BATCHES
        assert not any(answer.error for answer in run.answers)
        assert run.code == 74
        assert [*wrong_after_an_error(run, undisturbed.answers)] == []


def wrong_after_an_error(run: Run, undisturbed: Sequence[Answer]) -> Iterator[str]:
    """All that may not follow a failed call."""
    if not run.hurt:
        yield "nothing was injected"
        return
    if "-shm>" not in run.hurt:  # of shared memory nothing is to be kept: the engine tries again
        yield from _answered_after(run)
    if run.answers:  # before that the file was only being made
        yield from synced_again(run.log)
    good = [answer for answer in run.answers if not answer.error]
    findings = trio.run(judge, run.store, good, undisturbed)
    yield from (*findings.lost, *findings.broken)


def _answered_after(run: Run) -> Iterator[str]:
    """What was answered with success although a call had failed before.

    That SQLite may not sync the folder does no harm: the engine has done it itself, before the first answer.
    """
    if run.hurt.partition("<")[2].startswith(f"{run.store.parent}>") and " fdatasync(" in run.hurt:
        return
    told = run.log[: run.log.index("(INJECTED)")].count(" write(1<")
    for answer in run.answers[told:]:
        if not answer.error:
            yield f"batch {answer.batch} was answered with success after the failure"
    if run.code not in (0, 74) or (len(run.answers) < BATCHES and run.code != 74):
        yield f"exit code {run.code}"


def synced_again(log: str) -> Iterator[str]:
    """Syncs of a file after one of it had failed: the second may report a success that is none.

    A folder is let pass: SQLite syncs it for a new name, and does so again for the next.
    """
    hurt: set[str] = set()
    for name, arguments, result in power_loss.calls(log):
        file = arguments.partition("<")[2].partition(">")[0]
        if name in SYNCS and file in hurt:
            yield f"{name} of {Path(file).name} after a failure"
        elif name in SYNCS and result == -1 and not Path(file).is_dir():
            hurt.add(file)
