"""POST /submit and GET /status/{id}: the contract of the origin, whose clients keep working unchanged."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from jobqueue.job import Status
from tests.api.bench import Api, served

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"


async def submit(api: Api, body: bytes, type: str | None = None) -> str:
    answer = await api.ask("POST", "/submit", body, type=type)
    assert answer.status == 200, answer
    said = answer.json()
    assert said.keys() == {"job_id"}
    return str(said["job_id"])


async def status(api: Api, id: str) -> dict[str, Any]:
    answer = await api.get(f"/status/{id}")
    assert answer.status == 200, answer
    said: dict[str, Any] = answer.json()
    return said


async def test_a_payload_is_accepted_with_200_and_the_id_of_its_job(api: Api) -> None:
    """`POST /submit` with {"payload": "text"} -> 200 {"job_id": "<uuid>"}."""
    id = await submit(api, b'{"payload": "text"}')
    assert str(uuid.UUID(id)) == id
    assert (await status(api, id))["payload"] == "text"


async def test_the_status_of_a_job_has_four_fields(api: Api) -> None:
    """`GET /status/<id>` -> 200 {"id", "status", "created_at", "payload"}."""
    id = await submit(api, b'{"payload": "text"}')
    said = await status(api, id)
    assert said == {"id": id, "status": said["status"], "created_at": "2027-01-15T08:00:00.000000Z", "payload": "text"}
    assert said["status"] in ("QUEUED", "RUNNING")


@pytest.mark.parametrize("chance, end", [(0.1, "FAILED"), (0.3, "DONE")])
async def test_its_job_simulates_two_seconds_of_work_that_fails_one_time_in_five(
    api: Api, chance: float, end: str
) -> None:
    """The job is of kind simulate: it takes 2 s and fails one time in five."""
    api.bench.chance = chance
    id = await submit(api, b'{"payload": "text"}')
    await api.bench.advance(1.99)
    assert (await status(api, id))["status"] == "RUNNING"
    await api.bench.advance(0.02)
    assert (await status(api, id))["status"] == end


async def test_its_job_is_an_ordinary_one_with_a_single_try(front: Api) -> None:
    """Kind `simulate`, max_attempts 1, queue `default`."""
    job = await front.job(await submit(front, b'{"payload": "text"}'))
    assert (job["kind"], job["max_attempts"], job["queue"], job["payload"]) == ("simulate", 1, "default", "text")


@pytest.mark.parametrize("type", [None, "application/x-www-form-urlencoded", "application/json", "text/plain", "?"])
async def test_any_or_no_content_type_is_taken(api: Api, type: str | None) -> None:
    """Any or no Content-Type: curl's default is a form type."""
    assert (await status(api, await submit(api, b'{"payload": "x"}', type)))["payload"] == "x"


@pytest.mark.parametrize("name", ["payload", "Payload", "PAYLOAD", "pAyLoAd"])
async def test_the_name_of_the_field_is_matched_without_case(front: Api, name: str) -> None:
    """The field's name is matched without case."""
    assert (await status(front, await submit(front, json.dumps({name: "x"}).encode())))["payload"] == "x"


async def test_unknown_fields_are_ignored(front: Api) -> None:
    """Unknown fields are ignored, whatever they hold."""
    id = await submit(front, b'{"payload": "x", "kind": 7, "other": {"payload": 5}}')
    assert (await front.job(id))["kind"] == "simulate"


@pytest.mark.parametrize("body", [b"{}", b'{"payload": null}', b'{"payload": ""}', b"null", b" null ", b'{"a": "b"}'])
async def test_a_payload_that_is_missing_or_null_is_empty_and_an_empty_one_is_not_shown(api: Api, body: bytes) -> None:
    """Missing or null payload, or a body of null = ""; an empty payload is left out."""
    id = await submit(api, body)
    assert "payload" not in await status(api, id)
    assert (await api.job(id))["payload"] == ""


@pytest.mark.parametrize("said", ["5", "true", "[]", "{}", "[1, 2]", '{"a": 1}', "1.5"])
async def test_a_payload_that_is_no_string_is_refused_with_400(front: Api, said: str) -> None:
    """A payload that is not a string: 400."""
    answer = await front.ask("POST", "/submit", b'{"PayLoad": %s}' % said.encode())
    assert answer.pointers(400, "bad-request") == ["/PayLoad"]


@pytest.mark.parametrize("body", [b"5", b'"text"', b"[]", b"true", b'[{"payload": "x"}]'])
async def test_any_other_value_is_refused_with_400(front: Api, body: bytes) -> None:
    """Any other non-object: 400."""
    (await front.ask("POST", "/submit", body)).problem(400, "bad-request")


