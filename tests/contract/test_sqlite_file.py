"""The SQLite file: who may open it, what becomes of a damaged one, and what survives."""

from __future__ import annotations

import shutil
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from jobqueue.errors import StartupError, StorageFull, StoreUnavailable
from jobqueue.job import Ending, Job, Progress, Status
from jobqueue.rules.idempotency import IdempotencyKey
from jobqueue.rules.lifecycle import replace
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Filter, Needs, RowRefused, StoreFailed
from jobqueue.stores.sqlite import SqliteStore, commit
from jobqueue.stores.sqlite.schema import MIGRATIONS
from tests.helpers import Clock, Desk, Inline, draft, planted, run

PLACES = 200


def desk_on(path: Path, **options: Any) -> Desk:
    """A desk on the file, which is not yet open; it needs no threads."""
    clock = Clock()
    return Desk(SqliteStore(str(path), clock.now, runner=Inline, **options), clock)


async def opened(path: Path, **options: Any) -> Desk:
    """The same, open."""
    desk = desk_on(path, **options)
    await desk.store.__aenter__()
    return desk


async def closed(desk: Desk) -> None:
    """Close its store."""
    await desk.store.__aexit__(None, None, None)


def refusal(path: Path) -> StartupError:
    """Why the file is not opened."""
    with pytest.raises(StartupError) as caught:
        run(opened(path))
    assert str(path) in caught.value.lines[0]
    assert len(caught.value.lines) == 1
    return caught.value


async def filled(desk: Desk) -> None:
    """Jobs in every status, with all that may stand beside them."""
    await desk.submit([draft("done", payload=f'"{"x" * 50 * n}"') for n in range(20)])
    for job in await desk.claim(20):
        await desk.progress(job, Progress(50, "half"))
        await desk.log(job, "a line")
        await desk.settle(job, result='{"n":1}')
    await desk.submit([draft("failed", max_attempts=1)] * 10)
    for job in await desk.claim(10):
        await desk.settle(job, Ending.ERROR)
    await desk.submit([draft("later", delay=9)] * 10, IdempotencyKey("scope", "key", b"digest"))
    await desk.submit([draft("running", group=f"g{n}", tags=("t",)) for n in range(5)])
    await desk.claim(5)
    await desk.submit([draft("queued", priority=n, group="g" * n or None) for n in range(15)])


async def everything(desk: Desk) -> list[Job]:
    """All jobs."""
    return list((await desk.store.page(Filter(), None, 999)).jobs)


async def told(desk: Desk) -> Sequence[Any]:
    """All that the store tells of its jobs."""
    jobs = await everything(desk)
    return [
        jobs,
        await desk.store.get([job.id for job in jobs]),
        [await desk.store.attempts(job.seq) for job in jobs],
        [await desk.store.lines(job.seq) for job in jobs],
        {queue: list(counts) for queue, counts in (await desk.store.counts()).items()},
        await desk.store.next_due(),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def file(path: Path) -> Path:
    """A file with jobs, closed."""

    async def story() -> None:
        desk = await opened(path)
        await filled(desk)
        await closed(desk)

    run(story())
    return path


# -- who may open it


def test_a_second_opener_is_refused(path: Path) -> None:
    """While a server has the file open a second one is refused with exit code 2; afterwards it may."""
    first = run(opened(path))
    assert refusal(path).exit_code == 2
    run(closed(first))
    run(closed(run(opened(path))))


def test_a_refused_file_is_not_held(file: Path) -> None:
    """A boot that was refused lets go of everything: lock and threads."""
    good = file.read_bytes()
    file.write_bytes(b"no database")
    clock = Clock()
    threads = threading.active_count()

    async def story() -> None:
        async with SqliteStore(str(file), clock.now):
            pass

    with pytest.raises(StartupError):
        trio.run(story)
    assert threading.active_count() == threads
    file.write_bytes(good)
    trio.run(story)
    assert threading.active_count() == threads


def test_only_its_owner_may_read_it(path: Path) -> None:
    """All files of the store are made for their owner only."""
    desk = run(opened(path))
    run(desk.add())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"], 0o600)
    run(closed(desk))


def test_pragmas(path: Path) -> None:
    """The connection that writes is set for durability, and what was set is what holds."""
    desk = run(opened(path))
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "mmap_size": 0,
        "user_version": len(MIGRATIONS),
    }
    assert {name: desk.store._connection.pragma(name) for name in wanted} == wanted  # type: ignore[attr-defined]  # a look inside
    run(closed(desk))


# -- files that are not as they should be


def newer(file: Path) -> None:
    """As a later version of this program would leave it."""
    with apsw.Connection(str(file)) as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)


