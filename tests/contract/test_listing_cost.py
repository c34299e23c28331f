"""What lists cost on a file with many jobs: which indexes they go by, and how much they do, counted and not timed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from jobqueue.job import Ending, Status
from jobqueue.stores.contract import Filter
from jobqueue.stores.sqlite import SqliteStore, blocks, listing, moments, rows, schema, sources
from tests.benchmarks import crowd
from tests.benchmarks.lists import filters
from tests.helpers import Clock, Desk, Inline, draft, run

JOBS = 100_000
FILTERS = filters(JOBS)
STEPS = 1_000  # of SQLite's machine, between two looks at the counter
MOST_STEPS = 600_000  # a scan of all jobs takes more
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A file with many jobs, to be read."""
    file = tmp_path_factory.mktemp("lists") / "jobs.db"
    crowd.fill(file, JOBS)
    connection = schema.open_readonly(str(file))
    yield connection
    connection.close()
    file.unlink()


def steps(connection: apsw.Connection, work: Callable[[], Any]) -> int:
    """How many instructions of SQLite's machine the work takes, to a thousand."""
    seen = 0

    def look() -> bool:
        nonlocal seen
        seen += STEPS
        return False

    connection.set_progress_handler(look, STEPS)
    work()
    connection.set_progress_handler(None)
    return seen


@pytest.mark.parametrize("limit", [50, 200])
@pytest.mark.parametrize("name", FILTERS)
def test_a_page_is_bounded(many: apsw.Connection, name: str, limit: int) -> None:
    """Each page does a bounded amount of work, whatever the filter, however little it finds."""
    before, pages = None, 0
    while pages < 5:
        taken = steps(many, lambda: listing.page(many, FILTERS[name], before, limit, wide=False))  # noqa: B023 - called at once
        assert taken <= MOST_STEPS
        before = listing.page(many, FILTERS[name], before, limit, wide=False).before
        pages += 1
        if before is None:
            break


@pytest.mark.parametrize("name", [name for name in FILTERS if "rare" in name])
def test_what_is_rare_is_found_at_once(many: apsw.Connection, name: str) -> None:
    """Three of many jobs are on the first page, and are found with next to no work."""
    page = listing.page(many, FILTERS[name], None, 50, wide=False)
    assert page.before is None
    taken = steps(many, lambda: listing.page(many, FILTERS[name], None, 50, wide=False))
    assert taken <= 10_000


def test_a_scan_would_be_seen(many: apsw.Connection) -> None:
    """The bound is one that a list without its sources does not keep."""
    sql = "SELECT seq FROM jobs NOT INDEXED WHERE kind = 'rare' ORDER BY seq DESC LIMIT 50"
    assert steps(many, lambda: many.execute(sql).fetchall()) > MOST_STEPS // 3
    assert steps(many, lambda: listing.page(many, Filter(kind="rare"), None, 50, wide=False)) < STEPS * 5


# -- plans

PLANS = [
    (sources.ALL, ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]),
    (sources.TAGGED, ["SEARCH tags USING PRIMARY KEY (tag=? AND seq>? AND seq<?)"]),
    (sources.GROUPED, ["SEARCH jobs USING COVERING INDEX jobs_group (grp=? AND rowid>? AND rowid<?)"]),
    (rows.ORPHANS, ["SEARCH jobs USING INDEX jobs_open (status=?)"]),
    (sources.OPEN, ["SEARCH jobs USING INDEX jobs_open (status=? AND queue=? AND rowid>? AND rowid<?)"]),
    (sources.LANE, ["SEARCH jobs USING COVERING INDEX jobs_ready (lane=? AND place>? AND place<?)"]),
    (sources.BLOCKS.format(""), ["SEARCH blocks USING PRIMARY KEY (trait=? AND block>? AND block<?)"]),
    (sources.IN_BLOCKS.format("kind = ?"), ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]),
    (moments.NEXT, ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]),
    (blocks.NEWEST, ["SCAN jobs"]),  # from its end, and one row of it
    (blocks.PASSED, ["SEARCH setbacks USING INTEGER PRIMARY KEY (rowid<?)", "SEARCH jobs"]),
    (f"{listing.WHOLE} WHERE jobs.seq = ?", ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"]),
    (f"{listing.SLIM} WHERE jobs.seq = ?", ["SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"]),
]


def plan(connection: apsw.Connection, sql: str) -> list[str]:
    """How SQLite goes about it, without its outline."""
    named, numbered = re.findall(r":(\w+)", sql), [int(number) for number in re.findall(r"\?(\d)", sql)]
    bindings: Any = dict.fromkeys(named, 1) or (1,) * (max(numbered) if numbered else sql.count("?"))
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]


@pytest.mark.parametrize("sql, steps", PLANS)
def test_plans(many: apsw.Connection, sql: str, steps: list[str]) -> None:
    """Each list goes by its index, in order: nothing is sorted."""
    found = plan(many, sql)
    for step in steps:
        assert any(step in line for line in found), found
    assert not any("TEMP B-TREE" in line or "AUTOMATIC" in line for line in found)