@pytest.mark.parametrize("body", [b"", b"{", b"payload=x", b'{"payload": "\xff"}', b'{"payload": NaN}', b'{"a":1}{}'])
async def test_bad_json_is_refused_with_400(api: Api, body: bytes) -> None:
    """Bad JSON: 400."""
    (await api.ask("POST", "/submit", body)).problem(400, "invalid-json")


@pytest.mark.parametrize(
    "body, code",
    [
        (b'{"payload": "\\ud800"}', "bad-request"),
        (b'{"payload": "x", "a": %s}' % (b"[" * 64 + b"]" * 64), "too-deep"),
        (b'{"payload": "x", "a": %s}' % (b"9" * 1001), "bad-request"),
    ],
)
async def test_json_that_cannot_be_kept_is_400_here_too(front: Api, body: bytes, code: str) -> None:
    """Its clients know no 422."""
    (await front.ask("POST", "/submit", body)).problem(400, code)


@pytest.mark.parametrize("text", ['a"b\\c\n\u2028\U0001f600\0', "null", '""', "[1]", " ", "\ud7ff\ue000", "x" * 4000])
async def test_text_comes_back_as_it_was_sent(front: Api, text: str) -> None:
    """A payload that is a string appears as that string."""
    id = await submit(front, json.dumps({"payload": text}, ensure_ascii=False).encode())
    assert (await status(front, id))["payload"] == text


@pytest.mark.parametrize(
    "payload, shown", [({"a": [1, "é"]}, '{"a":[1,"é"]}'), (5, "5"), (False, "false"), ([], "[]"), (0, "0")]
)
async def test_a_payload_that_is_not_a_string_appears_as_its_json_text(front: Api, payload: Any, shown: str) -> None:
    """Jobs of the other route may have any payload."""
    job = await front.park(payload=payload)
    assert (await status(front, job["id"]))["payload"] == shown


async def test_no_payload_at_all_is_an_empty_one(front: Api) -> None:
    """An empty payload is left out."""
    assert "payload" not in await status(front, (await front.park())["id"])


async def test_what_waits_for_its_time_reads_as_queued(front: Api) -> None:
    """SCHEDULED reads as QUEUED."""
    job = await front.submit(delay=10)
    assert job["status"] == Status.SCHEDULED.name
    assert (await status(front, job["id"]))["status"] == "QUEUED"


async def test_what_was_cancelled_reads_as_failed(front: Api) -> None:
    """CANCELLED reads as FAILED."""
    job = await front.park()
    assert (await front.act(job["id"], "cancel")).status == 200
    assert (await status(front, job["id"]))["status"] == "FAILED"


@pytest.mark.parametrize("id", [UNKNOWN, "x", "1", UNKNOWN[:-1], UNKNOWN + "0", UNKNOWN.replace("-", ""), "é", "%00"])
async def test_an_id_that_is_unknown_or_malformed_is_404(api: Api, id: str) -> None:
    """Unknown or malformed id: 404."""
    (await api.get(f"/status/{id if id.isascii() else '%C3%A9'}")).problem(404, "not-found")


async def test_a_removed_job_is_404(front: Api) -> None:
    """Removed id: 404, as at the origin, where /jobs says 410."""
    job = await front.done()
    await front.bench.advance(86_401)
    (await front.get(f"/status/{job['id']}")).problem(404, "not-found")


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", "/submit", "POST"),
        ("PUT", "/submit", "POST"),
        ("POST", f"/status/{UNKNOWN}", "GET, HEAD"),
        ("DELETE", f"/status/{UNKNOWN}", "GET, HEAD"),
    ],
)
async def test_the_wrong_method_is_405(api: Api, method: str, path: str, allow: str) -> None:
    """Wrong method: 405."""
    answer = await api.ask(method, path)
    answer.problem(405, "method-not-allowed")
    assert answer.headers["allow"] == allow


async def test_a_body_beyond_the_limit_is_413(api: Api) -> None:
    """Content-Length beyond the limit: 413."""
    body = b'{"payload": "%s"}' % (b"x" * 5000)
    (await api.ask("POST", "/submit", body)).problem(413, "body-too-large")
    (await api.ask("POST", "/submit", body, length=False)).problem(413, "body-too-large")


async def test_a_compressed_body_is_415(front: Api) -> None:
    """Content-Encoding: 415."""
    answer = await front.ask("POST", "/submit", b"{}", content_encoding="gzip")
    answer.problem(415, "unsupported-media-type")


async def test_a_full_queue_never_hangs_it() -> None:
    """The origin's /submit hung once 100 jobs waited: here it is 429 at once."""
    async with served(max_queued=1, workers=0) as api:
        await submit(api, b"{}")
        (await api.ask("POST", "/submit", b"{}")).problem(429, "queue-full")