def foreign(file: Path) -> None:
    """The database of another program, which counts its versions too."""
    file.unlink()
    with apsw.Connection(str(file)) as connection:
        connection.execute("CREATE TABLE bookmarks(url); INSERT INTO bookmarks VALUES('x'); PRAGMA user_version = 70")


def set_back(file: Path) -> None:
    """Its last number is one that jobs have."""
    with apsw.Connection(str(file)) as connection:
        connection.execute("UPDATE meta SET value = 3 WHERE name = 'seq'")


def no_database(file: Path) -> None:
    """Something else."""
    file.write_bytes(b"PK\x03\x04" * 9000)


def emptied(file: Path) -> None:
    """Cut to nothing."""
    file.write_bytes(b"")


def a_folder(file: Path) -> None:
    """Not a file."""
    file.unlink()
    file.mkdir()


def no_folder(file: Path) -> None:
    """Nowhere."""
    shutil.rmtree(file.parent)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (newer, f"has schema version {len(MIGRATIONS) + 1}, newer than this program's {len(MIGRATIONS)}"),
        (foreign, "is an SQLite file, but not one of jobqueue"),
        (set_back, "is damaged (the last number is 3, but 60 is in use)"),
        (no_database, "is not a jobqueue database, or is damaged"),
        (emptied, "is empty, but held a store"),
        (a_folder, "cannot be opened"),
        (no_folder, "cannot be opened"),
    ],
)
def test_refused_files(file: Path, spoil: Any, says: str) -> None:
    """A file that is newer, foreign, damaged or out of reach stops the boot: exit code 74, one clear line."""
    spoil(file)
    before = file.read_bytes() if file.is_file() else None
    refused = refusal(file)
    assert refused.exit_code == 74
    assert says in refused.lines[0]
    assert (file.read_bytes() if file.is_file() else None) == before


@pytest.mark.parametrize("pages", [0, 1])
def test_a_boot_that_died_is_repeated(path: Path, pages: int) -> None:
    """A file whose making was cut short, before anything was accepted, is made again."""
    if pages:
        connection = apsw.Connection(str(path))
        connection.pragma("journal_mode", "wal")
        connection.close()
    else:
        path.touch()
    desk = run(opened(path))
    run(desk.add())
    run(closed(desk))


