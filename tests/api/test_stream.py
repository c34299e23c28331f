"""POST /jobs as NDJSON: a line in, a line out, wherever the body is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.api import bulk
from tests.api.bench import NDJSON, Api, served
from tests.api.doors import check_problem

Said = dict[str, Any]
PARKED = {"kind": "echo", "queue": "parked"}


def refusal(said: Any) -> tuple[int, str, list[str]]:
    return *check_problem(said), [fault["pointer"] for fault in said["errors"]]


async def test_each_line_is_answered_with_id_and_status_in_order(api: Api) -> None:
    """A line in, a line out: {"id", "status"}."""
    answers = await api.stream(*({**PARKED, "payload": number} for number in range(30)))
    assert all(answer.keys() == {"id", "status"} and answer["status"] == "QUEUED" for answer in answers)
    assert [(await api.job(answer["id"]))["payload"] for answer in answers] == list(range(30))


async def test_a_line_may_be_scheduled(front: Api) -> None:
    """The status is the job's."""
    assert (await front.stream({"kind": "a", "delay": 5}))[0]["status"] == "SCHEDULED"


@pytest.mark.parametrize(
    "line, status, code, pointers",
    [
        (b"{\n", 400, "invalid-json", [""]),
        (b"\xff\n", 400, "invalid-json", [""]),
        (b'{"kind": "a", "payload": NaN}\n', 400, "invalid-json", [""]),
        (b'{"kind": "a", "payload": %s}\n' % (b"[" * 65 + b"]" * 65), 400, "too-deep", [""]),
        (b'{"kind": "\\ud800"}\n', 422, "invalid-text", ["/kind"]),
        (b"{}\n", 422, "validation", ["/kind"]),
        (b"[]\n", 422, "validation", [""]),
        (b'[{"kind": "a"}]\n', 422, "validation", [""]),
        (b'{"kind": "a", "priority": 1001}\n', 422, "out-of-range", ["/priority"]),
        (b'{"kind": "a", "x": 1, "y": 2}\n', 422, "validation", ["/x", "/y"]),
        (b'{"kind": "a", "idempotency_key": ""}\n', 422, "validation", ["/idempotency_key"]),
        (b'{"kind": "a", "idempotency_key": "%s"}\n' % (b"k" * 256), 422, "validation", ["/idempotency_key"]),
    ],
)
async def test_a_bad_line_is_answered_with_a_problem_and_harms_no_other(
    front: Api, line: bytes, status: int, code: str, pointers: list[str]
) -> None:
    """A line in, a line out: {"id", "status"} or a problem."""
    before, bad, after = await front.stream(PARKED, line, PARKED)
    assert before["status"] == after["status"] == "QUEUED"
    assert refusal(bad) == (status, code, pointers)


async def test_a_bad_line_is_answered_with_a_problem_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    good, bad = await api.stream(PARKED, {})
    assert good["status"] == "QUEUED"
    assert refusal(bad) == (422, "validation", ["/kind"])


async def test_a_full_queue_refuses_the_lines_that_are_too_many() -> None:
    """Each line is accepted or refused by itself."""
    async with served(max_queued=2) as api:
        answers = await api.stream(PARKED, PARKED, PARKED, {**PARKED, "queue": "other"})
        assert [answer["status"] for answer in answers] == ["QUEUED", "QUEUED", 429, "QUEUED"]


async def test_a_server_that_drains_refuses_every_line(front: Api) -> None:
    """draining: 503."""
    await front.drain()
    assert [refusal(answer)[:2] for answer in await front.stream(PARKED, {})] == [
        (503, "draining"),
        (422, "validation"),
    ]


async def test_blank_lines_are_no_lines(api: Api) -> None:
    """Nothing is answered to nothing; CR LF ends a line too."""
    one = json.dumps(PARKED).encode()
    assert len(await api.stream(b"\n\r\n  \n", one + b"\r\n", b"\n", one)) == 2


async def test_no_lines_have_no_answers(api: Api) -> None:
    """An empty stream is a good one."""
    assert await api.stream() == []


