"""POST /jobs/{id}/cancel and /retry: in every state a job can be in."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from tests.api.bench import JSON, Api, served

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"
COMMANDS = ("cancel", "retry")


@pytest.mark.parametrize("fields", [{"queue": "parked"}, {"delay": 60}])
async def test_a_job_that_waits_is_cancelled_at_once(api: Api, fields: dict[str, Any]) -> None:
    """cancel: 200, CANCELLED."""
    id = (await api.submit(**fields))["id"]
    answer = await api.act(id, "cancel")
    job = answer.json()
    assert (answer.status, job["status"], job["reason"]) == (200, "CANCELLED", "cancelled")
    assert job["finished_at"] == job["cancel_requested_at"] == "2027-01-15T08:00:00.000000Z"
    assert job == await api.job(id)
    await api.bench.advance(61)
    assert (await api.job(id))["status"] == "CANCELLED"


async def test_a_cancelled_job_may_be_cancelled_again(api: Api) -> None:
    """CANCELLED already: 200 too, and nothing changes."""
    id = (await api.park())["id"]
    first = await api.act(id, "cancel")
    await api.bench.advance(5)
    again = await api.act(id, "cancel")
    assert (again.status, again.json()) == (200, first.json())


async def test_a_running_job_is_asked_to_end(api: Api) -> None:
    """202 while running; its handler is ended, and then it is CANCELLED."""
    id = (await api.running())["id"]
    answer = await api.act(id, "cancel")
    assert (answer.status, answer.json()["cancel_requested_at"]) == (202, "2027-01-15T08:00:00.000000Z")
    job = await api.ended(id)
    assert (job["status"], job["reason"]) == ("CANCELLED", "cancelled")


@pytest.mark.parametrize("kind", ["echo", "fatal"])
async def test_an_ended_job_cannot_be_cancelled(api: Api, kind: str) -> None:
    """DONE or FAILED: 409."""
    job = await api.done(kind)
    (await api.act(job["id"], "cancel")).problem(409, "bad-state")
    assert await api.job(job["id"]) == job


async def test_a_failed_job_starts_afresh(api: Api) -> None:
    """Retry of FAILED: 200, QUEUED now, attempt 0."""
    id = (await api.done("fatal"))["id"]
    await api.submit("slow")
    await api.submit("slow")
    answer = await api.act(id, "retry")
    job = answer.json()
    assert (answer.status, job["status"], job["attempt"], job["reason"], job["error"]) == (200, "QUEUED", 0, None, None)
    assert (job["finished_at"], job["started_at"], job["epoch"]) == (None, None, 1)
    api.bench.gate.set()
    job = await api.ended(id)
    assert (job["status"], job["attempt"], job["epoch"]) == ("FAILED", 1, 2)


async def test_a_cancelled_job_starts_afresh(api: Api) -> None:
    """Retry of CANCELLED: QUEUED now, run_at and expires_at cleared."""
    id = (await api.submit(queue="parked", run_at="2027-01-15T09:00:00Z", expires_at="2027-01-15T10:00:00Z"))["id"]
    await api.act(id, "cancel")
    job = (await api.act(id, "retry")).json()
    assert (job["status"], job["run_at"], job["expires_at"], job["next_attempt_at"]) == ("QUEUED", None, None, None)
    assert (job["cancel_requested_at"], job["reason"]) == (None, None)
    await api.bench.advance(3 * 3600)
    assert (await api.job(id))["status"] == "QUEUED"


async def test_a_retry_has_a_place_of_its_own() -> None:
    """A retry gets a new place: behind those who came in between."""
    async with served(workers=1) as api:
        await api.running()
        first, second = [(await api.submit())["id"] for _ in range(2)]
        await api.act(first, "cancel")
        await api.act(first, "retry")
        api.bench.gate.set()
        assert (await api.ended(first))["status"] == "DONE"
        assert [ctx.id for ctx in api.bench.seen] == [second, first]


@pytest.mark.parametrize("kind, fields", [("echo", {"queue": "parked"}), ("echo", {"delay": 60}), ("slow", {})])
async def test_a_job_that_has_not_ended_cannot_be_retried(api: Api, kind: str, fields: dict[str, Any]) -> None:
    """Else 409."""
    job = await api.submit(kind, **fields)
    await trio.testing.wait_all_tasks_blocked(0.02)
    (await api.act(job["id"], "retry")).problem(409, "bad-state")


async def test_a_done_job_cannot_be_retried(api: Api) -> None:
    """DONE: 409."""
    (await api.act((await api.done())["id"], "retry")).problem(409, "bad-state")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("id", [UNKNOWN, "x", "%00"])
async def test_an_unknown_job_is_404(api: Api, id: str, command: str) -> None:
    """Unknown job: 404."""
    (await api.act(id, command)).problem(404, "not-found")


@pytest.mark.parametrize(
    "body, type", [(None, None), (b"", None), (b"", "text/plain"), (b" \n", None), (b"{}", JSON), (b"", JSON)]
)
async def test_a_command_needs_no_body(front: Api, body: bytes | None, type: str | None) -> None:
    """An empty body is `{}` and needs no type where no field is required."""
    id = (await front.park())["id"]
    assert (await front.ask("POST", f"/jobs/{id}/cancel", body, type=type)).status == 200


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_body_of_a_command_is_held_to_the_same_rules(api: Api, command: str) -> None:
    """A body needs its type, JSON, and no unknown fields; and nothing is done where it is refused."""
    id = (await api.park())["id"]
    path = f"/jobs/{id}/{command}"
    (await api.ask("POST", path, b"{}", type="text/plain")).problem(415, "unsupported-media-type")
    (await api.ask("POST", path, b"{", type=JSON)).problem(400, "invalid-json")
    (await api.ask("POST", path, b"", type=JSON, content_encoding="gzip")).problem(415, "unsupported-media-type")
    assert (await api.ask("POST", path, b"[]", type=JSON)).pointers(422, "validation") == [""]
    assert (await api.ask("POST", path, b'{"why": 1, "a/b": 2}', type=JSON)).pointers(422, "validation") == [
        "/why",
        "/a~1b",
    ]
    (await api.ask("POST", path, b" " * 5000, type=JSON)).problem(413, "body-too-large")
    (await api.ask("POST", path, [b" " * 5000], type=JSON)).problem(413, "body-too-large")
    assert (await api.job(id))["status"] == "QUEUED"
