"""Faults in what is asked of queues: each is pointed at, and nothing is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueue.rules import bounds, configuring
from tests.api.bench import JSON, Api, served

BIG = 10**30


async def refused(api: Api, said: Any, status: int, code: str) -> list[str]:
    """The pointers of a refusal; the queue is not made by it."""
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    pointers = (await api.ask("PATCH", "/queues/q", body, type=JSON)).pointers(status, code)
    (await api.get("/queues/q")).problem(404, "not-found")
    return pointers


@pytest.mark.parametrize(
    "said, pointers",
    [
        ([], [""]),
        ("x", [""]),
        ({"x": 1}, ["/x"]),
        ({"x": None, "group": {"y": 1, "rate": {"z": 2}}, "weights": {"free": 1}}, ["/x", "/group/y", "/group/rate/z"]),
        ({"defaults": {"priority": 1}}, ["/defaults/priority"]),
        ({"defaults": {"retry": {"x": 1}}}, ["/defaults/retry/x"]),
        ({"retention": {"QUEUED": 1}}, ["/retention/QUEUED"]),
        ({"name": "r"}, ["/name"]),
        ({"paused": 1}, ["/paused"]),
        ({"concurrency": "1"}, ["/concurrency"]),
        ({"concurrency": True}, ["/concurrency"]),
        ({"concurrency": 1.5}, ["/concurrency"]),
        ({"rate": 5}, ["/rate"]),
        ({"rate": {"limit": 5}}, ["/rate/per"]),
        ({"rate": {"per": 5}}, ["/rate/limit"]),
        ({"rate": {}}, ["/rate/limit"]),
        ({"group": []}, ["/group"]),
        ({"group": {"rate": {"limit": 5}}}, ["/group/rate/per"]),
        ({"weights": []}, ["/weights"]),
        ({"weights": {"a": "1"}}, ["/weights/a"]),
        ({"weights": {"a": True}}, ["/weights/a"]),
        ({"weights": {"a/b": 1}}, ["/weights/a~1b"]),
        ({"weights": {"": 1}}, ["/weights/"]),
        ({"defaults": 1}, ["/defaults"]),
        ({"defaults": {"retry": {"backoff": "list"}}}, ["/defaults/retry/delays"]),
        ({"defaults": {"retry": {"backoff": "x"}}}, ["/defaults/retry/backoff"]),
        ({"push": {"url": "http://localhost/"}}, ["/push"]),
        ({"push": "x"}, ["/push"]),
    ],
    ids=str,
)
async def test_what_is_no_setting_is_pointed_at(front: Api, said: Any, pointers: list[str]) -> None:
    """422 validation."""
    assert await refused(front, said, 422, "validation") == pointers


@pytest.mark.parametrize(
    "said, pointer",
    [
        ({"concurrency": 0}, "/concurrency"),
        ({"concurrency": 100_001}, "/concurrency"),
        ({"concurrency": BIG}, "/concurrency"),
        ({"rate": {"limit": 0, "per": 1}}, "/rate/limit"),
        ({"rate": {"limit": 1_000_001, "per": 1}}, "/rate/limit"),
        ({"rate": {"limit": 1, "per": 0.09}}, "/rate/per"),
        ({"rate": {"limit": 1, "per": 86_401}}, "/rate/per"),
        ({"group": {"concurrency": -1}}, "/group/concurrency"),
        ({"weights": {"a": 0}}, "/weights/a"),
        ({"weights": {"a": -1}}, "/weights/a"),
        ({"weights": {"a": 1000.5}}, "/weights/a"),
        ({"weights": {"a": BIG}}, "/weights/a"),
        ({"defaults": {"max_attempts": 0}}, "/defaults/max_attempts"),
        ({"defaults": {"timeout": 0}}, "/defaults/timeout"),
        ({"defaults": {"retry": {"factor": 0}}}, "/defaults/retry/factor"),
        ({"retention": {"DONE": -1}}, "/retention/DONE"),
        ({"retention": {"FAILED": 400_000_000}}, "/retention/FAILED"),
        ({"max_queued": 0}, "/max_queued"),
        ({"max_queued": 1_000_000_001}, "/max_queued"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_number_out_of_its_range_is_pointed_at(front: Api, said: Any, pointer: str) -> None:
    """422 out-of-range."""
    assert await refused(front, said, 422, "out-of-range") == [pointer]


async def test_no_more_than_a_thousand_weights() -> None:
    """A thousand are taken, in one patch or in many; the next one is out of range."""
    async with served(max_body=1 << 20) as api:
        weights = json.dumps({"weights": {f"g{n}": 1 for n in range(1_000)}}).encode()
        assert (await api.ask("PATCH", "/queues/q", weights, type=JSON)).status == 200
        more = await api.ask("PATCH", "/queues/q", b'{"weights":{"more":1}}', type=JSON)
        assert more.pointers(422, "out-of-range") == ["/weights"]


@pytest.mark.parametrize(
    "said",
    [
        {"concurrency": 1, "rate": {"limit": 1, "per": 0.1}, "max_queued": 1, "weights": {"a": 0.001}},
        {"concurrency": 100_000, "rate": {"limit": 1_000_000, "per": 86_400}, "weights": {"a": 1000}},
        {"retention": {"DONE": 0, "FAILED": 315_000_000}, "max_queued": 1_000_000_000},
    ],
    ids=["least", "most", "retention"],
)
async def test_the_ends_of_the_ranges_are_in_them(front: Api, said: dict[str, Any]) -> None:
    """They are taken and shown."""
    answer = await front.ask("PATCH", "/queues/q", json.dumps(said).encode(), type=JSON)
    assert answer.status == 200
    assert {name: answer.json()[name] for name in said if name != "retention"} == {
        name: value for name, value in said.items() if name != "retention"
    }


async def test_a_patch_that_is_refused_changes_nothing(front: Api) -> None:
    """Not even those of its members that are right."""
    await front.ask("PATCH", "/queues/q", b'{"paused":true}', type=JSON)
    await front.ask("PATCH", "/queues/q", b'{"paused":false,"concurrency":0}', type=JSON)
    found = (await front.get("/queues/q")).json()
    assert (found["paused"], found["concurrency"]) == (True, None)


@pytest.mark.parametrize(
    "body, type, status, code",
    [
        (b"{", JSON, 400, "invalid-json"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
        (b"{}", None, 415, "unsupported-media-type"),
        (b"{", "application/merge-patch+json", 400, "invalid-json"),
        (b'{"weights":{"\\ud800":1}}', JSON, 422, "invalid-text"),
    ],
    ids=["json", "text", "untyped", "merge-patch", "surrogate"],
)
async def test_a_body_that_is_none(api: Api, body: bytes, type: str | None, status: int, code: str) -> None:
    """As on every other route."""
    (await api.ask("PATCH", "/queues/q", body, type=type)).problem(status, code)


@pytest.mark.parametrize("name", ["a%20b", "%C3%A9", "x" * 65, "*", "a%0A"], ids=["space", "umlaut", "long", "*", "lf"])
async def test_a_bad_name_makes_no_queue(api: Api, name: str) -> None:
    """422 with a pointer; and there is none of that name to look at."""
    assert (await api.ask("PATCH", f"/queues/{name}", b"{}", type=JSON)).pointers(422, "validation") == ["/name"]
    (await api.get(f"/queues/{name}")).problem(404, "not-found")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "x=1", "cursor=%00", "cursor=abc"])
async def test_a_bad_query_of_the_list(front: Api, query: str) -> None:
    """400."""
    code = "cursor" if query.startswith("cursor") else "bad-request"
    (await front.get(f"/queues?{query}")).problem(400, code)


async def test_the_thousand_and_first_queue(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """422, for a PATCH and for each way of submitting; known queues go on."""
    monkeypatch.setattr(bounds, "MOST_QUEUES", 2)
    monkeypatch.setattr(configuring, "MOST_QUEUES", 2)
    await front.submit(queue="a", delay=60)
    await front.submit(queue="b", delay=60)
    patched = await front.ask("PATCH", "/queues/c", b"{}", type=JSON)
    assert patched.pointers(422, "validation") == ["/name"]
    job = {"kind": "echo", "queue": "c"}
    assert (await front.post("/jobs", job)).pointers(422, "validation") == ["/queue"]
    assert (await front.post("/jobs", [{"kind": "echo", "queue": "a"}, job])).pointers(422, "validation") == [
        "/1/queue"
    ]
    assert [line.get("status") for line in await front.stream({"kind": "echo", "queue": "a"}, job)] == ["QUEUED", 422]
    assert (await front.ask("PATCH", "/queues/a", b"{}", type=JSON)).status == 200


async def test_another_site_may_not_change_a_queue(front: Api) -> None:
    """Any page can make a browser send a PATCH to localhost."""
    answer = await front.ask("PATCH", "/queues/q", b"{}", type=JSON, sec_fetch_site="cross-site")
    answer.problem(403, "cross-site")


async def test_a_draining_server_still_changes_queues(front: Api) -> None:
    """Only what is new work is refused."""
    await front.drain()
    assert (await front.ask("PATCH", "/queues/q", b'{"paused":true}', type=JSON)).status == 200
