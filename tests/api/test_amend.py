"""PATCH and DELETE /jobs/{id}."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.bench import JSON, Api, served
from tests.api.doors import Answer

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"
MERGE = "application/merge-patch+json"


async def patch(api: Api, id: str, said: Any, type: str = JSON) -> Answer:
    """Change a job."""
    return await api.ask("PATCH", f"/jobs/{id}", json.dumps(said).encode(), type=type)


@pytest.mark.parametrize("type", [JSON, MERGE])
async def test_a_job_is_changed(api: Api, type: str) -> None:
    """200 and the whole job, as everybody sees it from now on."""
    job = await api.submit(delay=3600, payload={"a": 1})
    said = {
        "priority": 7,
        "max_attempts": 9,
        "expires_at": "2027-01-15T11:00:00.000000Z",
        "run_at": "2027-01-15T10:00:00.000000Z",
    }
    answer = await patch(api, job["id"], said, type)
    assert (answer.status, answer.json()) == (200, {**job, **said, "next_attempt_at": said["run_at"]})
    assert await api.job(job["id"]) == answer.json()


async def test_null_clears(front: Api) -> None:
    """RFC 7396: expires_at null = never, run_at null = now; what is absent stays."""
    job = await front.submit(queue="parked", run_at="2027-01-15T09:00:00Z", expires_at="2027-01-15T10:00:00Z")
    changed = (await patch(front, job["id"], {"expires_at": None})).json()
    assert (changed["expires_at"], changed["run_at"]) == (None, job["run_at"])
    changed = (await patch(front, job["id"], {"run_at": None})).json()
    assert (changed["status"], changed["run_at"], changed["next_attempt_at"]) == ("QUEUED", None, None)


@pytest.mark.parametrize("body, type", [(None, None), (b"", None), (b"", MERGE), (b"{}", JSON), (b"{}", MERGE)])
async def test_an_empty_change_changes_nothing(front: Api, body: bytes | None, type: str | None) -> None:
    """An empty body is `{}`."""
    job = await front.park()
    answer = await front.ask("PATCH", f"/jobs/{job['id']}", body, type=type)
    assert (answer.status, answer.json()) == (200, job)


async def test_a_job_that_is_due_now_runs(front: Api) -> None:
    """run_at null wakes a worker."""
    id = (await front.submit(delay=3600))["id"]
    await patch(front, id, {"run_at": None})
    assert (await front.ended(id))["status"] == "DONE"


async def test_a_new_time_is_kept(front: Api) -> None:
    """The job starts then, though nobody asks."""
    id = (await front.submit(delay=3600))["id"]
    await patch(front, id, {"run_at": "2027-01-15T08:00:10Z"})
    await front.bench.advance(10)
    assert (await front.ended(id))["started_at"] == "2027-01-15T08:00:10.000000Z"


async def test_a_higher_priority_overtakes() -> None:
    """The job is the next to start."""
    async with served(workers=1) as api:
        await api.running()
        first, second = [(await api.submit())["id"] for _ in range(2)]
        await patch(api, second, {"priority": 1})
        api.bench.gate.set()
        await api.ended(first)
        assert [ctx.id for ctx in api.bench.seen] == [second, first]


@pytest.mark.parametrize(
    "said, code, pointers",
    [
        ({"priority": 1001}, "out-of-range", ["/priority"]),
        ({"priority": None}, "validation", ["/priority"]),
        ({"priority": "1"}, "validation", ["/priority"]),
        ({"max_attempts": 0}, "out-of-range", ["/max_attempts"]),
        ({"max_attempts": 1001}, "out-of-range", ["/max_attempts"]),
        ({"max_attempts": None}, "validation", ["/max_attempts"]),
        ({"expires_at": "tomorrow"}, "validation", ["/expires_at"]),
        ({"expires_at": "2027-01-15T08:00:00Z"}, "out-of-range", ["/expires_at"]),
        ({"expires_at": "2027-01-15T09:00:00Z"}, "out-of-range", ["/expires_at"]),
        ({"expires_at": "1999-01-15T08:00:00Z"}, "out-of-range", ["/expires_at"]),
        ({"run_at": "1999-12-31T23:59:59Z"}, "out-of-range", ["/run_at"]),
        ({"run_at": "2040-01-01T00:00:00Z"}, "out-of-range", ["/run_at"]),
        ({"run_at": 5}, "validation", ["/run_at"]),
        ({"kind": "x", "a/b": 1}, "validation", ["/kind", "/a~1b"]),
        ({"priority": 1, "delay": 5}, "validation", ["/delay"]),
        ([], "validation", [""]),
        (None, "validation", [""]),
    ],
)
async def test_a_change_is_checked_as_a_submission(front: Api, said: Any, code: str, pointers: list[str]) -> None:
    """422 with a pointer, and nothing is changed."""
    job = await front.submit(queue="parked", run_at="2027-01-15T09:00:00Z")
    assert (await patch(front, job["id"], said)).pointers(422, code) == pointers
    assert await front.job(job["id"]) == job


async def test_a_body_of_a_change_is_held_to_the_same_rules(front: Api) -> None:
    """Type, JSON, coding, size."""
    path = f"/jobs/{(await front.park())['id']}"
    for type in (JSON, MERGE):
        (await front.ask("PATCH", path, b"{", type=type)).problem(400, "invalid-json")
        (await front.ask("PATCH", path, b"[" * 65 + b"]" * 65, type=type)).problem(400, "too-deep")
        (await front.ask("PATCH", path, b"{}", type=type, content_encoding="gzip")).problem(
            415, "unsupported-media-type"
        )
        (await front.ask("PATCH", path, b" " * 5000, type=type)).problem(413, "body-too-large")
    (await front.ask("PATCH", path, b"{}", type="text/plain")).problem(415, "unsupported-media-type")
    (await front.ask("PATCH", path, b"{}", type=JSON, origin="http://elsewhere")).problem(403, "cross-site")


@pytest.mark.parametrize("said", [{}, {"priority": 1}, {"run_at": None}])
async def test_an_ended_job_is_not_changed(front: Api, said: dict[str, Any]) -> None:
    """409 bad-state."""
    job = await front.done()
    (await patch(front, job["id"], said)).problem(409, "bad-state")


async def test_run_at_is_of_a_scheduled_job(front: Api) -> None:
    """409 for one that waits for a worker, or runs."""
    parked = (await front.park())["id"]
    running = (await front.running())["id"]
    for id in (parked, running):
        (await patch(front, id, {"run_at": None})).problem(409, "bad-state")
        assert (await patch(front, id, {"priority": 1, "max_attempts": 2, "expires_at": None})).status == 200


async def test_a_removed_job_is_gone(api: Api) -> None:
    """204; then 410 on every route that takes its id, and 404 for the origin's clients."""
    id = (await api.done())["id"]
    answer = await api.ask("DELETE", f"/jobs/{id}")
    assert (answer.status, answer.body) == (204, b"")
    assert not answer.headers.keys() & {"content-type", "content-length"}
    for method, path in OF_ONE_JOB:
        (await api.ask(method, path.replace("{id}", id))).problem(410, "removed")
    (await api.get(f"/status/{id}")).problem(404, "not-found")
    assert (await api.get("/jobs")).json()["items"] == []


