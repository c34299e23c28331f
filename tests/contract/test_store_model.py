"""The rules on an engine, driven at random and compared after every batch with a model written independently."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobqueue.actors.commands.ties import declare
from jobqueue.clock import SECOND
from jobqueue.errors import BadState, JobQueueError
from jobqueue.job import Ending, Job, LaneKey, Outcome, Status, Unique
from jobqueue.rules import admission, amending, dependencies, idempotency, lifecycle, ripening
from jobqueue.rules.admission import Node, Want
from jobqueue.rules.amending import Amendment
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import Limits, Times
from jobqueue.rules.table import Table
from jobqueue.stores.contract import REMOVED, Filter, Needs, Store
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore
from tests.contract import ties
from tests.contract.model import ENDED, MAX_ENDED, MAX_QUEUED, Model, Row
from tests.helpers import FAILURE, Clock, Desk, Inline, draft, new_id, run

QUEUES = ["p", "q"]
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what a disk does is not looked at here
BANDS = "SELECT queue, priority, turn FROM bands"
NOWHERE = "01920000-0000-7000-8000-ffffffffffff"

drafts = st.lists(
    st.fixed_dictionaries(
        {
            "queue": st.sampled_from(QUEUES),
            "priority": st.sampled_from([0, 0, 5]),
            "group": st.sampled_from([None, "a", "b"]),
            "delay": st.sampled_from([None, None, 0, 1, 20]),
            "expires": st.sampled_from([None] * 5 + [30, 90]),
            "max_attempts": st.integers(1, 3),
            "unique": ties.uniques,
            "depends": ties.parents,
            "mode": ties.modes,
        }
    ),
    min_size=1,
    max_size=6,
)
keys = st.none() | st.tuples(st.sampled_from(["k1", "k2"]), st.sampled_from(["d1", "d2"]))
pick = st.integers(0, 999)

Decide = Callable[[Table, Times], Any]
Check = Callable[[Any], None]


class Machine(RuleBasedStateMachine):
    """Commands gather in a batch, as in the state actor; `commit` applies it and lets the model follow, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tell_most = dependencies.MOST
        dependencies.MOST = ties.TELL_MOST
        self.clock = Clock()
        self.folder = Path(tempfile.mkdtemp(dir=RAM))
        self.file = self.folder / "jobs.db"
        self.desk = Desk(self.new_store(), self.clock, limits=Limits(MAX_QUEUED, MAX_ENDED))
        run(self.desk.store.__aenter__())
        self.model = Model()
        self.model.now = self.clock.now()
        self.batch: list[tuple[Decide, Check]] = []
        self.needs = Needs()
        self.lives = 1

    def new_store(self) -> Store:
        """The engine, on the present file."""
        return SqliteStore(str(self.file), self.clock.now, runner=Inline, synchronous="NORMAL")

    def teardown(self) -> None:
        """Leave nothing behind."""
        dependencies.MOST = self.tell_most
        run(self.desk.store.__aexit__(None, None, None))
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- batches

    def add(self, decide: Decide, check: Check) -> None:
        """One more command of the batch."""
        self.batch.append((decide, check))

    def expect(self, id: str, decide: Decide, expected: Callable[[], str]) -> None:
        """A command to one job, and what the model says of it: "ok", or the error's name."""
        self.needs.jobs.add(id)

        def check(answer: Any) -> None:
            assert (type(answer).__name__ if isinstance(answer, JobQueueError) else "ok") == expected()

        self.add(decide, check)

    def some(self, number: int, *statuses: str) -> str:
        """The id of some job in these statuses, or of any that is or was."""
        ids: list[str] = [row["id"] for row in self.model.of(*statuses)] or [
            *self.model.jobs,
            *self.model.removed,
            NOWHERE,
        ]
        return ids[number % len(ids)]

    def parent(self, number: int, index: int) -> str | int:
        """Whom the item at this index depends on: an earlier one, or some job; now and then it is refused."""
        if number % 20 == 19:
            return index if number % 40 == 19 else NOWHERE
        return number % index if index and number % 2 else self.some(number)

    @rule()
    def commit(self) -> None:
        """Apply what was gathered, in one batch."""
        batch, self.batch = self.batch, []
        needs, self.needs = self.needs, Needs()

        def decide(table: Table, times: Times) -> list[Any]:
            answers: list[Any] = []
            for command, _ in batch:
                try:
                    answers.append(command(table, times))
                except JobQueueError as error:
                    answers.append(error)
            return answers

        for (_, check), answer in zip(batch, run(self.desk.do(decide, needs)), strict=True):
            check(answer)
        self.model.resolve()
        self.model.sweep()

    # -- commands

    @initialize(many=drafts)
    def begin(self, many: list[Row]) -> None:
        """There is something to begin with."""
        self.submit(many, None)

    @rule(many=drafts, key=keys)
    def submit(self, many: list[Row], key: tuple[str, str] | None) -> None:
        """Submit jobs, perhaps with a key."""
        many = [row | {"expires": row["expires"] and self.clock.now() + row["expires"] * SECOND} for row in many]
        for index, row in enumerate(many):
            row["depends"] = [self.parent(one, index) if isinstance(one, int) else one for one in row["depends"]]
        asked = [
            draft(
                queue=row["queue"],
                priority=row["priority"],
                group=row["group"],
                delay=row["delay"],
                expires_at=row["expires"],
                max_attempts=row["max_attempts"],
                unique=row["unique"] and Unique(*row["unique"]),
                depends_on=tuple(f"#{one}" if isinstance(one, int) else one for one in row["depends"]),
                on_dependency_failure=row["mode"],
            )
            for row in many
        ]
        bound = None if key is None else IdempotencyKey("scope", key[0], key[1].encode())
        self.needs.lanes.update(LaneKey(one.queue, one.priority, one.group) for one in asked)
        declare(self.needs, asked)
        if key is not None:
            self.needs.keys.add(("scope", key[0]))

        def check(answer: Any) -> None:
            ids = [new_id() for _ in many] if isinstance(answer, JobQueueError) else [job.id for job in answer.jobs]
            expected = self.model.submit(ids, many, key)
            assert expected == (type(answer).__name__ if isinstance(answer, JobQueueError) else ids)

        self.add(lambda table, times: idempotency.accept(table, asked, bound, times), check)

    @rule(number=pick, size=st.integers(1, 5), queue=st.sampled_from(QUEUES), mode=ties.modes, both=st.booleans())
    def have_children(self, number: int, size: int, queue: str, mode: str, *, both: bool) -> None:
        """Jobs come that depend on one that has not ended, or on two."""
        parents = [self.some(number, "RUNNING", "QUEUED", "SCHEDULED", "BLOCKED")]
        parents += [self.some(number + 1, "RUNNING", "QUEUED", "SCHEDULED", "BLOCKED")] if both else []
        row = {"queue": queue, "priority": 0, "group": None, "delay": None, "expires": None, "max_attempts": 1}
        self.submit([row | {"unique": None, "depends": parents, "mode": mode}] * size, None)

    @rule(queues=st.sampled_from([["p"], ["q"], ["p", "q"], ["*"]]), workers=st.integers(1, 6))
    def claim(self, queues: list[str], workers: int) -> None:
        """Workers ask for jobs."""
        want = Want(tuple(queues), tuple(f"w{index}" for index in range(workers)))
        for queue in queues:
            self.needs.claims[queue] = self.needs.claims.get(queue, 0) + workers

        def decide(table: Table, times: Times) -> list[Job]:
            running = sum(table.count(queue, Status.RUNNING) for queue in QUEUES)
            node = Node(running, self.desk.isolation, self.clock.monotonic())
            claims = admission.claim(table, [want], node, times)
            self.desk.isolation = claims.isolation
            return list(claims.jobs[0])

        def check(answer: Any) -> None:
            assert [job.worker for job in answer] == list(want.workers[: len(answer)])
            named = QUEUES if queues == ["*"] else queues
            self.model.claim(named, workers, [(job.id, job.epoch, job.alone) for job in answer])

        self.needs.jobs.update(self.model.jobs)  # one of them may be alone by then
        if self.desk.isolation.alone is not None:  # and one that was may have been removed
            self.needs.jobs.add(self.desk.isolation.alone[0])
        self.add(decide, check)

    @rule(
        number=pick,
        ending=st.sampled_from([*Ending, Ending.DONE, Ending.CRASHED, Ending.CRASHED]),
        late=st.sampled_from([0] * 8 + [-1, 1]),
        fatal=st.sampled_from([False, False, True]),
        retry_in=st.sampled_from([None, 0, 45]),
    )
    def settle(self, number: int, ending: Ending, late: int, *, fatal: bool, retry_in: int | None) -> None:
        """An attempt ends; sometimes one that is not the running one is reported."""
        id = self.some(number, "RUNNING")
        epoch = self.model.jobs.get(id, {"epoch": 1})["epoch"] + late
        failed = ending in (Ending.ERROR, Ending.TIMEOUT)
        told = FAILURE if failed or ending in (Ending.CRASHED, Ending.LOST) else None
        outcome = Outcome(id, epoch, ending, error=told, retry_in=retry_in, fatal=fatal and failed)
        self.expect(
            id,
            lambda table, times: lifecycle.settle(table, outcome, times),
            lambda: self.model.settle(id, epoch, str(ending), fatal=outcome.fatal, retry_in=retry_in),
        )

    @rule(number=pick, running=st.booleans())
    def cancel(self, number: int, *, running: bool) -> None:
        """A job is cancelled."""
        id = self.some(number, *(["RUNNING"] if running else []))
        self.expect(id, lambda table, times: lifecycle.cancel(table, id, times), lambda: self.model.cancel(id))

    @rule(number=pick, priority=st.sampled_from([0, 5, 9]))
    def amend(self, number: int, priority: int) -> None:
        """A job gets another priority."""
        id = self.some(number, "RUNNING", "QUEUED", "SCHEDULED", "BLOCKED")
        change = Amendment(priority=priority)
        self.expect(
            id,
            lambda table, times: amending.amend(table, id, change, times),
            lambda: self.model.amend(id, priority),
        )

    @rule(number=pick, ended=st.booleans())
    def retry(self, number: int, *, ended: bool) -> None:
        """A job is retried."""
        id = self.some(number, *(["FAILED", "CANCELLED"] if ended else []))
        self.expect(id, lambda table, _: lifecycle.retry(table, id), lambda: self.model.retry(id))

    @rule(number=pick)
    def delete(self, number: int) -> None:
        """An ended job is removed."""
        id = self.some(number, *ENDED)

        def decide(table: Table, _: Times) -> None:
            job = table.job(id)
            if not job.status.ended:
                raise BadState
            table.remove(job)

        self.expect(id, decide, lambda: self.model.delete(id))

    # -- time and fate: each in a batch of its own

    @rule(seconds=st.sampled_from([0.5, 0.5, 1, 1, 1, 29, 31, 31, 61, 301, 86_400, 604_800]))
    def wait(self, seconds: float) -> None:
        """Time passes, and does what it does."""
        self.commit()
        self.clock.advance(seconds)
        self.model.now = self.clock.now()
        run(self.desk.do(ripening.ripen, Needs(most_due=ripening.MOST)))
        self.model.ripen()
        self.model.resolve()
        self.model.sweep()

    @rule()
    def die(self) -> None:
        """The process dies, and its next life gives back what ran."""
        self.commit()
        self.lives += 1
        run(self.desk.restart(f"boot-{self.lives}"))
        self.model.die()
        self.model.resolve()

    @precondition(lambda self: isinstance(self.desk.store, SqliteStore))
    @rule(killed=st.booleans())
    def reopen(self, *, killed: bool) -> None:
        """The file is closed and opened again, or what is on the disk is opened elsewhere as after a kill."""
        self.commit()
        if killed:
            before, self.file = self.file, self.folder / f"jobs-{self.lives}.db"
            self.lives += 1
            for rest in ("", "-wal"):
                shutil.copy(f"{before}{rest}", f"{self.file}{rest}")
        run(self.desk.store.__aexit__(None, None, None))
        self.desk.store = self.new_store()
        run(self.desk.store.__aenter__())

    # -- what always holds

    @precondition(lambda self: not self.batch)
    @invariant()
    def jobs_are_as_the_model_says(self) -> None:
        """Every job, by id and in the list, its history, and what was removed."""
        model = self.model
        listed = {job.id: job for job in run(self.desk.store.page(Filter(), None, 9999)).jobs}
        assert listed.keys() == model.jobs.keys()
        assert run(self.desk.store.get(list(model.jobs))) == [listed[id] for id in model.jobs]
        assert run(self.desk.store.get(list(model.removed))) == [REMOVED] * len(model.removed)
        assert run(self.desk.store.get(model.forgotten)) == [None] * len(model.forgotten)
        for id, row in model.jobs.items():
            job = listed[id]
            seen = (job.status.name, job.reason, job.place, job.attempt, job.epoch, job.crashes, job.alone, job.due_at)
            said = [row[name] for name in ("status", "reason", "place", "attempt", "epoch", "crashes", "alone")]
            assert seen == (*said, model.due(row))
            assert job.seq == row["seq"]
            assert (job.error is not None) == row["error"]
            history = [(one.epoch, one.attempt, str(one.ending)) for one in run(self.desk.store.attempts(job.seq))]
            assert history == row["history"][::-1]
        assert run(self.desk.store.next_due()) == model.next_due()

    @precondition(lambda self: not self.batch)
    @invariant()
    def keys_are_held_as_the_model_says(self) -> None:
        """Every unique key, by one job or nobody."""
        places = [(queue, key) for queue in QUEUES for key in ("k", "l")]
        needs = Needs(uniques=set(places))
        held = run(self.desk.store.apply(lambda: needs, lambda table: [table.holder(*place) for place in places]))
        assert held == [self.model.holder(*place) for place in places]

    @precondition(lambda self: not self.batch)
    @invariant()
    def counters_are_a_recount(self) -> None:
        """Counts by queue and status, and the counters of the lanes."""
        rows = self.model.jobs.values()
        counts = {
            (queue, Status(status).name): n
            for queue, numbers in run(self.desk.store.counts()).items()
            for status, n in enumerate(numbers)
            if n
        }
        assert counts == Counter((row["queue"], row["status"]) for row in rows)
        lanes = Counter(
            (row["queue"], row["priority"], row["group"], row["crashes"] >= 2, row["status"])
            for row in rows
            if row["status"] in ("QUEUED", "RUNNING")
        )
        assert self.lanes() == lanes

    def lanes(self) -> dict[tuple[Any, ...], int]:
        """The lanes' counters that are not 0, as the engine holds them."""
        store: Any = self.desk.store
        cached = store.tables.lanes if isinstance(store, MemoryStore) else store._cache.lanes.lanes
        if isinstance(store, SqliteStore):
            sql = "SELECT queue, priority, nullif(grp, ''), suspect, queued, running, turn, opens_at FROM lanes"
            rows = store._connection.execute(sql).fetchall()
            assert store._cache.bands == {tuple(band): turn for *band, turn in store._connection.execute(BANDS)}
            assert {
                (*lane.key, lane.queued, lane.running, lane.turn, lane.opens_at) for lane in cached.values()
            } == set(rows)
        counters = {(*key, name): n for key, lane in cached.items() for name, n in _counters(lane.queued, lane.running)}
        assert all(n >= 0 for n in counters.values())
        return {key: n for key, n in counters.items() if n}


def _counters(queued: int, running: int) -> list[tuple[str, int]]:
    return [("QUEUED", queued), ("RUNNING", running)]


class MemoryMachine(Machine):
    """The same on the reference engine, which also sees to it that batches declare what they read."""

    def new_store(self) -> Store:
        return MemoryStore(self.clock.now)


EFFORT = settings(max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TestSqlite = Machine.TestCase
TestSqlite.settings = EFFORT
TestMemory = MemoryMachine.TestCase
TestMemory.settings = EFFORT
