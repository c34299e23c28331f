"""Schedules over HTTP: put, look, list, delete, trigger; and the jobs that they make."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.bench import JSON, Api
from tests.api.doors import Answer

NOW = "2027-01-15T08:00:00.000000Z"  # a Friday
JOB = {"kind": "echo", "payload": {"n": 12345678901234567890}}
FIELDS = ["timezone", "job", "overlap", "catch_up", "paused", "next_runs", "last_job", "last_error"]


async def put(api: Api, name: str = "s", job: dict[str, Any] = JOB, **said: Any) -> Answer:
    """PUT of a schedule: hourly, unless said otherwise."""
    said = said if said.keys() & {"cron", "every"} else {"cron": "@hourly", **said}
    body = json.dumps({"job": job, **said}).encode()
    return await api.ask("PUT", f"/schedules/{name}", body, type=JSON)


async def kept(api: Api, name: str = "s", **said: Any) -> dict[str, Any]:
    """The schedule after a PUT that must be taken."""
    answer = await put(api, name, **said)
    assert answer.status in (200, 201), answer
    found: dict[str, Any] = answer.json()
    return found


async def jobs(api: Api) -> list[dict[str, Any]]:
    """All jobs, oldest first."""
    answer = await api.get("/jobs?limit=200")
    return list(reversed(answer.json()["items"]))


async def test_a_schedule_is_put_looked_at_and_deleted(api: Api) -> None:
    """PUT 201 with its place, then 200; DELETE 204; after that 404. An answer shows what is kept."""
    answer = await put(api)
    assert (answer.status, answer.headers["location"]) == (201, "/schedules/s")
    found = await api.get("/schedules/s")
    assert (found.status, found.json()) == (200, answer.json())
    again = await put(api, paused=True)
    assert (again.status, "location" in again.headers) == (200, False)
    assert again.json()["paused"] is True
    gone = await api.ask("DELETE", "/schedules/s")
    assert (gone.status, gone.body) == (204, b"")
    (await api.get("/schedules/s")).problem(404, "not-found")
    (await api.ask("DELETE", "/schedules/s")).problem(404, "not-found")


async def test_what_is_left_open_has_its_default(front: Api) -> None:
    """Each field of section 5, with cron or every, whichever was said."""
    found = await kept(front, "nightly", cron="0 3 * * *")
    assert list(found) == ["name", "cron", *FIELDS]
    assert found == {
        "name": "nightly",
        "cron": "0 3 * * *",
        "timezone": "UTC",
        "job": JOB,
        "overlap": "skip",
        "catch_up": "none",
        "paused": False,
        "next_runs": [f"2027-01-{day}T03:00:00.000000Z" for day in (16, 17, 18, 19, 20)],
        "last_job": None,
        "last_error": None,
    }
    assert list(await kept(front, "often", every=90)) == ["name", "every", *FIELDS]


async def test_what_is_said_is_kept(front: Api) -> None:
    """Each field, and the job as it was put."""
    said: dict[str, Any] = {
        "every": 1.5,
        "timezone": "Europe/Berlin",
        "job": {"kind": "k", "queue": "q", "payload": [1, 2.50], "priority": 5, "delay": 3, "tags": ["a"]},
        "overlap": "replace",
        "catch_up": "one",
        "paused": True,
    }
    found = await kept(front, **said)
    assert said.items() <= found.items()


@pytest.mark.parametrize(
    "said, runs",
    [
        ({"cron": "30 9 * * *"}, ["15T09:30:00", "16T09:30:00"]),
        ({"cron": "*/20 * * * * *"}, ["15T08:00:20", "15T08:00:40"]),
        ({"cron": "0 0 L * *"}, ["31T00:00:00"]),
        ({"cron": "0 0 * * MON#4"}, ["25T00:00:00"]),
        ({"cron": "@daily", "timezone": "America/New_York"}, ["16T05:00:00", "17T05:00:00"]),
        ({"every": 2.5}, ["15T08:00:02.5", "15T08:00:05"]),
    ],
)
async def test_the_next_runs_are_shown(front: Api, said: dict[str, Any], runs: list[str]) -> None:
    """Five of them: of 5 or 6 fields, L, #n, aliases, zones and intervals."""
    shown = (await kept(front, **said))["next_runs"]
    assert len(shown) == 5
    assert shown[: len(runs)] == [f"2027-01-{run:<018}Z".replace(" ", "0") for run in map(padded, runs)]


