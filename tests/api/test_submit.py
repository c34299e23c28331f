"""POST /jobs with one job: what a submission may say, what it is answered with, and what comes back as it was sent."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.api.bench import JSON, Api
from tests.api.doors import Answer

DEFAULT_RETRY = {"backoff": "exponential", "initial": 1, "factor": 2, "max": 3600, "jitter": "full"}
NOW = "2027-01-15T08:00:00.000000Z"
FIELDS = [
    *("id", "queue", "kind", "payload", "status", "reason", "priority", "group", "tags", "attempt", "max_attempts"),
    *("crashes", "epoch", "retry", "timeout", "run_at", "expires_at", "depends_on", "on_dependency_failure", "unique"),
    *("result", "error", "progress", "created_at", "started_at", "finished_at", "next_attempt_at"),
    *("cancel_requested_at", "worker", "trace_parent", "trace_state", "callback"),
]


async def submitted(api: Api, body: bytes) -> Answer:
    return await api.ask("POST", "/jobs", body, type=JSON)


async def test_a_job_is_answered_with_201_its_location_and_itself(api: Api) -> None:
    """One job: 201 + Location + the job."""
    answer = await api.post("/jobs", {"kind": "echo", "queue": "parked", "payload": {"to": "a"}})
    job = answer.json()
    assert answer.status == 201
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert await api.job(job["id"]) == job


async def test_a_job_that_says_only_its_kind_has_the_defaults(front: Api) -> None:
    """Section 4 and 7: priority 0, timeout 300 s, 5 attempts, exponential backoff, queue default."""
    job = await front.park(kind="unheard-of")
    assert list(job) == FIELDS
    assert job == {
        **dict.fromkeys(FIELDS),
        "id": job["id"],
        "queue": "parked",
        "kind": "unheard-of",
        "status": "QUEUED",
        "priority": 0,
        "tags": [],
        "attempt": 0,
        "max_attempts": 5,
        "crashes": 0,
        "epoch": 0,
        "retry": DEFAULT_RETRY,
        "timeout": 300,
        "depends_on": [],
        "on_dependency_failure": "cancel",
        "created_at": NOW,
    }
    assert (await front.submit())["queue"] == "default"


async def test_its_id_is_a_uuid_of_version_7(front: Api) -> None:
    """`id` is a UUIDv7, in its canonical form."""
    id = (await front.park())["id"]
    assert uuid.UUID(id).version == 7
    assert str(uuid.UUID(id)) == id


async def test_all_that_a_submission_says_is_kept(api: Api) -> None:
    """Each optional field of a submission, as it was said."""
    said: dict[str, Any] = {
        "kind": "a.b_c:d-9",
        "queue": "Q",
        "payload": [1, {"x": None}],
        "priority": -1000,
        "group": "tenant:7",
        "tags": ["b", "a", "b"],
        "max_attempts": 1000,
        "timeout": 0.1,
        "run_at": "2027-01-15T09:00:00.000001Z",
        "expires_at": "2027-01-15T09:00:00.000002Z",
        "retry": {"backoff": "list", "delays": [1, 5.5, 60]},
    }
    job = await api.submit(**said)
    assert said.items() <= job.items()
    assert (job["status"], job["next_attempt_at"]) == ("SCHEDULED", said["run_at"])


@pytest.mark.parametrize(
    "said, shown",
    [
        ({}, DEFAULT_RETRY),
        ({"initial": 0.5, "max": 0}, DEFAULT_RETRY | {"initial": 0.5, "max": 0}),
        ({"backoff": "linear"}, {"backoff": "linear", "initial": 1, "max": 3600, "jitter": "full"}),
        ({"jitter": "equal", "factor": 1}, DEFAULT_RETRY | {"jitter": "equal", "factor": 1}),
        ({"backoff": "linear", "jitter": "none"}, {"backoff": "linear", "initial": 1, "max": 3600, "jitter": "none"}),
        ({"backoff": "list", "delays": [0]}, {"backoff": "list", "delays": [0]}),
    ],
)
async def test_a_retry_policy_is_completed_by_its_defaults(
    front: Api, said: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Backoff exponential | linear | list; jitter full | equal | none applies to the first two."""
    assert (await front.park(retry=said))["retry"] == shown


async def test_what_the_job_leaves_open_its_handler_says(front: Api) -> None:
    """Defaults come from the job, then the handler's registration, then the server."""
    job = await front.park(kind="chatty")
    assert (job["timeout"], job["max_attempts"], job["retry"]) == (60, 8, DEFAULT_RETRY)
    assert (await front.park(kind="chatty", timeout=5))["timeout"] == 5


@pytest.mark.parametrize(
    "text",
    [
        "9" * 1000,
        "-" + "9" * 1000,
        "[18446744073709551616,-9223372036854775809]",
        '{"a":"\\u0000\\"\\\\\\n"}',
        '"\U0001f600 é \u2028"',
        "[0.1,1e300,-0.0,1.5e-7]",
        "[" * 64 + "]" * 64,
        '{"":{"":""}}',
        "null",
        "false",
    ],
)
async def test_a_payload_comes_back_exactly(api: Api, text: str) -> None:
    """Any JSON; integers to 1,000 digits come back exact; 64 levels inside it."""
    answer = await submitted(api, b'{"kind":"echo","queue":"parked","payload":%s}' % text.encode())
    assert answer.status == 201, answer
    body = (await api.get(answer.headers["location"])).body.decode()
    shown = body.partition('"payload":')[2].partition(',"status":')[0]
    assert json.loads(shown) == json.loads(text)
    if "e" not in text and "\\" not in text:
        assert shown == text


