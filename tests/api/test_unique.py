"""`unique` on POST /jobs: what the second of a key is answered, by every way in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.bench import Api, served

KEY = {"key": "k"}
RETURN = {"key": "k", "on_conflict": "return"}
REPLACE = {"key": "k", "on_conflict": "replace"}
WHOLE = {"key": "k", "while": "active", "on_conflict": "reject"}


def one(unique: Any = KEY, **fields: Any) -> dict[str, Any]:
    """A submission that stays QUEUED."""
    return {"kind": "echo", "queue": "parked", "unique": unique, **fields}


async def test_it_is_shown_with_its_defaults(api: Api) -> None:
    """A job shows its unique key, with `active` and `reject` where nothing else was said."""
    job = await api.park(unique=KEY)
    assert job["unique"] == WHOLE
    assert (await api.job(job["id"]))["unique"] == WHOLE
    said = {"key": "x", "while": "exists", "on_conflict": "replace"}
    assert (await api.park(unique=said))["unique"] == said
    assert (await api.park())["unique"] is None


async def test_reject(api: Api) -> None:
    """409 `duplicate` with the holder's id, in the detail and as a member."""
    holder = await api.park(unique=KEY)
    answer = await api.post("/jobs", one())
    assert answer.pointers(409, "duplicate") == ["/unique"]
    said = answer.problem(409, "duplicate")
    assert said["id"] == holder["id"]
    assert holder["id"] in said["detail"]


async def test_return(api: Api) -> None:
    """200 and the holder as it is, all of it, and where it is."""
    holder = await api.done("echo", queue="default", unique={"key": "k", "while": "exists"}, payload=[1])
    answer = await api.post("/jobs", one(RETURN, queue="default"))
    assert (answer.status, answer.json()) == (200, await api.job(holder["id"]))
    assert answer.json()["result"] == [1]
    assert answer.headers["location"] == f"/jobs/{holder['id']}"
    assert "idempotency-replayed" not in answer.headers


async def test_a_new_job_is_201_whatever_it_would_have_done(api: Api) -> None:
    """Where nobody holds the key, a job is made."""
    for on_conflict in ("reject", "return", "replace"):
        unique = {"key": on_conflict, "on_conflict": on_conflict}
        assert (await api.post("/jobs", one(unique))).status == 201


async def test_replace(api: Api) -> None:
    """A waiting holder becomes CANCELLED, reason `replaced`; the new job holds the key."""
    holder = await api.park(unique=KEY)
    job = await api.park(unique=REPLACE)
    before = await api.job(holder["id"])
    assert (before["status"], before["reason"]) == ("CANCELLED", "replaced")
    assert (await api.post("/jobs", one())).problem(409, "duplicate")["id"] == job["id"]


async def test_a_running_holder_is_not_replaced(api: Api) -> None:
    """409, and it goes on."""
    holder = await api.running("slow", unique=KEY)
    answer = await api.post("/jobs", one(REPLACE, queue="default"))
    assert answer.problem(409, "duplicate")["id"] == holder["id"]
    api.bench.gate.set()
    assert (await api.ended(holder["id"]))["status"] == "DONE"
    assert (await api.post("/jobs", one(queue="default"))).status == 201


async def test_a_refused_item_refuses_the_array(api: Api) -> None:
    """With its status, and a pointer to the item."""
    holder = await api.park(unique=KEY)
    answer = await api.post("/jobs", [one({"key": "a"}), {"kind": "echo"}, one()])
    assert answer.pointers(409, "duplicate") == ["/2/unique"]
    assert answer.problem(409, "duplicate")["id"] == holder["id"]
    assert [job["id"] for job in (await api.get("/jobs")).json()["items"]] == [holder["id"]]


async def test_two_of_an_array(api: Api) -> None:
    """Two items with the same key are duplicates of each other."""
    answer = await api.post("/jobs", [one(), one()])
    assert answer.pointers(409, "duplicate") == ["/1/unique"]


async def test_a_holder_in_an_array(api: Api) -> None:
    """It stands in the item's place, whole; the array is 201 all the same."""
    holder = await api.done("echo", unique={"key": "k", "while": "exists"}, payload="text")
    answer = await api.post("/jobs", [one({"key": "a"}), one(RETURN, queue="default"), one({**RETURN, "key": "a"})])
    assert answer.status == 201
    jobs = answer.json()["jobs"]
    assert jobs[1] == await api.job(holder["id"])
    assert jobs[2]["id"] == jobs[0]["id"]


