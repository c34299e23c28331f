"""What became of a job's attempts: retries, timeouts, progress, GET /jobs/{id}/attempts and /logs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.bench import Api

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"
NOW = "2027-01-15T08:00:00.000000Z"
ONCE: dict[str, Any] = {"max_attempts": 1}


async def attempts(api: Api, id: str) -> list[dict[str, Any]]:
    said = (await api.get(f"/jobs/{id}/attempts")).json()
    assert said.keys() == {"items", "next"}
    items: list[dict[str, Any]] = said["items"]
    return items


async def test_an_attempt_is_shown_once_it_has_ended(api: Api) -> None:
    """Items {"attempt", "epoch", "started_at", "finished_at", "outcome", "error", "worker"}."""
    job = await api.done()
    (item,) = await attempts(api, job["id"])
    assert item == {
        "attempt": 1,
        "epoch": 1,
        "started_at": NOW,
        "finished_at": NOW,
        "outcome": "done",
        "error": None,
        "worker": job["worker"],
    }
    assert item["worker"].startswith("local-")


@pytest.mark.parametrize(
    "kind, reason, error",
    [
        ("fail", "error", {"type": "ValueError", "message": "no good"}),
        ("fatal", "fatal", {"type": "Fatal", "message": "never"}),
        ("leave", "error", {"type": "SystemExit", "message": "3"}),
    ],
)
async def test_a_failed_attempt_says_why(api: Api, kind: str, reason: str, error: dict[str, str]) -> None:
    """`error` = {type, message, traceback}, of the job and its attempt; SystemExit ends no server."""
    job = await api.done(kind, **ONCE)
    assert (job["status"], job["reason"]) == ("FAILED", reason)
    assert error.items() <= job["error"].items()
    assert job["error"].keys() == {"type", "message", "traceback"}
    (item,) = await attempts(api, job["id"])
    assert (item["outcome"], item["error"]) == ("error", job["error"])


async def test_a_failed_try_is_followed_by_another(api: Api) -> None:
    """Between two tries it is SCHEDULED, with the last error; then it is tried again, newest attempt first."""
    job = await api.submit("fail", max_attempts=2, retry={"backoff": "list", "delays": [10]})
    await api.bench.advance(0)
    waiting = await api.job(job["id"])
    assert (waiting["status"], waiting["attempt"], waiting["reason"]) == ("SCHEDULED", 1, None)
    assert waiting["next_attempt_at"] == "2027-01-15T08:00:10.000000Z"
    assert waiting["error"]["message"] == "no good"
    await api.bench.advance(10)
    ended = await api.ended(job["id"])
    assert (ended["status"], ended["attempt"], ended["reason"]) == ("FAILED", 2, "error")
    assert [(item["attempt"], item["epoch"]) for item in await attempts(api, job["id"])] == [(2, 2), (1, 1)]


async def test_a_handler_may_say_when_to_try_again(front: Api) -> None:
    """RetryIn(seconds)."""
    job = await front.submit("later")
    await front.bench.advance(0)
    assert (await front.job(job["id"]))["next_attempt_at"] == "2027-01-15T08:00:07.000000Z"
    await front.bench.advance(7)
    assert (await front.ended(job["id"]))["result"] == 2


async def test_the_first_retry_waits_a_second_at_most(front: Api) -> None:
    """Defaults: first delay 1 s, x2, full jitter."""
    job = await front.submit("fail")
    await front.bench.advance(0)
    assert (await front.job(job["id"]))["next_attempt_at"] == "2027-01-15T08:00:00.500000Z"


async def test_a_timeout_spends_a_try(api: Api) -> None:
    """A timeout ends the work and spends a try: FAILED, reason timeout."""
    job = await api.running(timeout=2, **ONCE)
    await api.bench.advance(1.9)
    assert (await api.job(job["id"]))["status"] == "RUNNING"
    await api.bench.advance(0.2)
    ended = await api.ended(job["id"])
    assert (ended["status"], ended["reason"], ended["attempt"]) == ("FAILED", "timeout", 1)
    assert [item["outcome"] for item in await attempts(api, job["id"])] == ["timeout"]


async def test_a_cancelled_attempt_is_in_the_history(front: Api) -> None:
    """Outcome cancelled."""
    job = await front.running()
    await front.act(job["id"], "cancel")
    await front.ended(job["id"])
    assert [item["outcome"] for item in await attempts(front, job["id"])] == ["cancelled"]


async def test_a_job_that_never_ran_has_no_history(api: Api) -> None:
    """Nothing there is an empty list."""
    id = (await api.park())["id"]
    for path in ("attempts", "logs"):
        assert (await api.get(f"/jobs/{id}/{path}")).json() == {"items": [], "next": None}


async def test_a_hundred_attempts_are_kept(front: Api) -> None:
    """100 attempts a job: the newest."""
    job = await front.submit("fail", max_attempts=103, retry={"backoff": "list", "delays": [0]})
    await front.ended(job["id"])
    assert [item["attempt"] for item in await attempts(front, job["id"])] == list(range(103, 3, -1))


async def test_a_handler_reports_its_progress(api: Api) -> None:
    """`progress` = {percent, message, data} while it runs, and after."""
    job = await api.running("chatty")
    said = {"percent": 50, "message": "half way", "data": {"step": 1}}
    assert (await api.job(job["id"]))["progress"] == said
    api.bench.gate.set()
    assert (await api.ended(job["id"]))["progress"] == said


async def test_a_handler_writes_a_log(api: Api) -> None:
    """Items {"at", "attempt", "level", "message"}, newest first as every list."""
    job = await api.running("chatty")
    assert (await api.get(f"/jobs/{job['id']}/logs")).json() == {
        "items": [
            {"at": NOW, "attempt": 1, "level": "warning", "message": "second"},
            {"at": NOW, "attempt": 1, "level": "info", "message": "first"},
        ],
        "next": None,
    }


@pytest.mark.parametrize("path", ["attempts", "logs"])
@pytest.mark.parametrize("id", [UNKNOWN, "x"])
async def test_an_unknown_job_is_404(api: Api, id: str, path: str) -> None:
    """Unknown job: 404."""
    (await api.get(f"/jobs/{id}/{path}")).problem(404, "not-found")