@pytest.mark.parametrize("type", [NDJSON, "Application/X-NDJSON", "application/x-ndjson; charset=utf-8"])
async def test_it_is_known_by_its_type(front: Api, type: str) -> None:
    """`application/x-ndjson`, in which the answer comes as well."""
    answer = await front.ask("POST", "/jobs", json.dumps(PARKED).encode(), type=type)
    assert answer.headers["content-type"] == NDJSON
    assert len(answer.lines()) == 1


async def test_an_idempotency_key_for_the_whole_is_400(api: Api) -> None:
    """On NDJSON the header is 400: each line may carry `idempotency_key`."""
    answer = await api.ask("POST", "/jobs", b"{}", type=NDJSON, idempotency_key="k")
    assert "idempotency_key" in answer.problem(400, "bad-request")["detail"]


async def test_a_line_with_a_key_is_accepted_once(api: Api) -> None:
    """The same key and line, in one stream or two: the same job; another line: key-reuse."""
    line = {**PARKED, "idempotency_key": "k"}
    first, again, other, free = await api.stream(line, line, {**line, "payload": 1}, PARKED)
    assert first == again
    assert refusal(other)[:2] == (422, "key-reuse")
    assert free["id"] != first["id"]
    await api.act(first["id"], "cancel")
    assert await api.stream(line) == [{"id": first["id"], "status": "CANCELLED"}]


async def test_a_trace_context_is_that_of_every_line(front: Api) -> None:
    """A header is about the whole request."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for answer in await front.stream(PARKED, PARKED, traceparent=parent):
        assert (await front.job(answer["id"]))["trace_parent"] == parent


async def test_a_line_may_be_as_large_as_a_body_and_no_larger(api: Api) -> None:
    """Each within max-body; what follows a line that is not is read no further."""
    form = b'{"kind": "a", "queue": "parked", "payload": "%s"}'
    fits = form % (b"x" * (4096 - len(form) + 2))
    good, bad = await api.stream(fits + b"\n", fits + b" \n", PARKED)
    assert good["status"] == "QUEUED"
    assert refusal(bad)[:2] == (413, "body-too-large")


async def test_the_whole_has_no_bound_in_bytes(front: Api) -> None:
    """No total limit: many times max-body in one stream."""
    assert len(await front.stream(*[{**PARKED, "payload": "x" * 3000}] * 500)) == 500


async def test_a_hundred_thousand_lines_and_no_more(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 100,000 lines; the next one is answered with a problem, and is the last. Here with 2,500."""
    assert bulk.LINES_MOST == 100_000
    monkeypatch.setattr(bulk, "LINES_MOST", 2_500)
    line = json.dumps(PARKED).encode() + b"\n"
    answers = (await front.ask("POST", "/jobs", [line * 2_000, b"\n" + line * 500, line * 2], type=NDJSON)).lines()
    assert [answer["status"] for answer in answers] == ["QUEUED"] * 2_500 + [413]
    assert refusal(answers[-1]) == (413, "body-too-large", [])


LINES = [json.dumps(PARKED).encode(), b"", b"  ", b"{}", b"\xc3\xa9", b'{"kind":"a","queue":"parked"}\r', b"x" * 1100]


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.sampled_from(LINES), max_size=6),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    ended=st.booleans(),
)
def test_where_the_body_is_cut_makes_no_difference(lines: list[bytes], cuts: list[int], ended: bool) -> None:  # noqa: FBT001 - a case's parameter
    """Chunk boundaries anywhere: the same lines get the same answers."""
    body = b"\n".join(lines) + (b"\n" if ended else b"")

    async def answers(pieces: list[bytes]) -> list[Any]:
        async with served(max_body=1024, workers=0) as api:
            said = (await api.ask("POST", "/jobs", pieces, type=NDJSON)).lines()
            return [item.get("type") or item["status"] for item in said]

    async def both() -> None:
        at = sorted(min(cut, len(body)) for cut in cuts)
        pieces = [body[start:end] for start, end in zip([0, *at], [*at, len(body)], strict=True)]
        assert await answers(pieces) == await answers([body])

    trio.run(both, clock=trio.testing.MockClock())