async def test_a_result_comes_back_exactly(api: Api) -> None:
    """The same of results: integers to 1,000 digits come back exact."""
    number = 10**999 + 7
    assert (await api.done(payload={"n": [number]}))["result"] == {"n": [number]}


async def test_of_duplicate_names_the_last_wins(front: Api) -> None:
    """Of duplicate names the last wins, inside the payload and beside it."""
    body = b'{"kind": "no", "kind": "echo", "queue": "parked", "payload": {"a": 1, "b": 2, "a": 3}}'
    job = (await submitted(front, body)).json()
    assert (job["kind"], job["payload"]) == ("echo", {"a": 3, "b": 2})


async def test_a_time_that_has_passed_is_now(api: Api) -> None:
    """run_at: the past = now."""
    job = await api.park(run_at="2000-01-01T00:00:00Z")
    assert (job["status"], job["run_at"]) == ("QUEUED", "2000-01-01T00:00:00.000000Z")


@pytest.mark.parametrize("said", ["2027-01-15T10:00:05+02:00", "2027-01-15t08:00:05z", "2027-01-15T08:00:05.0000000Z"])
async def test_times_of_any_zone_are_shown_in_utc(front: Api, said: str) -> None:
    """Times are RFC 3339 UTC."""
    assert (await front.park(run_at=said))["run_at"] == "2027-01-15T08:00:05.000000Z"


async def test_a_delayed_job_starts_when_its_time_has_come(api: Api) -> None:
    """`delay` in seconds counts from now."""
    job = await api.submit(delay=2.5)
    assert (job["status"], job["run_at"]) == ("SCHEDULED", "2027-01-15T08:00:02.500000Z")
    await api.bench.advance(2.4)
    assert (await api.job(job["id"]))["status"] == "SCHEDULED"
    await api.bench.advance(0.2)
    assert (await api.ended(job["id"]))["status"] == "DONE"


async def test_no_delay_is_no_wait(front: Api) -> None:
    """A delay of 0 is now."""
    assert (await front.park(delay=0))["status"] == "QUEUED"


async def test_a_job_that_waits_too_long_expires(api: Api) -> None:
    """expires_at: FAILED, reason expired, of whatever waits."""
    queued = await api.park(expires_at="2027-01-15T08:00:05Z")
    delayed = await api.submit(delay=3, queue="parked", expires_at="2027-01-15T08:00:05Z")
    await api.bench.advance(4.9)
    assert (await api.job(delayed["id"]))["status"] == "QUEUED"
    await api.bench.advance(0.2)
    for job in (queued, delayed):
        ended = await api.job(job["id"])
        assert (ended["status"], ended["reason"]) == ("FAILED", "expired")


async def test_a_running_job_never_expires(front: Api) -> None:
    """`expires_at` never ends a RUNNING job."""
    job = await front.running(expires_at="2027-01-15T08:00:05Z")
    await front.bench.advance(6)
    assert (await front.job(job["id"]))["status"] == "RUNNING"
    front.bench.gate.set()
    assert (await front.ended(job["id"]))["status"] == "DONE"


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_trace_context_is_kept_and_handed_to_the_handler(api: Api) -> None:
    """A traceparent / tracestate header pair is kept as trace_parent, trace_state and handed to the handler."""
    answer = await api.post("/jobs", {"kind": "echo"}, traceparent=PARENT, tracestate="a=1,b=2")
    job = await api.ended(answer.json()["id"])
    assert (job["trace_parent"], job["trace_state"]) == (PARENT, "a=1,b=2")
    assert api.bench.seen[0].trace_parent == PARENT


@pytest.mark.parametrize(
    "parent", ["", "x", PARENT.upper(), PARENT + "-x", "ff" + PARENT[2:], "00-" + "0" * 32 + PARENT[35:], PARENT[:-1]]
)
async def test_a_malformed_trace_context_counts_as_none(front: Api, parent: str) -> None:
    """W3C Trace Context: a traceparent that cannot be read is ignored, and its tracestate with it."""
    job = (await front.post("/jobs", {"kind": "echo"}, traceparent=parent, tracestate="a=1")).json()
    assert (job["trace_parent"], job["trace_state"]) == (None, None)


async def test_a_trace_context_of_a_later_version_is_kept(front: Api) -> None:
    """What a later version adds at the end belongs to it."""
    job = (await front.post("/jobs", {"kind": "echo"}, traceparent="01" + PARENT[2:] + "-more")).json()
    assert job["trace_parent"] == "01" + PARENT[2:] + "-more"


async def test_a_job_of_an_unknown_kind_fails_at_once(api: Api) -> None:
    """FAILED unknown-kind, not retried; the error lists the known kinds and says what remote workers need."""
    job = await api.done("nobody.knows")
    assert (job["status"], job["reason"], job["attempt"]) == ("FAILED", "unknown-kind", 1)
    assert all(words in job["error"]["message"] for words in ("echo", "simulate", "--queues", "--workers 0"))


@pytest.mark.parametrize(
    "type", [JSON, "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"]
)
async def test_the_type_of_json_may_have_parameters(front: Api, type: str) -> None:
    """A body needs application/json."""
    assert (await front.ask("POST", "/jobs", b'{"kind": "echo"}', type=type)).status == 201


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_a_body_may_come_in_pieces(api: Api, size: int) -> None:
    """Chunks, cut anywhere, are one body."""
    body = json.dumps({"kind": "echo", "queue": "parked", "payload": "é" * 40}, ensure_ascii=False).encode()
    answer = await api.ask("POST", "/jobs", [body[at : at + size] for at in range(0, len(body), size)], type=JSON)
    assert answer.json()["payload"] == "é" * 40
