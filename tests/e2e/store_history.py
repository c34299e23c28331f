"""A seeded history of batches through the real SQLite engine.

As a program it is what gets recorded (`power_loss`), killed and hurt (`test_faults`) from outside:

    python -m tests.e2e.store_history PATH --seed 7 --batches 40

It prints one line an answer, each in a write of its own, after the commit of its batch. The same seed gives the same
jobs, the same batches and the same digests of the whole table, so a crash can be judged against an undisturbed run
(`store_judge`).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import msgspec
import trio

from jobqueue.clock import SECOND, Micros
from jobqueue.errors import StartupError, StorageFull
from jobqueue.job import Draft, Ending, Error, Options, Outcome, Retry, Status
from jobqueue.rules import admission, idempotency, lifecycle, ripening
from jobqueue.rules.admission import Node, Want
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.isolation import Isolation
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores import sqlite
from jobqueue.stores.contract import Needs, StoreFailed
from jobqueue.stores.sqlite import SqliteStore, schema

EPOCH: Micros = 1_800_000_000 * SECOND
ANYTHING = Needs  # the engine under test does not look at it
SCOPE = "history"


class Answer(msgspec.Struct, frozen=True):
    """What the history was told about one batch, or the error it was told.

    jobs: (status, epoch) of every job that the batch touched. keys: the jobs of each idempotency key.
    digest: the whole table as it stood after the batch.
    """

    batch: int
    jobs: dict[str, tuple[int, int]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    digest: str = ""
    error: str = ""


@dataclass
class History:
    """The caller's side: it submits, claims, settles, cancels and retries, as its seed has it."""

    seed: int
    chance: random.Random = field(init=False)
    running: dict[str, int] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    keys: list[tuple[IdempotencyKey, tuple[Draft, ...]]] = field(default_factory=list)
    isolation: Isolation = field(default_factory=Isolation)
    batch: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def times(self) -> Times:
        """What the rules of the next batch are told."""
        return Times(
            now=EPOCH + self.batch * SECOND,
            chance=self.chance.random,
            new_id=lambda: str(uuid.UUID(int=self.chance.getrandbits(128))),
            boot_id=str(uuid.UUID(int=self.seed)),
            limits=Limits(),
        )

    async def step(self, store: SqliteStore) -> Answer:
        """One batch and its answer."""
        return await store.apply(ANYTHING, self._decide)

    def _decide(self, table: Table) -> Answer:
        """What a batch of the state actor holds: submissions, results, a cancel, a retry, wants, what time does."""
        times = self.times()
        keys = dict(self._submit(table, times) for _ in range(self.chance.randint(0, 3)))
        self._settle(table, times)
        self._cancel_and_retry(table, times)
        self._claim(table, times)
        ripening.ripen(table, times)
        jobs = {
            id: (int(after.status), after.epoch) for id, (_, after) in table.changes.jobs.items() if after is not None
        }
        return Answer(self.batch, jobs, keys)

    def _submit(self, table: Table, times: Times) -> tuple[str, tuple[str, ...]]:
        if self.keys and self.chance.random() < 0.1:
            key, drafts = self.chance.choice(self.keys)
        else:
            key = IdempotencyKey(SCOPE, f"key-{len(self.keys)}", b"digest")
            drafts = tuple(self._draft() for _ in range(self.chance.choice((1, 1, 2, 5))))
            self.keys.append((key, drafts))
        accepted = idempotency.accept(table, drafts, key, times)
        ids = tuple(job.id for job in accepted.jobs)
        if not accepted.replayed:
            self.known.extend(ids)
        return key.key, ids

    def _draft(self) -> Draft:
        chance = self.chance
        size = int(chance.paretovariate(0.7)) % 9_000  # some span several pages
        return Draft(
            kind="work",
            queue=chance.choice(("default", "other")),
            priority=chance.choice((0, 0, 0, 5)),
            group=chance.choice((None, None, "a", "b")),
            payload=f'"{"x" * size}"',
            options=Options(max_attempts=2, retry=Retry(initial=3, jitter="none")),
            delay=chance.choice((None, None, None, 4.0)),
        )

    def _settle(self, table: Table, times: Times) -> None:
        for id, epoch in list(self.running.items()):
            if self.chance.random() < 0.6:
                del self.running[id]
                lifecycle.settle(table, self._outcome(id, epoch), times)

    def _outcome(self, id: str, epoch: int) -> Outcome:
        match self.chance.random():
            case draw if draw < 0.7:
                return Outcome(id, epoch, Ending.DONE, result=f'{{"by":"{id}"}}')
            case draw if draw < 0.9:
                return Outcome(id, epoch, Ending.ERROR, error=Error("ValueError", "no luck"))
            case _:
                return Outcome(id, epoch, Ending.RELEASED)

    def _cancel_and_retry(self, table: Table, times: Times) -> None:
        if not self.known or self.chance.random() < 0.5:
            return
        job = table.job(self.chance.choice(self.known))
        if job.status in (Status.FAILED, Status.CANCELLED):
            lifecycle.retry(table, job.id)
        elif job.status is not Status.DONE:
            lifecycle.cancel(table, job.id, times)

    def _claim(self, table: Table, times: Times) -> None:
        workers = tuple(f"local-{n}" for n in range(self.chance.randint(0, 4)))
        node = Node(len(self.running), self.isolation, float(self.batch))
        if workers:
            claims = admission.claim(table, [Want(admission.ALL_QUEUES, workers)], node, times)
            self.isolation = claims.isolation
            self.running.update((job.id, job.epoch) for job in claims.jobs[0])


# -- the program


def digest(connection: apsw.Connection) -> str:
    """A digest of every row of every table."""
    whole = hashlib.blake2b(digest_size=12)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall():
        whole.update(repr((table, sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr))).encode())
    return whole.hexdigest()


async def play(path: Path, seed: int, batches: int, synchronous: str) -> None:
    """Play the history; each answer is one write to standard output. An error that may heal is tried again."""
    history = History(seed)
    async with SqliteStore(str(path), lambda: history.times().now, synchronous=synchronous) as store:
        reading = schema.open_readonly(str(path))
        try:
            for history.batch in range(batches):
                _say(await _step(history, store, reading))
        finally:
            reading.close()


async def _step(history: History, store: SqliteStore, reading: apsw.Connection) -> Answer:
    try:
        answer = await history.step(store)
    except (StoreFailed, StorageFull) as error:
        return Answer(history.batch, error=type(error).__name__)
    return msgspec.structs.replace(answer, digest=digest(reading))


def _say(answer: Answer) -> None:
    os.write(1, msgspec.json.encode(answer) + b"\n")


def read_answers(raw: bytes) -> list[Answer]:
    """The answers that were written whole."""
    return [msgspec.json.decode(line, type=Answer) for line in raw.split(b"\n")[:-1]]


def main() -> None:
    """Play one history in a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--synchronous", choices=("FULL", "NORMAL"), default="FULL")
    parser.add_argument("--checkpoint", type=int, default=40, help="pages of the WAL that bring a checkpoint about")
    options = parser.parse_args()
    sqlite.CHECKPOINT_PAGES = options.checkpoint  # often, since a checkpoint is where order matters most
    try:
        trio.run(play, options.path, options.seed, options.batches, options.synchronous)
    except StartupError as error:
        raise SystemExit(error.exit_code) from error
    except StoreFailed as error:
        raise SystemExit(74) from error


if __name__ == "__main__":
    main()
