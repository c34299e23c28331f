"""POST /jobs refused: every fault of a body has its status, its code and a pointer to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.bench import JSON, NDJSON, Api, served
from tests.api.doors import Answer

MAX_BODY = 4096  # of the server under test


async def refused(api: Api, body: bytes, **headers: Any) -> Answer:
    answer = await api.ask("POST", "/jobs", body, type=JSON, **headers)
    assert (await api.get("/jobs")).json()["items"] == []
    return answer


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"{]", b'{"kind": "a",}', b"{'kind': 'a'}", b'{"kind": "a"} x', b'{"kind": "\xff"}'),
        *(b'{"kind": "a", "payload": %s}' % text for text in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400")),
        *(b'{"kind": "a", "payload": %s}' % text for text in (b"01", b"+1", b".5", b"1.", b"0x1", b'"\n"', b"'a'")),
        *(b'\xef\xbb\xbf{"kind": "a"}', '{"kind": "a"}'.encode("utf-16"), b'{"kind": "a", "payload": "\\x41"}'),
    ],
)
async def test_what_is_no_json_is_400(front: Api, body: bytes) -> None:
    """Malformed or empty JSON, not UTF-8, NaN, Infinity, 1e400: 400 invalid-json."""
    assert (await refused(front, body)).pointers(400, "invalid-json") == [""]


async def test_what_is_no_json_is_400_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    (await refused(api, b'{"kind": NaN}')).problem(400, "invalid-json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind": "a", "payload": %s}' % nested(65),
        b'{"kind": "a", "payload": %s}' % (b'{"a":' * 65 + b"1" + b"}" * 65),
        b'[{"kind": "a", "payload": %s}]' % nested(65),
        b'{"kind": "a", "other": %s}' % nested(64),
        nested(65),
        nested(1500),
        b"[" * 4000,
    ],
)
async def test_what_is_nested_too_deep_is_400(front: Api, body: bytes) -> None:
    """Nested deeper than 64: 400 too-deep."""
    assert (await refused(front, body)).pointers(400, "too-deep") == [""]


async def test_a_hundred_thousand_brackets_are_too_deep() -> None:
    """100,000 nested brackets harm nobody."""
    async with served(max_body=1 << 20) as api:
        (await refused(api, b"[" * 100_000)).problem(400, "too-deep")


@pytest.mark.parametrize(
    "body, pointer",
    [
        (b'{"kind": "a", "payload": {"x/y": ["ok", "\\ud800"]}}', "/payload/x~1y/1"),
        (b'{"kind": "a", "payload": {"\\udfff": 1}}', "/payload"),
        (b'{"kind": "\\udc00\\ud800"}', "/kind"),
        (b'[{"kind": "a"}, {"kind": "a", "payload": "\\ud83d"}]', "/1/payload"),
        (b'{"kind": "a\\u0000"}', "/kind"),
        (b'{"kind": "a", "tags": ["b", "\\u0000"]}', "/tags/1"),
        (b'{"kind": "a", "group": "\\u0000"}', "/group"),
        (b'{"kind": "a", "queue": "\\u0000"}', "/queue"),
    ],
)
async def test_text_that_cannot_be_kept_is_422(front: Api, body: bytes, pointer: str) -> None:
    """A lone surrogate; NUL in a name: 422 invalid-text."""
    assert (await refused(front, body)).pointers(422, "invalid-text") == [pointer]


def bad(name: str, values: list[Any]) -> list[tuple[dict[str, Any], str]]:
    """Cases of one field."""
    return [({name: value}, f"/{name}") for value in values]


@pytest.mark.parametrize(
    "fields, pointer",
    [
        *bad("kind", ["", "a b", "é", "x" * 65, "a\n", 5, None, [], {}]),
        *bad("queue", ["", "a/b", "*", None, 1]),
        *bad("group", ["", "a b", 1]),
        *bad("tags", ["a", None, {}, ["a"] * 21]),
        *(({"tags": ["a", word]}, "/tags/1") for word in ("", None, 5, "a b")),
        *bad("priority", ["1", None, 1.5, True]),
        *bad("max_attempts", ["1", None, 1.5, False]),
        *bad("timeout", ["1", None, True, []]),
        *bad("delay", ["1", True, {}]),
        *bad("run_at", ["", "soon", 5, "2027-01-15", "2027-01-15T08:00:05", "2027-13-15T08:00:05Z"]),
        *bad("expires_at", ["tomorrow", 5, "2027-01-15T08:00:05"]),
        *bad("retry", [None, 5, "list", []]),
        ({"retry": {"backoff": "magic"}}, "/retry/backoff"),
        ({"retry": {"jitter": "some"}}, "/retry/jitter"),
        ({"retry": {"backoff": "list"}}, "/retry/delays"),
        ({"retry": {"backoff": "list", "delays": []}}, "/retry/delays"),
        ({"retry": {"backoff": "list", "delays": [1, "2"]}}, "/retry/delays/1"),
        ({"run_at": "2027-01-15T08:00:05Z", "delay": 5}, "/delay"),
    ],
)
async def test_a_bad_field_is_422_with_a_pointer(front: Api, fields: dict[str, Any], pointer: str) -> None:
    """Unknown field, wrong type, bad enum, bad name: 422 validation, with a pointer."""
    body = json.dumps({"kind": "echo", **fields}).encode()
    assert (await refused(front, body)).pointers(422, "validation") == [pointer]


async def test_a_bad_field_is_422_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    assert (await refused(api, b'{"kind": "a b"}')).pointers(422, "validation") == ["/kind"]


async def test_a_missing_kind_is_pointed_at_by_its_name(api: Api) -> None:
    """A missing field is pointed at by its own name (`/kind`)."""
    assert (await refused(api, b"{}")).pointers(422, "validation") == ["/kind"]


async def test_each_unknown_field_is_pointed_at(api: Api) -> None:
    """Unknown fields are refused, with a pointer to each."""
    said = {"kind": "a", "colour": 1, "retry": {"times": 3, "pause/s": 1}, "a`~\n`b": 2, "": 3}
    pointers = (await refused(api, json.dumps(said).encode())).pointers(422, "validation")
    assert pointers == ["/colour", "/a`~0\n`b", "/", "/retry/times", "/retry/pause~1s"]


@pytest.mark.parametrize("name", ["callback", "id", "status", "Kind"])
async def test_a_field_that_is_none_here_is_unknown(front: Api, name: str) -> None:
    """What a job shows is not what a submission takes, and names are matched by case."""
    assert (await refused(front, json.dumps({"kind": "a", name: None}).encode())).pointers(422, "validation") == [
        f"/{name}"
    ]


async def test_many_unknown_fields_are_not_all_listed(front: Api) -> None:
    """A body of unknown fields makes no larger answer of itself."""
    body = json.dumps({f"f{number}": 0 for number in range(300)}).encode()
    assert len((await refused(front, body)).pointers(422, "validation")) == 100


@pytest.mark.parametrize(
    "fields, pointer",
    [
        *bad("priority", [1001, -1001, 10**9, -(10**9), 10**30]),
        *bad("max_attempts", [0, -1, 1001, 10**6]),
        *bad("timeout", [0, 0.09, -1, 86_401, 10**400]),
        *bad("delay", [-1, -0.001, 11 * 366 * 86_400, 10**20]),
        *bad(
            "run_at", ["1999-12-31T23:59:59Z", "2038-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1900-01-01T00:00:00Z"]
        ),
        *bad("expires_at", ["2027-01-15T08:00:00Z", "2020-01-01T00:00:00Z", "2038-01-01T00:00:00Z"]),
        ({"expires_at": "2027-01-15T08:00:09Z", "delay": 9}, "/expires_at"),
        ({"expires_at": "2027-01-15T08:00:09Z", "run_at": "2027-01-15T08:00:09Z"}, "/expires_at"),
        ({"expires_at": "2027-01-15T07:59:59Z", "run_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"retry": {"initial": -1}}, "/retry/initial"),
        ({"retry": {"factor": 0.5}}, "/retry/factor"),
        ({"retry": {"max": 10**12}}, "/retry/max"),
        ({"retry": {"backoff": "list", "delays": [1, -1]}}, "/retry/delays/1"),
        ({"payload": {"n": [0, 10**1000]}}, "/payload/n/1"),
        ({"priority": -(10**1000)}, "/priority"),
    ],
)
async def test_what_is_out_of_range_is_422(front: Api, fields: dict[str, Any], pointer: str) -> None:
    """A number out of its range; a date before 2000 or 10 years ahead; priority 10^9: 422 out-of-range."""
    body = json.dumps({"kind": "echo", **fields}).encode()
    assert (await refused(front, body)).pointers(422, "out-of-range") == [pointer]


@pytest.mark.parametrize("body", [b"5", b'"text"', b"null", b"true"])
async def test_a_body_that_is_no_object_is_422(front: Api, body: bytes) -> None:
    """JSON that is neither a job nor an array of them."""
    assert (await refused(front, body)).pointers(422, "validation") == [""]


@pytest.mark.parametrize(
    "type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"]
)
async def test_another_content_type_is_415_and_told_the_flag(api: Api, type: str | None) -> None:
    """Wrong or missing content type: 415, whose detail shows the curl flag."""
    answer = await api.ask("POST", "/jobs", b'{"kind": "a"}', type=type)
    assert "-H 'Content-Type: application/json'" in answer.problem(415, "unsupported-media-type")["detail"]


async def test_no_body_and_no_type_is_415_where_a_field_is_required(front: Api) -> None:
    """An empty body needs no type only where no field is required."""
    (await front.ask("POST", "/jobs")).problem(415, "unsupported-media-type")


@pytest.mark.parametrize("type", [JSON, NDJSON])
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
async def test_a_compressed_body_is_415(front: Api, type: str, coding: str) -> None:
    """Content-Encoding: 415."""
    answer = await front.ask("POST", "/jobs", b'{"kind": "a"}', type=type, content_encoding=coding)
    answer.problem(415, "unsupported-media-type")


def sized(size: int, form: bytes = b'{"kind": "a", "queue": "parked", "payload": "%s"}') -> bytes:
    return form % (b"x" * (size - len(form) + 2))


@pytest.mark.parametrize("length", [True, False])
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(api: Api, length: bool) -> None:  # noqa: FBT001 - a case's parameter
    """Content-Length or chunks beyond the limit: 413."""
    answer = await api.ask("POST", "/jobs", sized(MAX_BODY + 1), type=JSON, length=length)
    answer.problem(413, "body-too-large")
    assert (await api.ask("POST", "/jobs", sized(MAX_BODY), type=JSON, length=length)).status == 201


@pytest.mark.parametrize("length", [True, False])
async def test_an_array_may_be_eight_times_as_large(api: Api, length: bool) -> None:  # noqa: FBT001 - a case's parameter
    """Arrays of jobs (a body that begins with `[`) may have 8 times the body."""
    form = b' \n[{"kind": "a", "queue": "parked", "payload": "%s"}]'
    answer = await api.ask("POST", "/jobs", sized(8 * MAX_BODY + 1, form), type=JSON, length=length)
    answer.problem(413, "body-too-large")
    assert (await api.ask("POST", "/jobs", sized(8 * MAX_BODY, form), type=JSON, length=length)).status == 201


async def test_white_space_before_an_array_may_come_by_itself(front: Api) -> None:
    """Where the chunks are cut says nothing about what the body begins with."""
    pieces = [b" ", b"", b"\n", b"[", sized(2 * MAX_BODY, b'{"kind": "a", "queue": "parked", "payload": "%s"}'), b"]"]
    assert (await front.ask("POST", "/jobs", pieces, type=JSON)).status == 201


async def test_a_body_beyond_the_limit_is_read_no_further(wire: Api) -> None:
    """413, read no further: the answer comes while the client goes on sending without end."""
    pieces = (b" " * 1024 for _ in range(1_000_000))
    (await wire.ask("POST", "/jobs", pieces, type=JSON)).problem(413, "body-too-large")
