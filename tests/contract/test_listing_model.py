"""Lists driven at random: the same commands on both engines, then the same filters, and the same jobs must be shown."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jobqueue.clock import SECOND
from jobqueue.job import Ending, Job, Status
from jobqueue.stores import memory
from jobqueue.stores.contract import Filter, Store
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore, listing, sources
from tests.benchmarks.crowd import TAGS, TRAITS
from tests.helpers import EPOCH, Clock, Desk, Inline, draft, run

RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what a disk does is not looked at here
QUEUES, KINDS, GROUPS, TAG_NAMES = ("p", "q"), ("x", "y"), (None, None, "a", "b"), ("t", "u")
PAYLOADS = ('{"n":1,"l":[{"s":"x"}]}', '{"n":1.0}', '{"n":"1"}', "null", "[7]", '{"n":true}')
PATHS = ((("n",), "1"), (("n",), '"1"'), (("l", "0", "s"), '"x"'), (("0",), "7"), (("n",), "true"))

drafts = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(KINDS),
            "queue": st.sampled_from(QUEUES),
            "group": st.sampled_from(GROUPS),
            "tags": st.sampled_from([(), (), ("t",), ("t", "u")]),
            "payload": st.sampled_from(PAYLOADS),
            "priority": st.sampled_from([0, 0, 5]),
            "delay": st.sampled_from([None, None, 20]),
            "max_attempts": st.integers(1, 2),
        }
    ),
    min_size=1,
    max_size=5,
)
moments = st.none() | st.integers(-90, 90).map(lambda seconds: EPOCH + seconds * SECOND)
filters = st.builds(
    Filter,
    status=st.none() | st.frozensets(st.sampled_from(list(Status))),
    queue=st.none() | st.sampled_from([*QUEUES, "none"]),
    kind=st.none() | st.sampled_from(KINDS),
    tag=st.none() | st.sampled_from(TAG_NAMES),
    group=st.none() | st.sampled_from(["a", "b"]),
    created_after=moments,
    created_before=moments,
    payload=st.lists(st.sampled_from(PATHS), max_size=2).map(tuple),
)
some = st.integers(0, 999)


class Lists(RuleBasedStateMachine):
    """The engines side by side; in both a job has the same number."""

    bounds: ClassVar[dict[str, tuple[Any, int]]] = {}  # of what a page looks at

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for name, (modules, value) in self.bounds.items():
            for module in modules:
                self.patch.setattr(module, name, value)
        self.clock = Clock()
        self.folder = Path(tempfile.mkdtemp(dir=RAM))
        self.desks = [Desk(MemoryStore(self.clock.now), self.clock), Desk(self.on_file(), self.clock)]
        self.running: list[list[Job]] = []
        for desk in self.desks:
            run(desk.store.__aenter__())

    def on_file(self) -> Store:
        """The engine, on the one file."""
        file = str(self.folder / "jobs.db")
        return SqliteStore(file, self.clock.now, runner=Inline, synchronous="NORMAL")

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.patch.undo()
        for desk in self.desks:
            run(desk.store.__aexit__(None, None, None))
        shutil.rmtree(self.folder, ignore_errors=True)

    def jobs(self, number: int, *statuses: Status) -> list[Job]:
        """The same job of each engine, in one of the statuses; none if there is none."""
        listed = [list(pages(desk.store, Filter(frozenset(statuses)), 50)) for desk in self.desks]
        return [jobs[number % len(jobs)] for jobs in listed if jobs]

    # -- commands

    @initialize(many=drafts)
    def begin(self, many: list[dict[str, Any]]) -> None:
        """There is something to begin with."""
        self.submit(many)

    @rule(many=drafts)
    def submit(self, many: list[dict[str, Any]]) -> None:
        """Submit jobs."""
        for desk in self.desks:
            run(desk.submit([draft(**fields) for fields in many]))

    @rule(numbers=st.sampled_from([1, 100, 128, 300]))
    def skip(self, numbers: int) -> None:
        """Numbers pass that no job has, as when others were removed."""
        for desk in self.desks:
            run(desk.do(lambda table, _: [table.next_seq() for _ in range(numbers)]))

    @rule(most=st.integers(1, 4))
    def claim(self, most: int) -> None:
        """Workers start jobs."""
        self.running += zip(*[run(desk.claim(most, *QUEUES)) for desk in self.desks], strict=True)  # type: ignore[arg-type]  # there are two desks

    @rule(number=some, ending=st.sampled_from([Ending.DONE, Ending.DONE, Ending.ERROR, Ending.RELEASED]))
    def settle(self, number: int, ending: Ending) -> None:
        """An attempt ends."""
        if self.running:
            jobs = self.running.pop(number % len(self.running))
            for desk, job in zip(self.desks, jobs, strict=True):
                run(desk.settle(job, ending))

    @rule(number=some)
    def cancel(self, number: int) -> None:
        """A job that waits is cancelled."""
        for desk, job in zip(self.desks, self.jobs(number, Status.SCHEDULED, Status.QUEUED), strict=False):
            run(desk.cancel(job))

    @rule(number=some)
    def retry(self, number: int) -> None:
        """A job is put back."""
        for desk, job in zip(self.desks, self.jobs(number, Status.FAILED, Status.CANCELLED), strict=False):
            run(desk.retry(job))

    @rule(number=some)
    def remove(self, number: int) -> None:
        """A job goes."""
        ends = (Status.DONE, Status.FAILED, Status.CANCELLED)
        for desk, job in zip(self.desks, self.jobs(number, *ends), strict=False):
            run(desk.remove(job))

    @rule(seconds=st.sampled_from([1, 7, 30, -5, -40]))
    def time_passes(self, seconds: int) -> None:
        """Or the clock is set back."""
        self.clock.advance(seconds)
        for desk in self.desks:
            run(desk.ripen())

    @rule()
    def reopen(self) -> None:
        """The file is closed and opened again."""
        run(self.desks[1].store.__aexit__(None, None, None))
        self.desks[1].store = self.on_file()
        run(self.desks[1].store.__aenter__())

    # -- what always holds

    @rule(wanted=filters, limit=st.integers(1, 5))
    def lists_are_the_same(self, wanted: Filter, limit: int) -> None:
        """All pages together, on each engine by itself, by job and by id."""
        shown = [[job.seq for job in pages(desk.store, wanted, limit)] for desk in self.desks]
        assert shown[0] == shown[1]
        for desk in self.desks:
            assert list(ids(desk.store, wanted, limit)) == [job.id for job in pages(desk.store, wanted, limit)]

    @invariant()
    def what_lists_lean_on_is_there(self) -> None:
        """Each trait of each job is noted of its block, nothing is left of blocks without jobs; tags are exact."""
        connection = self.desks[1].store._connection  # type: ignore[attr-defined]  # a look inside
        noted, counted = (set(connection.execute(sql)) for sql in ("SELECT * FROM blocks", TRAITS))
        assert counted <= noted
        assert {block for _, block in noted} == {block for _, block in counted}
        assert set(connection.execute("SELECT * FROM tags")) == set(connection.execute(TAGS))


def pages(store: Store, wanted: Filter, limit: int) -> Iterator[Job]:
    """All jobs that a filter shows, page by page."""
    before = None
    while True:
        page = run(store.page(wanted, before, limit))
        assert len(page.jobs) <= limit
        yield from page.jobs
        if page.before is None:
            return
        assert before is None or page.before < before
        before = page.before


def ids(store: Store, wanted: Filter, limit: int) -> Iterator[str]:
    """Their ids."""
    before = None
    while True:
        matches = run(store.matching(wanted, before, limit))
        assert len(matches.ids) <= limit
        yield from matches.ids
        if matches.before is None:
            return
        assert before is None or matches.before < before
        before = matches.before


class ShortLists(Lists):
    """The same where a page may look at next to nothing."""

    bounds: ClassVar[dict[str, tuple[Any, int]]] = {
        "MOST_EFFORT": ((listing,), 1),
        "MOST_STEP": ((listing,), 2),
        "MOST_LOOKED": ((listing, memory), 2),
        "MOST_BLOCKS": ((sources,), 1),
        "MOST_LANES": ((sources,), 1),
    }


EFFORT = settings(max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TestLists = Lists.TestCase
TestLists.settings = EFFORT
TestShortLists = ShortLists.TestCase
TestShortLists.settings = EFFORT
