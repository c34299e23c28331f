"""kill -9 at random moments under load: what was answered survives, a retried key makes one job, each job ends once.

KILL_CYCLES is how often (200), KILL_SEED what the moments are drawn from (random, and printed on failure).
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.aftermath import end_all_jobs, wrongs
from tests.e2e.callers import Callers
from tests.e2e.crash_handlers import JOURNAL, REGISTRY, read_journal
from tests.e2e.fork_server import ForkServer
from tests.e2e.server_process import STORE, ServerProcess, running_server, server_forks

CYCLES = int(os.environ.get("KILL_CYCLES", "200"))
SOAK_CYCLES = int(os.environ.get("KILL_CYCLES", "10000"))
CALLERS = 4
ANSWERS_SECONDS = 30.0


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with server_forks() as forks:
        yield forks


def kill_in_cycles(cycles: int, forks: ForkServer, folder: Path) -> None:
    """Kill the server so often, then let all jobs end and look at what there is."""
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(1 << 32)))
    chance = random.Random(seed)
    journal = folder / "journal"
    seen: set[str] = set()

    def life(*options: str) -> AbstractContextManager[ServerProcess]:
        return running_server(folder, *options, handlers=[REGISTRY], env={JOURNAL: str(journal)}, forks=forks)

    with Callers(CALLERS, seed, lambda chance: chance.choice((0, 0, 0.01, 0.05))) as callers:
        for _ in range(cycles):
            with life() as server:
                die_at_some_moment(server, callers, chance)
                seen.update(entry["event"] for entry in server.log.entries())
        with life("--workers", "64") as server:
            callers.at(server.address)
            callers.leave()
            end_all_jobs(server)
            assert server.kill(signal.SIGTERM) == 0
    bad = wrongs(folder / STORE, callers.told, read_journal(journal))
    again = f"KILL_SEED={seed} KILL_CYCLES={cycles} pytest {__file__}"
    assert not bad, f"{len(bad)} faults in {len(callers.told.jobs)} jobs; see again: {again}\n" + "\n".join(bad[:20])
    assert seen <= {"open", "listening", "recovered"}, f"it logged {seen}"
    assert callers.told.unanswered >= cycles / 4, "hardly a request was cut off: the kills came between them"


def die_at_some_moment(server: ServerProcess, callers: Callers, chance: random.Random) -> None:
    """Kill it while it starts, or after some answers, often in the middle of the next."""
    if chance.random() < 0.2:
        try:
            server.exit_code(chance.uniform(0, 0.06))
        except TimeoutError:
            pass
        else:
            raise AssertionError(f"it ended by itself:\n{server.log}")
    else:
        callers.at(server.address)
        assert callers.wait_for_answers(chance.randint(0, 60), ANSWERS_SECONDS), f"no answers:\n{server.log}"
    assert server.kill() == -9


def test_kill_9_loses_nothing(forks: ForkServer, tmp_path: Path) -> None:
    """Through 200 kills: every accepted job exists once, in one end, with at most one accepted completion."""
    kill_in_cycles(CYCLES, forks, tmp_path)


@pytest.mark.soak
def test_kill_9_loses_nothing_in_10_000_lives(forks: ForkServer, tmp_path: Path) -> None:
    """The same through 10,000 kills, in stores of 1,000 each."""
    for part in range(10):
        folder = tmp_path / str(part)
        folder.mkdir()
        kill_in_cycles(SOAK_CYCLES // 10, forks, folder)
