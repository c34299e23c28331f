"""Well-framed requests that say what they may not, over real sockets: the exact answer, and the connection goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.raw_http import JSON, NDJSON, post, request
from tests.e2e.watched_server import Vitals, Watched, watched

ALIVE = request(b"GET /healthz")
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The server that gets them all."""
    with watched(tmp_path_factory.mktemp("input")) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def at_rest(server: Watched) -> Vitals:
    """What it holds before the first of them."""
    return server.settled()


def refused(server: Watched, data: bytes) -> tuple[int, str, str | None]:
    """Status, code and first pointer of a problem, after which the connection must go on."""
    with server.connect() as raw:
        answer = raw.ask(data)
        code, errors = answer.problem, answer.json()["errors"]
        assert "connection" not in answer.headers
        assert raw.ask(ALIVE).status == 200
    return answer.status, code, errors[0]["pointer"] if errors else None


def nested(levels: int) -> bytes:
    """A payload of so many levels."""
    return b'{"kind":"a","payload":%s}' % (b"[" * levels + b"]" * levels)


NO_JSON = {
    "nothing": b"",
    "space": b" \r\n",
    "half": b'{"kind":',
    "words": b"kind=a",
    "two values": b'{"kind":"a"}{"kind":"a"}',
    "comma at the end": b'{"kind":"a",}',
    "latin-1": b'{"kind":"a","payload":"\xe9"}',
    "UTF-16": '{"kind":"a"}'.encode("utf-16"),
    "overlong": b'{"kind":"a","payload":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"kind":"a","payload":"\xed\xa0\x80"}',
    "byte order mark": b'\xef\xbb\xbf{"kind":"a"}',
    "control byte": b'{"kind":"a","payload":"\x07"}',
    "NaN": b'{"kind":"a","payload":NaN}',
    "Infinity": b'{"kind":"a","payload":Infinity}',
    "-Infinity": b'{"kind":"a","payload":[-Infinity]}',
    "1e400": b'{"kind":"a","payload":1e400}',
}


@pytest.mark.parametrize("path", [b"/jobs", b"/submit"], ids=bytes.decode)
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_400(server: Watched, path: bytes, body: bytes) -> None:
    """By either route."""
    assert refused(server, post(body, path=path))[:2] == (400, "invalid-json")


DEEP = {"65 levels": nested(65), "100,000": nested(100_000), "open": b"[" * 100_000, "objects": b'{"a":' * 50_000}


@pytest.mark.parametrize("path", [b"/jobs", b"/submit"], ids=bytes.decode)
@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deep_is_400(server: Watched, path: bytes, body: bytes) -> None:
    """Over 64 levels."""
    assert refused(server, post(body, path=path))[:2] == (400, "too-deep")


def test_64_levels_are_taken(server: Watched) -> None:
    """As many as may be."""
    assert server.ask(post(nested(64))).status == 201


