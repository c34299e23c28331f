"""Idempotency-Key: the same body asked again is accepted once, by all of the routes that submit."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.api.bench import JSON, Api, served
from tests.api.doors import Answer

ONE = {"kind": "echo", "queue": "parked", "payload": 1}
ANY_TYPE = "text/plain"


async def keyed(api: Api, said: Any, key: str = "k", path: str = "/jobs", **headers: str) -> Answer:
    return await api.post(path, said, idempotency_key=key, **headers)


def id_of(answer: Answer) -> str:
    return str(answer.json()["id"])


async def count(api: Api) -> int:
    return len((await api.get("/jobs?limit=200")).json()["items"])


async def test_the_same_key_and_body_is_the_same_job(api: Api) -> None:
    """The same body (bytes) gives the first status and shape and `Idempotency-Replayed: true`."""
    first = await keyed(api, ONE)
    again = await keyed(api, ONE)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status, again.json()) == (first.status, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert await count(api) == 1


async def test_a_replay_shows_the_job_as_it_is_now(api: Api) -> None:
    """With the job as it is now, all of it: payload, result and progress too."""
    said = {"kind": "chatty", "payload": [1]}
    id = id_of(await keyed(api, said))
    await api.bench.started.wait()
    again = await keyed(api, said)
    assert (again.status, again.json()) == (201, await api.job(id))
    assert again.json()["progress"]["percent"] == 50
    api.bench.gate.set()
    ended = await api.ended(id)
    assert (await keyed(api, said)).json() == ended


async def test_an_array_is_replayed_whole(api: Api) -> None:
    """One or array: the same jobs in their order, as they are now."""
    said = [{"kind": "chatty", "payload": 1}, {**ONE, "payload": 2}]
    first = await keyed(api, said)
    await api.bench.started.wait()
    again = await keyed(api, said)
    assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
    jobs = again.json()["jobs"]
    assert [job["id"] for job in jobs] == [job["id"] for job in first.json()["jobs"]]
    assert jobs == [await api.job(job["id"]) for job in jobs]
    assert await count(api) == 2


async def test_it_works_at_the_origins_route(api: Api) -> None:
    """And `/submit`."""
    first = await keyed(api, {"payload": "x"}, path="/submit")
    again = await keyed(api, {"payload": "x"}, path="/submit")
    assert (again.status, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    (await keyed(api, {"payload": "y"}, path="/submit")).problem(422, "key-reuse")


async def test_a_replay_outlives_the_expiry(api: Api) -> None:
    """What the key made may have expired meanwhile: the same request still gets the first answer."""
    said = {**ONE, "expires_at": "2027-01-15T08:00:10Z"}
    first = await keyed(api, said)
    await api.bench.advance(20)
    again = await keyed(api, said)
    assert (again.status, id_of(again)) == (201, id_of(first))
    assert (again.json()["status"], again.json()["reason"]) == ("FAILED", "expired")


async def test_a_key_belongs_to_its_route(front: Api) -> None:
    """Per API key and route."""
    await keyed(front, ONE)
    assert (await keyed(front, ONE, path="/submit")).status == 400  # read as the origin's body: a payload of 1
    assert "idempotency-replayed" not in (await keyed(front, {"payload": "x"}, path="/submit")).headers


BODY = json.dumps(ONE).encode()


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"1", b"2"), b"[%s]" % BODY])
async def test_another_body_is_422(api: Api, body: bytes) -> None:
    """Another body 422 `key-reuse`: bytes count, not their meaning."""
    assert (await api.ask("POST", "/jobs", BODY, type=JSON, idempotency_key="k")).status == 201
    (await api.ask("POST", "/jobs", body, type=JSON, idempotency_key="k")).problem(422, "key-reuse")
    assert await count(api) == 1


@pytest.mark.parametrize(
    "key, status", [("", 400), ("k" * 255, 201), ("k" * 256, 400), ("é" * 255, 201), ("a b,c", 201)]
)
async def test_a_key_has_1_to_255_characters(api: Api, key: str, status: int) -> None:
    """Idempotency-Key empty or over 255: 400."""
    answer = await keyed(api, ONE, key)
    assert answer.status == status
    if status == 400:
        answer.problem(400, "bad-request")
        (await keyed(api, {"payload": "x"}, key, "/submit")).problem(400, "bad-request")
        assert await count(api) == 0


async def test_a_replay_honours_its_own_preference(api: Api) -> None:
    """But honours its own Prefer: 200 once ended, 202 while not."""
    said = {"kind": "slow"}
    assert (await keyed(api, said)).status == 201
    waiting = await keyed(api, said, prefer="wait=0")
    assert (waiting.status, waiting.headers["idempotency-replayed"]) == (202, "true")
    api.bench.gate.set()
    ended = await keyed(api, said, prefer="wait=5")
    assert (ended.status, ended.json()["status"], ended.headers["preference-applied"]) == (200, "DONE", "wait=5")
    assert (await keyed(api, said)).status == 201


@pytest.mark.parametrize("said", [ONE, [ONE, ONE]])
async def test_requests_at_the_same_time_are_one(api: Api, said: Any) -> None:
    """It waits for a first request in flight: of many at once exactly one is the first."""
    answers: list[Answer] = []

    async def ask() -> None:
        answers.append(await keyed(api, said))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7
    assert await count(api) == (2 if isinstance(said, list) else 1)


async def test_a_failure_is_not_kept(front: Api) -> None:
    """Failures are not kept: the key is free after a refusal."""
    (await keyed(front, {"kind": "a b"})).problem(422, "validation")
    assert (await keyed(front, ONE)).status == 201


async def test_a_full_queue_binds_no_key() -> None:
    """Nor after 429; and a key that is bound is answered though the queue is full."""
    async with served(max_queued=1) as api:
        assert (await keyed(api, ONE, "first")).status == 201
        (await keyed(api, ONE, "second")).problem(429, "queue-full")
        assert (await keyed(api, ONE, "first")).headers["idempotency-replayed"] == "true"
        id = id_of(await keyed(api, ONE, "first"))
        await api.act(id, "cancel")
        assert "idempotency-replayed" not in (await keyed(api, ONE, "second")).headers


@pytest.mark.parametrize("said", [ONE, [ONE, ONE]])
async def test_a_removed_job_is_410(api: Api, said: Any) -> None:
    """A removed job: 410, as long as its key is kept."""
    answer = (await keyed(api, said)).json()
    id = answer["id"] if isinstance(said, dict) else answer["jobs"][1]["id"]
    await api.act(id, "cancel")
    await api.remove(id)
    (await keyed(api, said)).problem(410, "removed")
    (await keyed(api, said, prefer="wait=5")).problem(410, "removed")


async def test_a_key_is_kept_for_a_day(api: Api) -> None:
    """Kept 24 h."""
    first = id_of(await keyed(api, ONE))
    await api.bench.advance(86_399)
    assert id_of(await keyed(api, ONE)) == first
    await api.bench.advance(2)
    assert id_of(await keyed(api, ONE)) != first