async def test_lines(api: Api) -> None:
    """On NDJSON each line is answered by itself: a problem, or the holder's id and status."""
    holder = await api.park(unique=KEY)
    refused, returned, replaced, last = await api.stream(one(), one(RETURN), one(REPLACE), one(RETURN))
    assert (refused["status"], refused["type"], refused["id"]) == (409, "/problems/duplicate", holder["id"])
    assert refused["errors"][0]["pointer"] == "/unique"
    assert returned == {"id": holder["id"], "status": "QUEUED"}
    assert replaced["id"] != holder["id"]
    assert last == replaced


async def test_retry_of_one_whose_key_is_taken(api: Api) -> None:
    """409 `duplicate` if its unique key is held by another."""
    first = await api.park(unique=KEY)
    second = await api.park(unique=REPLACE)
    answer = await api.act(first["id"], "retry")
    assert answer.problem(409, "duplicate")["id"] == second["id"]
    await api.act(second["id"], "cancel")
    assert (await api.act(first["id"], "retry")).json()["status"] == "QUEUED"


async def test_with_an_idempotency_key(api: Api) -> None:
    """The idempotency key is looked at first: the same request gets its own job again, not a conflict with it."""
    first = await api.post("/jobs", one(), idempotency_key="i")
    again = await api.post("/jobs", one(), idempotency_key="i")
    assert (again.status, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    (await api.post("/jobs", one(), idempotency_key="other")).problem(409, "duplicate")


async def test_a_replay_of_what_was_returned(api: Api) -> None:
    """The first status, 200, and the holder that was returned then."""
    holder = await api.park(unique=KEY)
    for replayed in (None, "true"):
        answer = await api.post("/jobs", one(RETURN), idempotency_key="i")
        assert (answer.status, answer.json()["id"]) == (200, holder["id"])
        assert answer.headers.get("idempotency-replayed") == replayed
        await api.act(holder["id"], "cancel")


async def test_waiting_for_a_holder(front: Api) -> None:
    """`Prefer: wait` waits for the end of the holder."""
    holder = await front.park(unique=KEY)
    answer = await front.post("/jobs", one(RETURN), prefer="wait=0")
    assert (answer.status, answer.json()["id"]) == (202, holder["id"])
    await front.act(holder["id"], "cancel")
    ended = await front.done("echo", unique={"key": "k", "while": "exists"})
    answer = await front.post("/jobs", one(RETURN, queue="default"), prefer="wait=5")
    assert (answer.status, answer.json()) == (200, ended)


@pytest.mark.parametrize(
    "unique, code, pointer",
    [
        ("k", "validation", "/unique"),
        ({}, "validation", "/unique/key"),
        ({"key": ""}, "validation", "/unique/key"),
        ({"key": "x" * 256}, "validation", "/unique/key"),
        ({"key": 5}, "validation", "/unique/key"),
        ({"key": "a\0b"}, "invalid-text", "/unique/key"),
        ({"key": "k", "while": "waiting"}, "validation", "/unique/while"),
        ({"key": "k", "on_conflict": "ignore"}, "validation", "/unique/on_conflict"),
        ({"key": "k", "until": "active"}, "validation", "/unique/until"),
        ({"key": "k", "a/b": 1}, "validation", "/unique/a~1b"),
    ],
    ids=str,
)
async def test_what_is_no_unique_key(front: Api, unique: Any, code: str, pointer: str) -> None:
    """422 with a pointer; a key is text of 1 to 255 characters."""
    assert (await front.post("/jobs", one(unique))).pointers(422, code) == [pointer]
    assert (await front.post("/jobs", [one(unique)])).pointers(422, code) == [f"/0{pointer}"]


@pytest.mark.parametrize("key", ["x" * 255, "\u00e9 \U0001f980", " ", "a/b?c#d\n"])
async def test_what_is_one(front: Api, key: str) -> None:
    """Any text is."""
    job = await front.park(unique={"key": key})
    assert job["unique"]["key"] == key
    (await front.post("/jobs", one({"key": key}))).problem(409, "duplicate")


async def test_replacing_in_a_full_queue() -> None:
    """What takes no more room is not refused for want of it."""
    async with served(max_queued=1) as api:
        holder = await api.park(unique=KEY)
        assert (await api.post("/jobs", one(RETURN))).json()["id"] == holder["id"]
        assert (await api.post("/jobs", one(REPLACE))).status == 201
        (await api.post("/jobs", one({"key": "other"}))).problem(429, "queue-full")