FIELDS: dict[str, tuple[dict[str, Any] | list[Any] | str | int | None, str, str]] = {
    "unknown field": ({"kind": "a", "nope": 1}, "validation", "/nope"),
    "unknown field within": ({"kind": "a", "retry": {"nope": 1}}, "validation", "/retry/nope"),
    "missing kind": ({}, "validation", "/kind"),
    "kind of no type": ({"kind": None}, "validation", "/kind"),
    "number as kind": ({"kind": 1}, "validation", "/kind"),
    "empty name": ({"kind": ""}, "validation", "/kind"),
    "long name": ({"kind": "a" * 65}, "validation", "/kind"),
    "bad name": ({"kind": "a b"}, "validation", "/kind"),
    "name and line feed": ({"kind": "a\n"}, "validation", "/kind"),
    "bad queue": ({"kind": "a", "queue": "ä"}, "validation", "/queue"),
    "bad tag": ({"kind": "a", "tags": ["ok", "no way"]}, "validation", "/tags/1"),
    "21 tags": ({"kind": "a", "tags": ["t"] * 21}, "validation", "/tags"),
    "bad enum": ({"kind": "a", "retry": {"backoff": "soon"}}, "validation", "/retry/backoff"),
    "text as number": ({"kind": "a", "priority": "1"}, "validation", "/priority"),
    "half as whole": ({"kind": "a", "priority": 0.5}, "validation", "/priority"),
    "truth as number": ({"kind": "a", "priority": True}, "validation", "/priority"),
    "no time": ({"kind": "a", "run_at": "tomorrow"}, "validation", "/run_at"),
    "time of no zone": ({"kind": "a", "run_at": "2030-01-01T00:00:00"}, "validation", "/run_at"),
    "run_at and delay": ({"kind": "a", "run_at": "2030-01-01T00:00:00Z", "delay": 1}, "validation", "/delay"),
    "text": ("a", "validation", ""),
    "number": (1, "validation", ""),
    "null": (None, "validation", ""),
    "empty array": ([], "validation", ""),
    "1,001 jobs": ([{"kind": "a"}] * 1001, "validation", ""),
    "second of an array": ([{"kind": "a"}, {"kind": 1}], "validation", "/1/kind"),
    "array in an array": ([[{"kind": "a"}]], "validation", "/0"),
    "priority 10^9": ({"kind": "a", "priority": 10**9}, "out-of-range", "/priority"),
    "priority 10^30": ({"kind": "a", "priority": 10**30}, "out-of-range", "/priority"),
    "no attempts": ({"kind": "a", "max_attempts": 0}, "out-of-range", "/max_attempts"),
    "10^6 attempts": ({"kind": "a", "max_attempts": 10**6}, "out-of-range", "/max_attempts"),
    "timeout 0": ({"kind": "a", "timeout": 0}, "out-of-range", "/timeout"),
    "timeout of years": ({"kind": "a", "timeout": 1e300}, "out-of-range", "/timeout"),
    "delay -1": ({"kind": "a", "delay": -1}, "out-of-range", "/delay"),
    "retry factor 0": ({"kind": "a", "retry": {"factor": 0}}, "out-of-range", "/retry/factor"),
    "year 1900": ({"kind": "a", "run_at": "1900-01-01T00:00:00Z"}, "out-of-range", "/run_at"),
    "year 9999": ({"kind": "a", "run_at": "9999-12-31T23:59:59Z"}, "out-of-range", "/run_at"),
    "expired": ({"kind": "a", "expires_at": "2001-01-01T00:00:00Z"}, "out-of-range", "/expires_at"),
    "1,001 digits": ({"kind": "a", "payload": [int("9" * 1_001)]}, "out-of-range", "/payload/0"),
    "lone surrogate": ({"kind": "a", "payload": ["\ud800"]}, "invalid-text", "/payload/0"),
    "surrogate as name": ({"kind": "a", "payload": {"\udfff": 1}}, "invalid-text", "/payload"),
    "NUL in a name": ({"kind": "a\0"}, "invalid-text", "/kind"),
    "NUL in a queue": ({"kind": "a", "queue": "\0"}, "invalid-text", "/queue"),
}


@pytest.mark.parametrize("said, code, pointer", FIELDS.values(), ids=FIELDS)
def test_a_bad_field_is_422(server: Watched, said: object, code: str, pointer: str) -> None:
    """With a pointer to it."""
    assert refused(server, post(json.dumps(said).encode())) == (422, code, pointer)


def test_a_bad_line_is_answered_in_its_place(server: Watched) -> None:
    """A stream goes on: each kind of fault is a problem in the line of the answer that it belongs to."""
    good = b'{"kind":"a","delay":3600}'
    bad = [b"{", nested(65), b'{"kind":"a\\u0000"}', b"{}", b'{"kind":"a","priority":1000000000}', b'{"kind":"\xff"}']
    lines = [line for fault in bad for line in (good, fault)]
    answer = server.ask(post(b"\n".join([*lines, good]), NDJSON))
    said = [json.loads(line) for line in answer.body.splitlines()]

    assert answer.status == 200
    assert [line["status"] for line in said[::2]] == ["SCHEDULED"] * 7
    assert [line["type"].removeprefix("/problems/") for line in said[1::2]] == [
        *("invalid-json", "too-deep", "invalid-text", "validation", "out-of-range", "invalid-json")
    ]


TYPES = {
    "none": b"",
    "empty": b"Content-Type: \r\n",
    "form": FORM,
    "text": b"Content-Type: text/plain\r\n",
    "nearly": b"Content-Type: application/json-seq\r\n",
    "two": JSON + FORM,
    "gzip": JSON + b"Content-Encoding: gzip\r\n",
    "two codings": JSON + b"Content-Encoding: identity, br\r\n",
    "gzip of lines": NDJSON + b"Content-Encoding: gzip\r\n",
}


@pytest.mark.parametrize("headers", TYPES.values(), ids=TYPES)
def test_another_content_type_is_415(server: Watched, headers: bytes) -> None:
    """Or a compressed body."""
    assert refused(server, post(b'{"kind":"a"}', headers))[:2] == (415, "unsupported-media-type")


@pytest.mark.parametrize("path", [b"/submit", b"/jobs/x/cancel", b"/jobs/x/retry"], ids=bytes.decode)
def test_a_compressed_body_is_415_on_every_route(server: Watched, path: bytes) -> None:
    """Even where any type is taken, or no body is needed."""
    data = post(b"{}", JSON + b"Content-Encoding: deflate\r\n", path)
    assert refused(server, data)[:2] == (415, "unsupported-media-type")


@pytest.mark.parametrize("command", [b"cancel", b"retry"])
def test_a_command_with_a_body_of_another_type_is_415(server: Watched, command: bytes) -> None:
    """No body needs no type; one of another type is refused."""
    assert refused(server, post(b"a=1", FORM, b"/jobs/x/" + command))[:2] == (415, "unsupported-media-type")


