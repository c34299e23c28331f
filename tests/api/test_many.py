"""POST /jobs/cancel, /jobs/retry and /jobs/delete: the same done to all jobs that a filter shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio.testing

from tests.api.bench import JSON, Api, served

COMMANDS = ("cancel", "retry", "delete")
ENDED_BY = {"DONE": "echo", "FAILED": "fatal"}


async def zoo(api: Api) -> dict[str, str]:
    """The id of a job in each state but BLOCKED, by state."""
    ids = {status: (await api.done(kind, tags=["zoo"]))["id"] for status, kind in ENDED_BY.items()}
    ids["CANCELLED"] = (await api.park(tags=["zoo"]))["id"]
    await api.act(ids["CANCELLED"], "cancel")
    ids["QUEUED"] = (await api.park(tags=["zoo"]))["id"]
    ids["SCHEDULED"] = (await api.submit(delay=60, tags=["zoo"]))["id"]
    ids["RUNNING"] = (await api.running("slow", tags=["zoo"]))["id"]
    return ids


async def many(api: Api, command: str, wanted: Any, **said: Any) -> dict[str, Any]:
    """Do it to all of them."""
    answer = await api.post(f"/jobs/{command}", {"filter": wanted, **said})
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"matched", "changed", "next"}
    return body


async def statuses(api: Api, ids: dict[str, str]) -> dict[str, Any]:
    """What the jobs are now, when all tasks have done what they had to."""
    await trio.testing.wait_all_tasks_blocked(0.01)
    return {was: json.loads((await api.get(f"/jobs/{id}")).body)["status"] for was, id in ids.items()}


@pytest.mark.parametrize(
    "command, after",
    [
        ("cancel", {"QUEUED": "CANCELLED", "SCHEDULED": "CANCELLED", "RUNNING": "CANCELLED"}),
        ("retry", {"FAILED": "QUEUED", "CANCELLED": "QUEUED"}),
        ("delete", {"DONE": 410, "FAILED": 410, "CANCELLED": 410}),
    ],
)
async def test_each_is_changed_by_the_rules_of_one(api: Api, command: str, after: dict[str, Any]) -> None:
    """All are matched; those that can be changed are, the others stay as they are."""
    async with served(workers=1) as alone:  # nobody is free to run what is retried
        ids = await zoo(alone)
        assert await many(alone, command, {}) == {"matched": 6, "changed": len(after), "next": None}
        assert await statuses(alone, ids) == {was: was for was in ids} | after
    assert await many(api, command, {}) == {"matched": 0, "changed": 0, "next": None}


async def test_who_runs_is_asked_to_end(front: Api) -> None:
    """A running job is CANCELLED when its work has ended."""
    id = (await front.running())["id"]
    assert (await many(front, "cancel", {"status": "RUNNING"}))["changed"] == 1
    assert (await front.ended(id))["status"] == "CANCELLED"


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_dry_run_changes_nothing(front: Api, command: str) -> None:
    """It counts what the filter shows."""
    ids = await zoo(front)
    assert await many(front, command, {}, dry_run=True) == {"matched": 6, "changed": 0, "next": None}
    assert await statuses(front, ids) == {was: was for was in ids}


@pytest.mark.parametrize(
    "wanted, matched",
    [
        ({}, 6),
        ({"status": "FAILED"}, 1),
        ({"status": "FAILED,QUEUED"}, 2),
        ({"status": ["FAILED", "QUEUED", "DONE"]}, 3),
        ({"queue": "parked"}, 2),
        ({"queue": "parked", "status": "QUEUED"}, 1),
        ({"kind": "fatal"}, 1),
        ({"tag": "zoo"}, 6),
        ({"tag": "none"}, 0),
        ({"group": "g"}, 0),
        ({"created_after": "2027-01-15T08:00:00Z"}, 6),
        ({"created_before": "2027-01-15T08:00:00Z"}, 0),
    ],
)
async def test_the_filter_is_that_of_the_list(front: Api, wanted: dict[str, Any], matched: int) -> None:
    """The same names, the same meaning."""
    await zoo(front)
    assert (await many(front, "delete", wanted, dry_run=True))["matched"] == matched
    query = "&".join(
        f"{name}={','.join([value] if isinstance(value, str) else value)}" for name, value in wanted.items()
    )
    assert len((await front.get(f"/jobs?{query}")).json()["items"]) == matched


async def test_more_than_a_call_may_change(front: Api) -> None:
    """At most 1,000 a call, from the newest on; the cursor goes on where it stopped, whatever came meanwhile."""
    for _ in range(11):
        await front.post("/jobs", [{"kind": "a", "queue": "parked"}] * 100)
    first = await many(front, "cancel", {"queue": "parked"})
    assert (first["matched"], first["changed"]) == (1000, 1000)
    late = await front.park()
    assert await many(front, "cancel", {"queue": "parked"}, cursor=first["next"]) == {
        "matched": 100,
        "changed": 100,
        "next": None,
    }
    assert (await front.job(late["id"]))["status"] == "QUEUED"


async def test_what_is_retried_keeps_its_order(front: Api) -> None:
    """The oldest is queued first."""
    ids = [(await front.submit("echo", queue="parked", payload=n))["id"] for n in range(4)]
    await many(front, "cancel", {})
    await many(front, "retry", {"status": "CANCELLED"})
    places = [(await front.get(f"/jobs/{id}/explain")).json()["place"] for id in ids]
    assert places == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "said, pointers",
    [
        ({}, ["/filter"]),
        ([], [""]),
        ({"filter": None}, ["/filter"]),
        ({"filter": "all"}, ["/filter"]),
        ({"filter": {"status": "BAD"}}, ["/filter/status"]),
        ({"filter": {"status": []}}, ["/filter/status"]),
        ({"filter": {"status": [[]]}}, ["/filter/status"]),
        ({"filter": {"queue": "a b"}}, ["/filter/queue"]),
        ({"filter": {"kind": 1}}, ["/filter/kind"]),
        ({"filter": {"created_after": "soon"}}, ["/filter/created_after"]),
        ({"filter": {"nothing": 1, "a/b": 2}}, ["/filter/nothing", "/filter/a~1b"]),
        ({"filter": {}, "dry_run": "yes"}, ["/dry_run"]),
        ({"filter": {}, "cursor": 5}, ["/cursor"]),
        ({"filter": {}, "limit": 5}, ["/limit"]),
    ],
)
async def test_a_body_is_held_to_its_form(front: Api, said: Any, pointers: list[str]) -> None:
    """422 with pointers, and nothing is done; without a filter too, so that no slip of a client changes all."""
    id = (await front.park())["id"]
    for command in COMMANDS:
        assert (await front.post(f"/jobs/{command}", said)).pointers(422, "validation") == pointers
    assert (await front.job(id))["status"] == "QUEUED"


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_body_is_held_to_the_rules_of_all(api: Api, command: str) -> None:
    """Type, JSON, cursor."""
    path = f"/jobs/{command}"
    (await api.ask("POST", path)).problem(415, "unsupported-media-type")
    (await api.ask("POST", path, b"{", type=JSON)).problem(400, "invalid-json")
    (await api.post(path, {"filter": {}, "cursor": "nonsense"})).problem(400, "cursor")
    (await api.post(path, {"filter": {}}, origin="http://elsewhere")).problem(403, "cross-site")


async def test_a_cursor_goes_on_with_its_own_filter_only(front: Api) -> None:
    """With another it is 400 cursor, and nothing is done: no slip of a client changes what it did not mean."""
    for _ in range(3):
        assert (await front.post("/jobs", [{"kind": "a", "queue": "parked"}] * 334)).status == 201
    wanted = {"queue": "parked", "payload.none": None}
    first = await many(front, "cancel", {"queue": "parked"}, dry_run=True)
    for other in ({}, {"queue": "other"}, {"queue": "parked", "status": "QUEUED"}, wanted):
        (await front.post("/jobs/cancel", {"filter": other, "cursor": first["next"]})).problem(400, "cursor")
    assert (await many(front, "delete", {"queue": "parked"}, cursor=first["next"], dry_run=True))["matched"] == 2


async def test_a_filter_may_look_into_payloads(front: Api) -> None:
    """As the list's does."""
    for number in range(4):
        await front.park(payload={"user": {"id": number % 2}})
    assert await many(front, "cancel", {"payload.user.id": 1}) == {"matched": 2, "changed": 2, "next": None}
    assert await many(front, "cancel", {"payload.user.id": "1"}) == {"matched": 0, "changed": 0, "next": None}
    (await front.post("/jobs/cancel", {"filter": {"payload..id": 1}})).pointers(422, "validation")
