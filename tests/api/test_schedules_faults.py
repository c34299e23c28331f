"""Schedules that are refused: each fault with its status and a pointer to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueue.api.pages import decode_name, encode_name
from jobqueue.rules import scheduling
from tests.api.bench import JSON, Api
from tests.api.doors import Answer

GOOD = {"cron": "@daily", "job": {"kind": "echo"}}


async def put(api: Api, said: Any, name: str = "s") -> Answer:
    """PUT of anything."""
    return await api.ask("PUT", f"/schedules/{name}", json.dumps(said).encode(), type=JSON)


@pytest.mark.parametrize(
    "change, code, pointer",
    [
        ({"job": None}, "validation", "/job"),
        ({"job": [1]}, "validation", "/job"),
        ({"job": {}}, "validation", "/job/kind"),
        ({"job": {"kind": ""}}, "validation", "/job/kind"),
        ({"job": {"kind": "a", "bogus": 1}}, "validation", "/job/bogus"),
        ({"job": {"kind": "a", "idempotency_key": "k"}}, "validation", "/job/idempotency_key"),
        ({"job": {"kind": "a", "priority": 1001}}, "out-of-range", "/job/priority"),
        ({"job": {"kind": "a", "delay": -1}}, "out-of-range", "/job/delay"),
        ({"job": {"kind": "a", "retry": {"backoff": "list"}}}, "validation", "/job/retry/delays"),
        ({"job": {"kind": "a", "run_at": "2027-02-01T00:00:00Z"}}, "validation", "/job/run_at"),
        ({"job": {"kind": "a", "expires_at": "2027-02-01T00:00:00Z"}}, "validation", "/job/expires_at"),
        ({"job": {"kind": "a", "depends_on": ["#0"]}}, "validation", "/job/depends_on"),
        ({"job": {"kind": "a", "on_dependency_failure": "run"}}, "validation", "/job/on_dependency_failure"),
        ({"cron": None}, "validation", "/cron"),
        ({"cron": 5}, "validation", "/cron"),
        ({"cron": ""}, "validation", "/cron"),
        ({"cron": "* * *"}, "validation", "/cron"),
        ({"cron": "61 * * * *"}, "validation", "/cron"),
        ({"cron": "0 0 30 2 *"}, "validation", "/cron"),
        ({"cron": "@never"}, "validation", "/cron"),
        ({"cron": "0 0 * * *\0"}, "validation", "/cron"),
        ({"every": 5}, "validation", "/every"),
        ({"cron": None, "every": 0.5}, "out-of-range", "/every"),
        ({"cron": None, "every": 31_536_001}, "out-of-range", "/every"),
        ({"cron": None, "every": "5"}, "validation", "/every"),
        ({"cron": None, "every": True}, "validation", "/every"),
        ({"timezone": "Mars/Phobos"}, "validation", "/timezone"),
        ({"timezone": "../UTC"}, "validation", "/timezone"),
        ({"timezone": None}, "validation", "/timezone"),
        ({"overlap": "both"}, "validation", "/overlap"),
        ({"catch_up": "all"}, "validation", "/catch_up"),
        ({"paused": "no"}, "validation", "/paused"),
        ({"paused": None}, "validation", "/paused"),
        ({"bogus": 1}, "validation", "/bogus"),
        ({"name": "other"}, "validation", "/name"),
    ],
    ids=str,
)
async def test_a_fault_is_pointed_at(front: Api, change: dict[str, Any], code: str, pointer: str) -> None:
    """422, and nothing is kept."""
    assert pointer in (await put(front, GOOD | change)).pointers(422, code)
    assert (await front.get("/schedules")).json()["items"] == []


async def test_what_is_missing_is_pointed_at_by_its_name(front: Api) -> None:
    """The job, and one of cron and every."""
    assert (await put(front, {"cron": "@daily"})).pointers(422, "validation") == ["/job"]
    assert (await put(front, {"job": {"kind": "a"}})).pointers(422, "validation") == ["/cron"]


@pytest.mark.parametrize("said", [[], "x", 1, None, [GOOD]])
async def test_a_schedule_is_an_object(front: Api, said: Any) -> None:
    """Anything else is pointed at as a whole."""
    assert (await put(front, said)).pointers(422, "validation") == [""]


@pytest.mark.parametrize(
    "body, type, status, code",
    [
        (b"{", JSON, 400, "invalid-json"),
        (b"", JSON, 400, "invalid-json"),
        (b"{}", "text/plain", 415, "unsupported-media-type"),
        (b"{}", None, 415, "unsupported-media-type"),
        (b'{"cron":"@daily","job":' + b"[" * 70 + b"]" * 70 + b"}", JSON, 400, "too-deep"),
        (b'{"cron":"@daily","job":{"kind":"a","payload":"\\ud800"}}', JSON, 422, "invalid-text"),
        (b'{"job":"' + b"x" * 5000 + b'"}', JSON, 413, "body-too-large"),
    ],
)
async def test_a_body_is_held_to_what_all_are(api: Api, body: bytes, type: str | None, status: int, code: str) -> None:
    """JSON, of its type, not too deep, not too large."""
    (await api.ask("PUT", "/schedules/s", body, type=type)).problem(status, code)


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 65, "a,b", "%0A"])
async def test_a_name_that_can_be_none_is_refused(api: Api, name: str) -> None:
    """PUT says what it must be; for the others there is no such schedule."""
    path = "".join(f"%{byte:02X}" if byte > 126 or byte == 32 else chr(byte) for byte in name.encode())
    assert (await put(api, GOOD, path)).pointers(422, "validation") == ["/name"]
    for method, target in [("GET", path), ("DELETE", path), ("POST", f"{path}/trigger")]:
        (await api.ask(method, f"/schedules/{target}")).problem(404, "not-found")


async def test_a_nul_in_a_name_is_invalid_text(front: Api) -> None:
    """As in any name."""
    assert (await put(front, GOOD, "%00")).pointers(422, "invalid-text") == ["/name"]


async def test_what_is_not_there_is_404(api: Api) -> None:
    """For each method but PUT."""
    for method, target in [("GET", "s"), ("DELETE", "s"), ("POST", "s/trigger")]:
        (await api.ask(method, f"/schedules/{target}")).problem(404, "not-found")


async def test_a_trigger_takes_no_fields(front: Api) -> None:
    """They are pointed at."""
    await put(front, GOOD)
    assert (await front.post("/schedules/s/trigger", {"n": 1})).pointers(422, "validation") == ["/n"]


async def test_a_trigger_is_refused_as_a_submission_is(front: Api) -> None:
    """A unique key that is held, for one."""
    await put(front, {"cron": "@daily", "job": {"kind": "a", "queue": "parked", "unique": {"key": "k"}}})
    assert (await front.ask("POST", "/schedules/s/trigger")).status == 201
    (await front.ask("POST", "/schedules/s/trigger")).problem(409, "duplicate")


async def test_one_more_than_may_be_is_refused(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """422; those that are there may be changed."""
    monkeypatch.setattr(scheduling, "SCHEDULES_MOST", 1)
    await put(front, GOOD)
    assert (await put(front, GOOD, "t")).pointers(422, "validation") == ["/name"]
    assert (await put(front, GOOD | {"paused": True})).status == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "bogus=1", "limit", "paused=true"])
async def test_a_bad_query_is_400(front: Api, query: str) -> None:
    """Filters there are none."""
    (await front.get(f"/schedules?{query}")).problem(400, "bad-request")


async def test_a_cursor_of_another_make_is_400(front: Api) -> None:
    """Tampered with, cut, or that of another list."""
    good = encode_name("a")
    assert decode_name(good) == "a"
    for cursor in ("", "x", "!", good[:-1], good + "AAAA", "A" + good[1:], "\u00e9"):
        target = cursor.encode("ascii", "ignore").decode() if cursor.isascii() else "%C3%A9"
        (await front.get(f"/schedules?cursor={target}")).problem(400, "cursor")