def spoilt(good: bytes, how: str) -> Iterator[bytes]:
    """The file cut, or with one byte changed, in `PLACES` places over its length; the header is tried byte by byte."""
    step = len(good) // PLACES
    if how == "cut":
        yield from (good[:length] for length in (*range(0, len(good), step), 1, 99, 100, 511, 512, len(good) - 1))
    else:
        for place in (*range(100), *range(100 + step // 3, len(good), step)):
            yield good[:place] + bytes([good[place] ^ (0xFF if place % 2 else 0x04)]) + good[place + 1 :]


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_damage(file: Path, how: str) -> None:
    """No cut and no changed byte loses jobs silently: the boot is refused, or every job is there, or reading fails."""
    desk = run(opened(file))
    before = {job.id: job for job in run(everything(desk))}
    run(closed(desk))
    good = file.read_bytes()
    fates = Counter[str]()
    for bad in spoilt(good, how):
        file.write_bytes(bad)
        fates[fate(file, before, bad)] += 1
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
    assert set(fates) <= {"refused", "found out later", "intact"}
    assert fates["refused"] >= (PLACES if how == "cut" else PLACES // 4)


def fate(file: Path, before: dict[str, Job], bad: bytes) -> str:
    """What became of a spoilt file. Intact: all jobs are there, and at most the one that holds the byte is another."""
    try:
        desk = run(opened(file))
    except StartupError as error:
        return "refused" if error.exit_code == 74 and file.read_bytes() == bad else "replaced"
    try:
        jobs = run(everything(desk))
        run(desk.submit([draft(queue="another")]))
        run(desk.claim(9))
        run(desk.ripen())
    except (StoreUnavailable, StorageFull):
        return "found out later"
    finally:
        run(closed(desk))
    others = sum(1 for job in jobs if before.get(job.id) != job)
    return "intact" if len(jobs) == len(before) and others <= 1 else "lost"


# -- what survives


def test_all_survives_a_stop(file: Path) -> None:
    """After a stop and a start everything is as it was."""
    desk = run(opened(file))
    before = run(told(desk))
    run(closed(desk))
    desk = run(opened(file))
    assert run(told(desk)) == before
    run(closed(desk))


def test_all_survives_a_kill(path: Path, tmp_path: Path) -> None:
    """What was answered is in the files at once, whatever becomes of the process."""
    desk = run(opened(path))
    run(filled(desk))
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.parent / name, other.parent / name)
    killed = run(opened(other))
    assert run(told(killed)) == run(told(desk))
    run(closed(killed))
    run(closed(desk))


def test_numbers_go_on_after_a_stop(path: Path) -> None:
    """A number that was given is not given again, though its job is gone; a running job may be settled later."""

    async def story() -> None:
        desk = await opened(path)
        gone, kept = (await desk.submit([draft(), draft()])).jobs
        await desk.cancel(gone)
        (running,) = await desk.claim()
        await desk.retry(gone)
        await desk.cancel(gone)
        await desk.remove(gone)
        await closed(desk)
        desk = await opened(path)
        assert (await desk.add()).seq == 4
        assert (await desk.settle(running)).id == kept.id
        await closed(desk)

    run(story())


# -- what the engine cannot take


def unstorable(table: Table, job: Job, what: str) -> None:
    """Write something that no column can hold."""
    if what == "text":
        table.put(job, replace(job, worker="\ud800"))
    elif what == "number":
        table.put(job, replace(job, place=1 << 63))
    else:
        table.add(replace(job, id=planted(Status.QUEUED).id))  # its seq is taken


@pytest.mark.parametrize("what", ["text", "number", "seq"])
def test_a_row_is_refused(path: Path, what: str) -> None:
    """A row that cannot be stored is refused by itself: nothing of its batch changes, and the store goes on."""
    desk = run(opened(path))
    job = run(desk.add())
    with pytest.raises(RowRefused):
        run(desk.do(lambda table, _: unstorable(table, job, what)))
    assert run(everything(desk)) == [job]
    assert [found.id for found in run(desk.claim(9))] == [job.id]
    run(closed(desk))


def test_a_change_is_guarded(path: Path) -> None:
    """A change of a job that is no longer as it was decided on is not made."""
    desk = run(opened(path))
    job = run(desk.add())
    for stale in (replace(job, epoch=9), replace(job, status=Status.SCHEDULED)):
        with pytest.raises(commit.Guarded):
            run(desk.do(lambda table, _, stale=stale: table.put(stale, stale)))  # type: ignore[misc]  # mypy cannot type a lambda with a default
    assert run(everything(desk)) == [job]
    run(closed(desk))


def test_full_disk(path: Path) -> None:
    """When the file cannot grow, a batch is refused whole, reads and small changes go on, and room heals it."""
    desk = run(opened(path))
    job = run(desk.add())
    connection: apsw.Connection = desk.store._connection  # type: ignore[attr-defined]  # a look inside
    connection.pragma("max_page_count", connection.pragma("page_count"))
    large = draft(payload=f'"{"x" * 100_000}"')
    for _ in range(2):
        with pytest.raises(StorageFull):
            run(desk.submit([draft(), large]))
    assert run(everything(desk)) == [job]
    connection.pragma("max_page_count", 1 << 30)
    run(desk.submit([draft(), large]))
    assert len(run(everything(desk))) == 3
    run(closed(desk))


class FaultyFile(apsw.VFSFile):
    """A file whose next fsync fails once `faulty` says so."""

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        FaultyDisk.syncs += 1
        if FaultyDisk.faulty:
            raise apsw.IOError
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """The usual disk, until it fails."""

    faulty = False
    syncs = 0

    def __init__(self) -> None:
        super().__init__("faulty", "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - the name is SQLite's
        return FaultyFile("", name, flags)


def test_a_failed_fsync_is_the_last(path: Path) -> None:
    """After an I/O error the engine takes no batch and does no fsync again: the process must start afresh."""
    disk = FaultyDisk()
    desk = run(opened(path, vfs="faulty"))
    try:
        run(desk.add())
        FaultyDisk.faulty = True
        with pytest.raises(StoreFailed):
            run(desk.add())
        FaultyDisk.faulty = False
        syncs = FaultyDisk.syncs
        with pytest.raises(StoreFailed):
            run(desk.add())
        assert FaultyDisk.syncs == syncs
    finally:
        FaultyDisk.faulty = False
        run(closed(desk))
        disk.unregister()


def test_an_empty_batch_writes_nothing(path: Path) -> None:
    """A batch that changes nothing costs no write."""
    desk = run(opened(path))
    run(desk.add())
    wal = path.with_name("jobs.db-wal").stat()
    run(desk.do(lambda table, _: table.ready("default", 1), Needs(claims={"default": 1})))
    after = path.with_name("jobs.db-wal").stat()
    assert (after.st_size, after.st_mtime_ns) == (wal.st_size, wal.st_mtime_ns)
    run(closed(desk))