def padded(run: str) -> str:
    """A day and time with all its microseconds."""
    whole, _, fraction = run.partition(".")
    return f"{whole}.{fraction:0<6}"


async def test_a_fire_time_makes_the_job(api: Api) -> None:
    """As submitted; `run_at` tells the fire time; the schedule names its last job."""
    await kept(api, every=60, job={**JOB, "queue": "parked", "tags": ["nightly"], "priority": 7})
    await api.bench.advance(59)
    assert await jobs(api) == []
    await api.bench.advance(1)
    (job,) = await jobs(api)
    whole = await api.job(job["id"])
    assert whole["payload"] == JOB["payload"]
    assert (job["status"], job["queue"], job["tags"], job["priority"]) == ("QUEUED", "parked", ["nightly"], 7)
    assert job["run_at"] == job["created_at"] == "2027-01-15T08:01:00.000000Z"
    shown = (await api.get("/schedules/s")).json()
    assert (shown["last_job"], shown["next_runs"][0]) == (job["id"], "2027-01-15T08:02:00.000000Z")


async def test_the_handler_says_what_the_job_leaves_open(front: Api) -> None:
    """As for any submission."""
    await kept(front, every=60, job={"kind": "chatty", "queue": "parked"})
    await front.bench.advance(60)
    (job,) = await jobs(front)
    assert (job["timeout"], job["max_attempts"]) == (60, 8)


async def test_the_same_put_leaves_the_times_as_they_are(front: Api) -> None:
    """So an application may put its schedules whenever it starts."""
    before = await kept(front, every=60)
    await front.bench.advance(30)
    answer = await put(front, every=60)
    assert (answer.status, answer.json()) == (200, before)


async def test_what_is_shown_may_be_put_back(front: Api) -> None:
    """What only the server says is not looked at."""
    await kept(front, every=60)
    shown = (await front.get("/schedules/s")).json()
    assert await kept(front, **shown) == shown


async def test_pause_and_go_on(front: Api) -> None:
    """While paused nothing fires, what would is shown; afterwards nothing of it is made up for."""
    await kept(front, every=60, catch_up="one")
    await kept(front, every=60, catch_up="one", paused=True)
    await front.bench.advance(150)
    assert (await front.get("/schedules/s")).json()["next_runs"][0] == "2027-01-15T08:03:00.000000Z"
    found = await kept(front, every=60, catch_up="one")
    assert found["next_runs"][0] == "2027-01-15T08:03:00.000000Z"
    assert await jobs(front) == []
    await front.bench.advance(30)
    assert len(await jobs(front)) == 1


async def test_overlap_skip_makes_no_job_beside_an_unfinished_one(front: Api) -> None:
    """Once that has ended, the next fire time makes one again."""
    await kept(front, every=60, job={"kind": "slow"})
    for _ in range(3):
        await front.bench.advance(60)
    (job,) = await jobs(front)
    front.bench.gate.set()
    await front.ended(job["id"])
    await front.bench.advance(60)
    assert [job["run_at"] for job in await jobs(front)] == [
        "2027-01-15T08:01:00.000000Z",
        "2027-01-15T08:04:00.000000Z",
    ]


