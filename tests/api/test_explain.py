"""GET /jobs/{id}/explain."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from jobqueue.mailbox import Orders
from jobqueue.queue import Queue
from jobqueue.stores.contract import Needs
from tests.api.bench import Api, served

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"
NOTHING: dict[str, Any] = {"causes": [], "place": None, "estimated_start": None, "expires_at": None}


async def explain(api: Api, id: str) -> dict[str, Any]:
    """The explanation."""
    answer = await api.get(f"/jobs/{id}/explain")
    assert answer.status == 200, answer
    said: dict[str, Any] = answer.json()
    for cause in said["causes"]:
        assert cause.pop("detail")
    return said


async def test_a_job_that_runs(api: Api) -> None:
    """RUNNING: no causes."""
    assert await explain(api, (await api.running())["id"]) == NOTHING


@pytest.mark.parametrize("kind", ["echo", "fatal"])
async def test_an_ended_job(front: Api, kind: str) -> None:
    """DONE and FAILED: no causes."""
    assert await explain(front, (await front.done(kind))["id"]) == NOTHING


async def test_a_delayed_job(api: Api) -> None:
    """It is scheduled, and starts then; and it would expire at its time."""
    job = await api.submit(delay=60, expires_at="2027-01-15T09:00:00Z")
    assert await explain(api, job["id"]) == {
        "causes": [{"cause": "scheduled", "until": "2027-01-15T08:01:00.000000Z"}],
        "place": None,
        "estimated_start": "2027-01-15T08:01:00.000000Z",
        "expires_at": "2027-01-15T09:00:00.000000Z",
    }


async def test_a_job_that_waits_for_others(front: Api) -> None:
    """Which they are, and how far; and what comes of it when they have ended."""
    first = await front.running()
    second = await front.park()
    child = await front.submit(depends_on=[first["id"], second["id"]])
    said = await explain(front, child["id"])
    jobs = [{"id": first["id"], "status": "RUNNING"}, {"id": second["id"], "status": "QUEUED"}]
    assert said["causes"] == [{"cause": "dependency", "unmet": 2, "jobs": jobs}]
    assert (said["place"], said["estimated_start"]) == (None, None)
    front.bench.gate.set()
    await front.ended(first["id"])
    assert (await explain(front, child["id"]))["causes"] == [{"cause": "dependency", "unmet": 1, "jobs": jobs[1:]}]
    (await front.ask("DELETE", f"/jobs/{first['id']}")).problem(409, "bad-state")
    await front.act(second["id"], "cancel")
    await front.ended(child["id"])
    assert (await front.ask("DELETE", f"/jobs/{first['id']}")).status == 204


async def test_a_job_in_line() -> None:
    """Behind others while the worker is busy; the estimate follows from what has ended in the last minute."""
    async with served(workers=1) as api:
        for _ in range(6):
            await api.done()
        await api.running()
        ids = [(await api.submit())["id"] for _ in range(3)]
        said = await explain(api, ids[2])
        assert said["causes"] == [{"cause": "behind", "ahead": 2, "running": 1}]
        assert (said["place"], said["estimated_start"]) == (3, "2027-01-15T08:00:30.000000Z")
        assert (await explain(api, ids[0]))["place"] == 1


async def test_a_job_that_nobody_takes(front: Api) -> None:
    """Local workers do not serve its queue, and nobody has asked."""
    said = await explain(front, (await front.park())["id"])
    assert said["causes"] == [{"cause": "no-worker", "queue": "parked", "last_asked": None}]
    assert (said["place"], said["estimated_start"]) == (1, None)


async def test_without_local_workers() -> None:
    """The queues that local workers would serve are then served by nobody."""
    async with served(workers=0) as api:
        said = await explain(api, (await api.submit())["id"])
        assert [cause["cause"] for cause in said["causes"]] == ["no-worker"]


async def test_a_taker_that_waits_elsewhere(front: Api) -> None:
    """Somebody who asks for jobs of the queue serves it, and is remembered for two minutes."""
    job = await front.submit(queue="remote", delay=3600)
    assert [cause["cause"] for cause in (await explain(front, job["id"]))["causes"]] == ["scheduled", "no-worker"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.server.dispatch.next, "w", ("remote", "other"), Orders())
        await front.bench.advance(1000)
        assert [cause["cause"] for cause in (await explain(front, job["id"]))["causes"]] == ["scheduled"]
        nursery.cancel_scope.cancel()
    said = (await explain(front, job["id"]))["causes"]
    assert [cause["cause"] for cause in said] == ["scheduled", "no-worker"]
    assert said[1]["last_asked"] == "2027-01-15T08:00:00.000000Z"


async def test_a_paused_queue(front: Api) -> None:
    """What holds the whole queue."""
    await front.store.apply(Needs, lambda table: table.configure(Queue("default", paused=True)))
    said = await explain(front, (await front.submit())["id"])
    assert said["causes"] == [{"cause": "paused", "queue": "default"}]


async def test_nothing_is_changed_by_it(front: Api) -> None:
    """An explanation is a read."""
    id = (await front.park())["id"]
    before = await front.job(id)
    await explain(front, id)
    assert await front.job(id) == before


@pytest.mark.parametrize("id", [UNKNOWN, "x", "%00"])
async def test_an_unknown_job_is_404(api: Api, id: str) -> None:
    """Unknown job: 404."""
    (await api.get(f"/jobs/{id}/explain")).problem(404, "not-found")
