"""A server whose disk fails or fills up (promise 10): never a success that is none.

An I/O error comes from strace, which needs ptrace. The full disk is a small file system of its own: to mount it takes
root.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.crash_handlers import BEGAN, JOURNAL, REGISTRY, read_journal
from tests.e2e.server_process import COMMAND, ServerProcess, running_server
from tests.e2e.test_faults import STRACE, at, synced_again

WAITING = 8  # callers at once
MOST_ROUNDS = 200
WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")  # strace that is killed leaves what it traced running
DISK_BYTES = 2 << 20
BLOCK = 4096
SLACK_SECONDS = 6.0  # less than what the last net would wait


# -- the disk fails


@pytest.mark.parametrize("name, n", [("fdatasync", 12), ("fdatasync", 25), ("pwrite64", 201), ("pwrite64", 262)])
def test_an_io_error_is_told_to_all_and_ends_the_server(tmp_path: Path, name: str, n: int) -> None:
    """EIO: 503 `store` to all who wait, exit code 74, no second sync of the file; what got a 201 is there."""
    log = tmp_path / "strace"
    strace = [*STRACE, "--trace=fdatasync,fsync,pwrite64", f"--output={log}", at(name, n, "error=EIO")]
    with running_server(tmp_path, "--workers", "0", command=[*strace, *WITH_ITS_PARENT, *COMMAND]) as server:
        answers = submit_until_it_fails(server)
        assert server.exit_code() == 74, str(server.log)
        assert any(entry["event"] == "storage failed" for entry in server.events())
    traced = log.read_text("ascii")
    assert "(INJECTED)" in traced
    assert [*synced_again(traced)] == []
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(refused) == WAITING
    for answer in refused:
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store")
        assert answer.headers["retry-after"]
    with running_server(tmp_path, "--workers", "0") as server:
        assert {server.client.get(f"/jobs/{id}").status_code for id in accepted} == {200}


def submit_until_it_fails(server: ServerProcess) -> list[httpx.Response]:
    """All answers of some callers, who submit side by side until each got something else than 201."""

    def call(number: int) -> list[httpx.Response]:
        answers = []
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
            for _ in range(MOST_ROUNDS):
                answers.append(client.post("/jobs", json={"kind": "work", "payload": "x" * 500}))
                if answers[-1].status_code != 201:
                    return answers
        raise AssertionError("it did not fail")

    with ThreadPoolExecutor(WAITING) as pool:
        return [answer for answers in pool.map(call, range(WAITING)) for answer in answers]


# -- the disk is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "jobqueue-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Take all space that is left; give it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            for _ in range(DISK_BYTES // BLOCK + 1):
                file.write(bytes(BLOCK))
        except OSError:
            pass
        else:
            raise AssertionError("the disk did not fill up")
    yield
    filler.unlink()


def serving(disk: Path, journal: Path, *options: str) -> Any:
    return running_server(disk, *options, handlers=[REGISTRY], env={JOURNAL: str(journal)})


def submit(server: ServerProcess, size: int = 5_000) -> httpx.Response:
    """Submit a job that nobody here runs."""
    job = {"kind": "work", "queue": "elsewhere", "payload": "x" * size}
    return server.client.post("/jobs", json=job)


def test_a_full_disk_changes_nothing_and_heals(small_disk: Path, tmp_path: Path) -> None:
    """Submissions get 507 and leave nothing behind, reads go on; with space again all works, without a restart."""
    with serving(small_disk, tmp_path / "journal") as server:
        before = [submit(server).raise_for_status().json()["id"] for _ in range(20)]
        with filled(small_disk):
            refused = [answer for answer in (submit(server) for _ in range(10)) if answer.status_code != 201]
            assert len(refused) >= 8  # a page or two of the log may have been there already
            for answer in refused:
                assert (answer.status_code, answer.json()["type"]) == (507, "/problems/storage-full")
            ready = server.client.get("/readyz")
            assert (ready.status_code, ready.json()["reasons"]) == (503, ["store"])
            assert {server.client.get(f"/jobs/{id}").status_code for id in before} == {200}
        after = submit(server)
        assert after.status_code == 201
        assert server.client.get("/readyz").status_code == 200
        jobs = server.client.get("/jobs?queue=elsewhere&limit=200").json()["items"]
        assert len(jobs) == 20 + (10 - len(refused)) + 1


def test_results_of_running_jobs_outlive_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """A job that ends while the disk is full runs once: its result is kept, and saved when there is space."""
    journal = tmp_path / "journal"
    with serving(small_disk, journal) as server:
        job = server.submit(kind="work", payload={"key": "kept", "seconds": 1, "say": True})
        assert server.log.wait(BEGAN, 30)
        with filled(small_disk):
            assert submit(server, 50_000).status_code == 507
            assert server.wait(job["id"], 3)["status"] == "RUNNING"  # though its handler has ended
            assert [entry.what for entry in read_journal(journal)] == ["began", "ended"]
        ended = server.wait(job["id"])
        assert (ended["status"], ended["result"]) == ("DONE", {"key": "kept", "epoch": 1})
        assert server.submit(kind="work", payload={"key": "next"})["status"] == "QUEUED"
        assert len(read_journal(journal)) in (2, 3, 4)


def test_it_can_be_stopped_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """SIGTERM while the disk is full: it ends in time, says by 74 what it could not save, and loses nothing by it."""
    with serving(small_disk, tmp_path / "journal", "--grace", "0.2") as server:
        running = server.submit(kind="wait", payload={})["id"]
        assert server.log.wait(BEGAN, 30)
        waiting = [submit(server).raise_for_status().json()["id"] for _ in range(5)]
        with filled(small_disk):
            assert submit(server, 50_000).status_code == 507
            start = time.monotonic()
            assert server.kill(signal.SIGTERM) == 74, str(server.log)
            assert time.monotonic() - start < 0.2 + 2 + SLACK_SECONDS
    with serving(small_disk, tmp_path / "journal", "--workers", "0") as server:
        for id in (running, *waiting):
            assert server.client.get(f"/jobs/{id}").json()["status"] == "QUEUED"