async def test_overlap_queue_keeps_every_fire_time(front: Api) -> None:
    """They wait for each other or run side by side, as the queue has it."""
    await kept(front, every=60, job={"kind": "slow"}, overlap="queue")
    for _ in range(4):
        await front.bench.advance(60)
    assert [job["status"] for job in await jobs(front)] == ["RUNNING", "RUNNING", "QUEUED", "QUEUED"]


async def test_overlap_replace_cancels_the_unfinished_one(api: Api) -> None:
    """Waiting or at work: it ends CANCELLED, `replaced`."""
    await kept(api, every=60, job={"kind": "slow"}, overlap="replace")
    await kept(api, "t", every=60, job={"kind": "slow", "queue": "parked"}, overlap="replace")
    await api.bench.advance(60)
    await api.bench.advance(60)
    ends = [(job["queue"], job["status"], job["reason"]) for job in await jobs(api)]
    assert sorted(ends, key=str) == [
        ("default", "CANCELLED", "replaced"),
        ("default", "RUNNING", None),
        ("parked", "CANCELLED", "replaced"),
        ("parked", "QUEUED", None),
    ]


async def test_a_job_that_is_about_to_be_replaced_has_no_reason_yet(front: Api) -> None:
    """The reason of an end is shown when it has ended."""
    await kept(front, every=60, job={"kind": "stubborn"}, overlap="replace")
    await front.bench.advance(60)
    await front.bench.advance(60)
    first, _ = await jobs(front)
    assert (first["status"], first["reason"]) == ("RUNNING", None)
    assert first["cancel_requested_at"] == "2027-01-15T08:02:00.000000Z"
    front.bench.gate.set()
    ended = await front.ended(first["id"])
    assert (ended["status"], ended["reason"]) == ("DONE", None)  # it would not stop, and said that it was done


async def test_a_trigger_makes_a_job_now(api: Api) -> None:
    """201 + Location + the job, also of a paused schedule, however often; the schedule's times stay."""
    before = await kept(api, every=60, paused=True, job={**JOB, "queue": "parked"})
    for _ in range(2):
        answer = await api.ask("POST", "/schedules/s/trigger")
        job = answer.json()
        assert (answer.status, answer.headers["location"]) == (201, f"/jobs/{job['id']}")
        assert await api.job(job["id"]) == job
        assert (job["status"], job["run_at"], job["created_at"]) == ("QUEUED", None, NOW)
    shown = (await api.get("/schedules/s")).json()
    assert shown == before | {"last_job": job["id"]}


async def test_a_trigger_answers_as_a_submission_does(front: Api) -> None:
    """The client may wait for the end; the holder of a unique key that is returned is no new job."""
    await kept(front)
    waited = await front.ask("POST", "/schedules/s/trigger", prefer="wait=5")
    assert (waited.status, waited.json()["result"]) == (200, JOB["payload"])
    unique = {"key": "k", "on_conflict": "return"}
    await kept(front, job={"kind": "slow", "unique": unique})
    first, second = [await front.ask("POST", "/schedules/s/trigger") for _ in range(2)]
    assert (first.status, second.status) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


async def test_a_fire_that_makes_no_job_is_seen(front: Api, logged: list[Any]) -> None:
    """The schedule says why, and goes on."""
    await kept(front, every=60, job={**JOB, "queue": "parked", "unique": {"key": "k"}}, overlap="queue")
    await front.bench.advance(60)
    await front.bench.advance(60)
    shown = (await front.get("/schedules/s")).json()
    assert len(await jobs(front)) == 1
    assert shown["last_error"]
    assert shown["next_runs"][0] == "2027-01-15T08:03:00.000000Z"
    assert [entry["schedule"] for entry in logged if entry["event"] == "schedule made no job"] == ["s"]


async def test_nothing_fires_once_the_server_drains(front: Api) -> None:
    """And nothing is triggered once it refuses submissions."""
    await kept(front, every=60)
    await front.drain()
    await front.bench.advance(60)
    assert await jobs(front) == []
    (await front.ask("POST", "/schedules/s/trigger")).problem(503, "draining")