def test_a_command_takes_no_fields(server: Watched) -> None:
    """With a pointer to the field."""
    assert refused(server, post(b'{"a":1}', JSON, b"/jobs/x/cancel")) == (422, "validation", "/a")


QUERIES = {
    "number": (b"limit=many", "bad-request"),
    "negative": (b"limit=-1", "bad-request"),
    "nothing": (b"limit=0", "bad-request"),
    "status": (b"status=SLEEPING", "bad-request"),
    "name": (b"queue=a%00b", "bad-request"),
    "time": (b"created_after=yesterday", "bad-request"),
    "unknown filter": (b"colour=red", "bad-request"),
    "unknown field": (b"fields=secret", "bad-request"),
    "no UTF-8": (b"kind=%ff", "bad-request"),
    "no pair": (b"limit", "bad-request"),
    "a thousand": (b"&".join([b"tag=a"] * 1_000), "bad-request"),
    "empty cursor": (b"cursor=", "cursor"),
    "made-up cursor": (b"cursor=AAAAAAAAAAAAAAAAAAAA", "cursor"),
    "cursor of no base64": (b"cursor=%00", "cursor"),
    "cursor of no ASCII": (b"cursor=%F0%9F%92%A9", "cursor"),
    "long cursor": (b"cursor=" + b"A" * 8_000, "cursor"),
}


@pytest.mark.parametrize("query, code", QUERIES.values(), ids=QUERIES)
def test_a_bad_query_is_400(server: Watched, query: bytes, code: str) -> None:
    """And a cursor that is none of ours."""
    assert refused(server, request(b"GET /jobs?" + query))[:2] == (400, code)


def test_a_cursor_tampered_with_is_400(server: Watched) -> None:
    """Wherever a character is changed."""
    server.ask(post(b'[{"kind":"a"},{"kind":"a"}]'))
    cursor = server.ask(request(b"GET /jobs?limit=1")).json()["next"]
    assert server.ask(request(b"GET /jobs?cursor=" + cursor.encode())).status == 200
    for at in range(len(cursor)):
        other = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        assert refused(server, request(b"GET /jobs?cursor=" + other.encode()))[:2] == (400, "cursor")


@pytest.mark.parametrize("size", [0, 256])
@pytest.mark.parametrize(
    "path, body", [(b"/jobs", b'{"kind":"a"}'), (b"/jobs", b'[{"kind":"a"}]'), (b"/submit", b"{}")]
)
def test_a_key_of_a_wrong_size_is_400(server: Watched, path: bytes, body: bytes, size: int) -> None:
    """Empty, or over 255 characters."""
    data = post(body, JSON + b"Idempotency-Key: %s\r\n" % (b"k" * size), path)
    assert refused(server, data)[:2] == (400, "bad-request")


def test_a_key_on_a_stream_is_400(server: Watched) -> None:
    """There each line may have its own."""
    assert refused(server, post(b"{}\n", NDJSON + b"Idempotency-Key: k\r\n"))[:2] == (400, "bad-request")


@pytest.mark.parametrize("path, body", [(b"/jobs", b'{"kind":"a"}'), (b"/submit", b'{"payload":"a"}')])
def test_a_key_with_another_body_is_422(server: Watched, path: bytes, body: bytes) -> None:
    """By one byte."""
    key = JSON + b"Idempotency-Key: reused\r\n"
    assert server.ask(post(body, key, path)).status in (200, 201)
    assert refused(server, post(body + b" ", key, path))[:2] == (422, "key-reuse")


def test_an_illegal_transition_is_409(server: Watched) -> None:
    """To start again what waits, to cancel what has failed."""
    waits = server.ask(post(b'{"kind":"a","delay":3600}')).json()["id"].encode()
    assert refused(server, post(b"", b"", b"/jobs/%s/retry" % waits))[:2] == (409, "bad-state")
    ended = server.ask(post(b'{"kind":"of.nobody"}', JSON + b"Prefer: wait=30\r\n")).json()
    assert (ended["status"], ended["reason"]) == ("FAILED", "unknown-kind")
    assert refused(server, post(b"", b"", b"/jobs/%s/cancel" % ended["id"].encode()))[:2] == (409, "bad-state")


@pytest.mark.parametrize("header", [b"Origin: http://evil.example", b"Origin: null", b"Sec-Fetch-Site: cross-site"])
def test_a_write_of_another_site_is_403(server: Watched, header: bytes) -> None:
    """Any page can make a browser post to localhost."""
    assert refused(server, post(b'{"kind":"a"}', JSON + header + b"\r\n"))[:2] == (403, "cross-site")


def test_after_all_this_the_server_is_as_before(server: Watched, at_rest: Vitals) -> None:
    """Same open files, same tasks, and no fault inside."""
    assert server.rests(at_rest), f"{server.state} is not {at_rest}"