@pytest.mark.parametrize(
    "sql, wanted",
    [
        (
            sources.OPEN_FIRSTS,
            "SEARCH jobs USING INDEX jobs_open (status=? AND queue=? AND rowid>? AND rowid<?)",
        ),
        (sources.LANES_FIRSTS.format("TRUE"), "SCAN lanes USING INDEX lanes_alone"),
        (sources.LANES_FIRSTS.format("queue = :queue"), "SEARCH lanes USING INDEX lanes_alone (queue=?)"),
        (
            sources.LANES_FIRSTS.format("TRUE"),
            "SEARCH jobs USING COVERING INDEX jobs_ready (lane=? AND place>? AND place<?)",
        ),
        (sources.LANES.format("TRUE"), "SCAN lanes USING COVERING INDEX lanes_alone"),
        (
            sources.BLOCKS.format(sources.THERE),
            "SEARCH other USING PRIMARY KEY (trait=? AND block=?)",
        ),
        (blocks.EMPTIED, "SEARCH blocks USING COVERING INDEX blocks_traits (block=?)"),
        (listing.WANTED.format("kind = ?"), "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"),
        (listing.PAYLOADS, "SEARCH bodies USING INTEGER PRIMARY KEY (rowid=?)"),
        (listing.IDS, "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_plans_of_what_is_merged(many: apsw.Connection, sql: str, wanted: str) -> None:
    """Each member by its index; what is sorted are their first ones."""
    assert wanted in plan(many, sql)


# -- what is kept for lists


def test_the_crowd_is_as_the_engine_would_have_made_it(tmp_path: Path) -> None:
    """What is noted beside the rows is what the engine notes of the same jobs."""
    clock = Clock()
    desk = Desk(SqliteStore(str(tmp_path / "jobs.db"), clock.now, runner=Inline), clock)

    async def story() -> None:
        await desk.store.__aenter__()
        await desk.submit([draft("ab"[n % 2], queue="pq"[n % 3 % 2], tags=("t",) if n % 5 else ()) for n in range(400)])
        for job in await desk.claim(90, "p"):
            await desk.settle(job, (Ending.DONE, Ending.ERROR)[job.seq % 2], **({"fatal": True} if job.seq % 2 else {}))
        connection = desk.store._connection  # type: ignore[attr-defined]  # a look inside
        assert set(connection.execute("SELECT * FROM blocks")) == set(connection.execute(crowd.TRAITS))
        assert set(connection.execute("SELECT * FROM tags")) == set(connection.execute(crowd.TAGS))
        await desk.store.__aexit__(None, None, None)

    run(story())


# -- beside the writer


def opened(path: Path) -> Desk:
    """A desk on a file, without threads."""
    clock = Clock()
    desk = Desk(SqliteStore(str(path), clock.now, runner=Inline), clock)
    run(desk.store.__aenter__())
    return desk


def test_a_list_holds_up_no_commit_and_sees_one_moment(tmp_path: Path) -> None:
    """A batch is committed while a page is being read; the page is as of its beginning."""
    desk = opened(tmp_path / "jobs.db")
    run(desk.submit([draft() for _ in range(300)]))
    reading: apsw.Connection = desk.store._reading  # type: ignore[attr-defined]  # a look inside
    commits: list[int] = []

    def look() -> bool:
        if len(commits) < 3:
            commits.append(0)
            run(desk.add())
            run(desk.claim(50))
        return False

    reading.set_progress_handler(look, 500)
    queued = Filter(status=frozenset({Status.QUEUED}))
    page = run(desk.store.page(queued, None, 300))
    reading.set_progress_handler(None)
    assert len(commits) == 3
    assert len(page.jobs) == 300
    assert {job.status for job in page.jobs} == {Status.QUEUED}
    after = run(desk.store.page(queued, None, 200)).jobs
    assert [job.seq for job in after][:3] == [303, 302, 301]
    assert len(after) == 153
    run(desk.store.__aexit__(None, None, None))


def test_what_a_page_reads_of_large_jobs(tmp_path: Path) -> None:
    """A slim page reads no payload, a wide one as many as it may show; one too large for any page is shown alone."""
    desk = opened(tmp_path / "jobs.db")
    for mebibytes in (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9, 1):
        run(desk.add(payload=f'"{"x" * mebibytes * MEBIBYTE}"', tags=("t",)))
    run(desk.store.__aexit__(None, None, None))
    desk = opened(tmp_path / "jobs.db")
    reading: apsw.Connection = desk.store._reading  # type: ignore[attr-defined]  # a look inside

    def read(wanted: Filter, before: int | None, *, wide: bool) -> tuple[list[int], int | None, int]:
        reading.status(apsw.SQLITE_DBSTATUS_CACHE_MISS, reset=True)
        page = run(desk.store.page(wanted, before, 50, wide=wide))
        return [job.seq for job in page.jobs], page.before, reading.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]

    seqs, before, pages = read(Filter(), None, wide=False)
    assert (seqs, before) == (list(range(12, 0, -1)), None)
    assert pages < 100
    assert read(Filter(), None, wide=True)[:2] == ([12, 11], 11)
    assert read(Filter(), 12, wide=True)[:2] == ([11], 11)
    assert read(Filter(), 11, wide=True)[:2] == ([10, 9, 8, 7, 6, 5, 4, 3], 3)
    none = Filter(payload=((("none",), "1"),))
    assert read(none, None, wide=False)[:2] == ([], 11)
    assert read(none, 11, wide=False)[:2] == ([], 3)
    assert read(none, 3, wide=False)[:2] == ([], None)
    run(desk.store.__aexit__(None, None, None))