OF_ONE_JOB = [
    ("DELETE", "/jobs/{id}"),
    ("PATCH", "/jobs/{id}"),
    ("GET", "/jobs/{id}"),
    ("GET", "/jobs/{id}?wait=5"),
    ("POST", "/jobs/{id}/cancel"),
    ("POST", "/jobs/{id}/retry"),
    ("GET", "/jobs/{id}/explain"),
    ("GET", "/jobs/{id}/attempts"),
    ("GET", "/jobs/{id}/logs"),
]


@pytest.mark.parametrize("kind, fields", [("echo", {"queue": "parked"}), ("echo", {"delay": 60}), ("slow", {})])
async def test_a_job_that_has_not_ended_is_not_removed(front: Api, kind: str, fields: dict[str, Any]) -> None:
    """409 bad-state."""
    id = (await front.submit(kind, **fields))["id"]
    (await front.ask("DELETE", f"/jobs/{id}")).problem(409, "bad-state")
    assert (await front.get(f"/jobs/{id}")).status == 200


async def test_a_removal_takes_no_fields(front: Api) -> None:
    """422 with a pointer, and the job stays."""
    id = (await front.done())["id"]
    answer = await front.ask("DELETE", f"/jobs/{id}", b'{"force": true}', type=JSON)
    assert answer.pointers(422, "validation") == ["/force"]
    assert (await front.job(id))["status"] == "DONE"


@pytest.mark.parametrize("id", [UNKNOWN, "x", "%00"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_an_unknown_job_is_404(api: Api, method: str, id: str) -> None:
    """Unknown job: 404."""
    (await api.ask(method, f"/jobs/{id}")).problem(404, "not-found")
