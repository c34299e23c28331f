"""GET /healthz and /readyz, and what a server that is full, drains or has lost its store answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.errors import StorageFull
from jobqueue.rules.table import Table
from jobqueue.stores.contract import Needs, StoreFailed
from jobqueue.stores.memory import MemoryStore
from tests.api.bench import Api, served

WRITES = [
    ("/jobs", {"kind": "echo"}),
    ("/jobs", [{"kind": "echo"}]),
    ("/submit", {"payload": "x"}),
]


async def test_a_server_says_that_it_is_alive(api: Api) -> None:
    """/healthz: alive."""
    answer = await api.get("/healthz")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


async def test_a_server_says_that_it_is_ready_and_what_it_keeps_jobs_in(api: Api) -> None:
    """/readyz names the store, its durability and "auth": "open" where it is."""
    answer = await api.get("/readyz")
    said = answer.json()
    assert (answer.status, said["status"], said["auth"]) == (200, "ready", "open")
    assert said["store"] == {"name": "memory", "durability": "none: nothing survives the process"}


async def test_a_server_that_is_about_to_stop_is_not_ready_but_serves(api: Api) -> None:
    """503 with reasons: draining; until then it goes on as ever, and it is alive."""
    await api.drain(refuse=False)
    said = (await api.get("/readyz")).problem(503, "draining")
    assert said["reasons"] == ["draining"]
    assert (await api.post("/jobs", {"kind": "echo"})).status == 201
    assert (await api.get("/healthz")).status == 200


@pytest.mark.parametrize("path, said", WRITES)
async def test_a_server_that_drains_takes_nothing_new(api: Api, path: str, said: Any) -> None:
    """draining: 503 with Retry-After; what is there can be read, and cancelled."""
    id = (await api.park())["id"]
    await api.drain()
    (await api.post(path, said)).problem(503, "draining")
    assert (await api.job(id))["status"] == "QUEUED"
    assert (await api.act(id, "cancel")).status == 200


@pytest.mark.parametrize("path, said", WRITES)
async def test_a_full_queue_refuses(path: str, said: Any) -> None:
    """Queue full: 429 queue-full with Retry-After, 30 if nothing drains."""
    async with served(max_queued=2, workers=0) as api:
        for _ in range(2):
            assert (await api.submit())["status"] == "QUEUED"
        answer = await api.post(path, said)
        answer.problem(429, "queue-full")
        assert answer.headers["retry-after"] == "30"
        assert (await api.park())["status"] == "QUEUED"


async def test_what_waits_for_its_time_counts_as_queued() -> None:
    """SCHEDULED jobs fill a queue too."""
    async with served(max_queued=1, workers=0) as api:
        await api.submit(delay=60)
        (await api.post("/jobs", {"kind": "echo"})).problem(429, "queue-full")


@pytest.mark.parametrize("ended, seconds, expected", [(1, 50, "50"), (60, 10, "1"), (1, 59, "59")])
async def test_when_to_come_again_follows_from_the_rate_of_the_last_minute(
    ended: int, seconds: float, expected: str
) -> None:
    """Retry-After is computed from the drain rate."""
    async with served(max_queued=100, workers=1) as api:
        for _ in range(ended):
            await api.done()
        await api.bench.advance(seconds)
        await api.post("/jobs", [{"kind": "echo", "queue": "parked"}] * 100)
        answer = await api.post("/jobs", {"kind": "echo", "queue": "parked"})
        answer.problem(429, "queue-full")
        assert answer.headers["retry-after"] == expected


async def test_a_server_whose_every_worker_is_stuck_is_not_ready(api: Api) -> None:
    """stuck: only when all local workers are."""
    stubborn = api.bench
    first = await api.submit("stubborn")
    await stubborn.started.wait()
    await api.act(first["id"], "cancel")
    await stubborn.advance(11)
    ready = (await api.get("/readyz")).json()
    assert (ready["stuck"], ready["running"]) == (1, 1)
    second = await api.submit("stubborn")
    await trio.testing.wait_all_tasks_blocked(0.02)
    await api.act(second["id"], "cancel")
    await stubborn.advance(9)
    assert (await api.get("/readyz")).status == 200
    await stubborn.advance(2)
    said = (await api.get("/readyz")).problem(503, "overloaded")
    assert said["reasons"] == ["stuck"]
    stubborn.gate.set()
    await api.ended(second["id"])
    assert (await api.get("/readyz")).status == 200


class Failing(MemoryStore):
    """A store whose disk can be full, or lost."""

    fault: Exception | None = None

    async def apply(self, needs: Callable[[], Needs], decide: Callable[[Table], Any]) -> Any:
        if self.fault is not None:
            raise self.fault
        return await super().apply(needs, decide)


@pytest.mark.parametrize("path, said", WRITES)
async def test_a_full_disk_is_507_and_heals(logged: list[Any], path: str, said: Any) -> None:
    """Disk full: 507 storage-full; nothing changed, and not ready until it heals."""
    async with served(store=Failing, workers=0) as api:
        assert isinstance(api.store, Failing)
        id = (await api.submit())["id"]
        api.store.fault = StorageFull("no room on the disk")
        (await api.post(path, said)).problem(507, "storage-full")
        (await api.act(id, "cancel")).problem(507, "storage-full")
        assert (await api.get("/readyz")).problem(503, "store")["reasons"] == ["store"]
        assert len((await api.get("/jobs")).json()["items"]) == 1
        api.store.fault = None
        assert (await api.post(path, said)).status in (200, 201)
        assert (await api.get("/readyz")).status == 200
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["store failing"]
    logged.clear()


async def test_a_lost_store_is_503_to_all_who_wait() -> None:
    """Store down: 503 store, with Retry-After; then the process ends."""
    with pytest.RaisesGroup(StoreFailed, flatten_subgroups=True):
        async with served(store=Failing, workers=0) as api:
            assert isinstance(api.store, Failing)
            api.store.fault = StoreFailed("the disk is gone")
            for path, said in WRITES:
                (await api.post(path, said)).problem(503, "store")
            await api.bench.advance(1)
            await trio.sleep_forever()
