"""POST /jobs with an array: all or none, in order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.bench import JSON, Api, served


async def all_jobs(api: Api) -> list[Any]:
    items: list[Any] = (await api.get("/jobs?limit=200")).json()["items"]
    return items


async def test_an_array_is_accepted_in_its_order(api: Api) -> None:
    """An array of 1 to 1,000: 201 {"jobs": [...]} in order."""
    said = [{"kind": "echo", "queue": "parked", "payload": number} for number in range(20)]
    answer = await api.post("/jobs", said)
    assert answer.status == 201
    jobs = answer.json()["jobs"]
    assert answer.json().keys() == {"jobs"}
    assert [job["payload"] for job in jobs] == list(range(20))
    assert [job["id"] for job in await all_jobs(api)] == [job["id"] for job in reversed(jobs)]
    assert jobs[7] == await api.job(jobs[7]["id"])


@pytest.mark.parametrize("count, status", [(0, 422), (1, 201), (1000, 201), (1001, 422)])
async def test_an_array_holds_one_to_a_thousand_jobs(front: Api, count: int, status: int) -> None:
    """1 to 1,000."""
    answer = await front.post("/jobs", [{"kind": "a"}] * count)
    assert answer.status == status
    if status == 422:
        assert answer.pointers(422, "validation") == [""]


@pytest.mark.parametrize(
    "item, status, code, pointer",
    [
        ({}, 422, "validation", "/3/kind"),
        ({"kind": "a b"}, 422, "validation", "/3/kind"),
        ({"kind": "a", "tags": ["b", ""]}, 422, "validation", "/3/tags/1"),
        ({"kind": "a", "x/y": 1}, 422, "validation", "/3/x~1y"),
        ({"kind": "a", "priority": 10**9}, 422, "out-of-range", "/3/priority"),
        ({"kind": "a", "expires_at": "2020-01-01T00:00:00Z"}, 422, "out-of-range", "/3/expires_at"),
        ({"kind": "a", "payload": 10**1000}, 422, "out-of-range", "/3/payload"),
        ({"kind": "a\0"}, 422, "invalid-text", "/3/kind"),
        ({"kind": "a", "idempotency_key": "k"}, 422, "validation", "/3/idempotency_key"),
        (5, 422, "validation", "/3"),
        (None, 422, "validation", "/3"),
        ([{"kind": "a"}], 422, "validation", "/3"),
    ],
)
async def test_one_refused_item_refuses_all(front: Api, item: Any, status: int, code: str, pointer: str) -> None:
    """Atomic: one refused item refuses all with its status, pointers `/3/kind`."""
    answer = await front.post("/jobs", [{"kind": "a"}] * 3 + [item] + [{"kind": "a"}])
    assert answer.pointers(status, code) == [pointer]
    assert await all_jobs(front) == []


async def test_one_refused_item_refuses_all_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    assert (await api.post("/jobs", [{"kind": "a"}, {}])).pointers(422, "validation") == ["/1/kind"]
    assert await all_jobs(api) == []


async def test_an_array_that_does_not_fit_into_its_queue_is_refused_whole() -> None:
    """One item too many for a queue: 429 for all, and none is accepted."""
    async with served(max_queued=3) as api:
        said = [{"kind": "a", "queue": "parked"}] * 4 + [{"kind": "a", "queue": "other"}]
        (await api.post("/jobs", said)).problem(429, "queue-full")
        assert await all_jobs(api) == []
        assert (await api.post("/jobs", said[1:])).status == 201


async def test_a_preference_does_not_touch_an_array(front: Api) -> None:
    """`Prefer: wait` is about one job."""
    answer = await front.post("/jobs", [{"kind": "slow"}], prefer="wait=5")
    assert answer.status == 201
    assert "preference-applied" not in answer.headers


async def test_the_items_of_an_array_run(api: Api) -> None:
    """They are jobs like any other."""
    jobs = (await api.post("/jobs", [{"kind": "echo", "payload": n} for n in range(5)])).json()["jobs"]
    assert [(await api.ended(job["id"]))["result"] for job in jobs] == list(range(5))


async def test_white_space_before_the_bracket_is_no_matter(front: Api) -> None:
    """It is an array all the same."""
    assert (await front.ask("POST", "/jobs", b'\r\n\t [{"kind": "a"}]', type=JSON)).status == 201
