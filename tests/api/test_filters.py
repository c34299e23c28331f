"""The two ways to write a filter, and what a cursor keeps to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.api import filters
from jobqueue.errors import BadCursor, BadRequest, Invalid, InvalidText
from jobqueue.job import Status
from jobqueue.stores.contract import Filter
from tests.helpers import EPOCH

TIME = "2027-01-15T08:00:00Z"
PATH = "payload."

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def wanted(path: str, value: str = "1") -> Filter:
    """The filter of one path, from the query."""
    return filters.from_query([(PATH + path, value)])


SAME = [
    ([], {}, Filter()),
    ([("status", "FAILED")], {"status": "FAILED"}, Filter(status=frozenset({Status.FAILED}))),
    (
        [("status", "FAILED,DONE"), ("status", "DONE")],
        {"status": ["FAILED", "DONE"]},
        Filter(status=frozenset({Status.FAILED, Status.DONE})),
    ),
    (
        [("queue", "a"), ("kind", "b"), ("tag", "c"), ("group", "d")],
        {"queue": "a", "kind": "b", "tag": "c", "group": "d"},
        Filter(queue="a", kind="b", tag="c", group="d"),
    ),
    (
        [("created_after", TIME), ("created_before", "2027-01-15T10:00:01 02:00")],
        {"created_after": TIME, "created_before": "2027-01-15T10:00:01+02:00"},
        Filter(created_after=EPOCH, created_before=EPOCH + 1_000_000),
    ),
    (
        [(PATH + "user.id", "7"), (PATH + "to", "a@example.org"), (PATH + "items.0.sku", "x")],
        {PATH + "user.id": 7, PATH + "to": "a@example.org", PATH + "items.0.sku": "x"},
        Filter(payload=((("user", "id"), "7"), (("to",), '"a@example.org"'), (("items", "0", "sku"), '"x"'))),
    ),
]


@pytest.mark.parametrize("query, body, expected", SAME)
def test_both_ways_lead_to_the_same(query: list[tuple[str, str]], body: dict[str, Any], expected: Filter) -> None:
    """A query and an object of the same meaning are one filter."""
    assert filters.from_query(query) == filters.from_json(body, "/filter") == expected


@pytest.mark.parametrize(
    "text, value",
    [
        *(("1", "1"), ("1.0", "1.0"), ('"1"', '"1"'), ("true", "true"), ("null", "null"), ('{"a": [1]}', '{"a":[1]}')),
        *(("", '""'), ("x", '"x"'), ("a b", '"a b"'), ("NaN", '"NaN"'), ("True", '"True"'), ("'1'", "\"'1'\"")),
        *(("1e400", '"1e400"'), ("[1", '"[1"'), ("é", '"é"'), ("\0", '"\\u0000"'), ('"\\ud800"', '"\\"\\\\ud800\\""')),
        *(("9" * 1_000, "9" * 1_000), ("9" * 1_001, f'"{"9" * 1_001}"'), ("[" * 65, f'"{"[" * 65}"')),
        *((" 7 ", "7"), ("007", '"007"'), ("-0", "0"), ("1 2", '"1 2"')),
    ],
)
def test_a_value_of_the_query_is_json_or_text(text: str, value: str) -> None:
    """JSON if it can be read so, as strictly as a body is read; else a string."""
    assert wanted("a", text).payload == ((("a",), value),)


@given(values)
def test_any_value_can_be_asked_for_both_ways(value: Any) -> None:
    """What is written as JSON in the query is what stands in the object."""
    assert wanted("a", json.dumps(value)) == filters.from_json({"payload.a": value}, "/filter")


@pytest.mark.parametrize(
    "path, way",
    [
        ("a", ["a"]),
        ("a.b", ["a", "b"]),
        ("0", ["0"]),
        ("a.0.b", ["a", "0", "b"]),
        ("é", ["é"]),
        (" ", [" "]),
        ('"a.b"', ["a.b"]),
        ('a."".b', ["a", "", "b"]),
        ('"a\\"b".c', ['a"b', "c"]),
        ('"\\u00e9"', ["é"]),
        ('a"b', ['a"b']),
        ("a[0]", ["a[0]"]),
        ("payload.a", ["payload", "a"]),
        (".".join(["x"] * 64), ["x"] * 64),
    ],
)
def test_paths(path: str, way: list[str]) -> None:
    """Names and indexes with dots between; a name may be written as JSON, so that it may hold anything."""
    assert wanted(path).payload == ((tuple(way), "1"),)


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", ".a", "a.", "a..b", '"', '"a', '"a"b', '"a".', '"a""b"', '"\\x"', '"\\ud800"', '"a\nb"'),
        ".".join(["x"] * 65),
    ],
)
def test_bad_paths(path: str) -> None:
    """A path that leads nowhere is refused, where it stands."""
    with pytest.raises(BadRequest, match="is no path"):
        wanted(path)
    with pytest.raises(Invalid) as caught:
        filters.from_json({PATH + path: 1}, "/filter")
    assert [fault.pointer for fault in caught.value.faults] == [f"/filter/{PATH}{path}"]


NO_OBJECTS: list[Any] = [None, [], "all", 1, True]
NO_STATUSES: list[Any] = ["", "done", [], ["DONE", "x"], [1], {}, None, 5, [[]]]
NO_NAMES: list[Any] = ["", "a b", "a\n", "é", "x" * 65, 1, None, ["a"], {}]
NO_TIMES: list[Any] = ["", "now", 5, "2027-01-15T08:00:00", None]
REFUSED: list[tuple[Any, list[str]]] = [
    *[(said, ["/filter"]) for said in NO_OBJECTS],
    *[({"status": said}, ["/filter/status"]) for said in NO_STATUSES],
    *[({"queue": said}, ["/filter/queue"]) for said in NO_NAMES],
    *[({name: None}, [f"/filter/{name}"]) for name in ("kind", "tag", "group", "created_before")],
    *[({"created_after": said}, ["/filter/created_after"]) for said in NO_TIMES],
    ({"nope": 1, "payload": 2, "a/b~": 3}, ["/filter/nope", "/filter/payload", "/filter/a~1b~0"]),
    ({"queue": "a", "limit": 5}, ["/filter/limit"]),
    ({f"payload.{number}": 1 for number in range(21)}, ["/filter"]),
]


@pytest.mark.parametrize("body, pointers", REFUSED)
def test_objects_that_are_no_filter(body: Any, pointers: list[str]) -> None:
    """422, with pointers; nothing that is not understood is left out, for then more would match."""
    with pytest.raises(Invalid) as caught:
        filters.from_json(body, "/filter")
    assert [fault.pointer for fault in caught.value.faults] == pointers
    assert (caught.value.status, caught.value.code) == (422, "validation")


def test_a_name_with_a_nul() -> None:
    """422 invalid-text."""
    with pytest.raises(InvalidText) as caught:
        filters.from_json({"tag": "a\0b"}, "/filter")
    assert [fault.pointer for fault in caught.value.faults] == ["/filter/tag"]


@pytest.mark.parametrize(
    "query",
    [
        [("queue", "a"), ("queue", "a")],
        [("created_after", TIME), ("created_after", TIME)],
        [("status", "DONE"), ("status", "")],
        [("created_before", "2027-01-15")],
        [(f"payload.{number}", "1") for number in range(21)],
    ],
)
def test_queries_that_are_no_filter(query: list[tuple[str, str]]) -> None:
    """400 bad-request."""
    with pytest.raises(BadRequest):
        filters.from_query(query)


# -- cursors

FILTERS = [
    Filter(),
    Filter(status=frozenset()),
    Filter(status=frozenset({Status.DONE})),
    Filter(status=frozenset({Status.DONE, Status.FAILED})),
    Filter(queue="a"),
    Filter(kind="a"),
    Filter(tag="a"),
    Filter(group="a"),
    Filter(created_after=1),
    Filter(created_before=1),
    Filter(payload=((("a",), "1"),)),
    Filter(payload=((("a",), '"1"'),)),
    Filter(payload=((("a", "b"), "1"),)),
    Filter(payload=((("a.b",), "1"),)),
]


@given(st.integers(0, (1 << 63) - 1))
def test_a_cursor_keeps_its_place(seq: int) -> None:
    """Of each filter."""
    for kept in FILTERS:
        assert filters.decode_cursor(filters.encode_cursor(seq, kept), kept) == seq


def test_a_cursor_is_of_one_filter() -> None:
    """With any other it is refused."""
    for kept in FILTERS:
        cursor = filters.encode_cursor(7, kept)
        for other in FILTERS:
            if other != kept:
                with pytest.raises(BadCursor):
                    filters.decode_cursor(cursor, other)


def test_the_same_filter_may_be_written_otherwise() -> None:
    """The order of its parts says nothing."""
    query = [("status", "DONE,FAILED"), ("queue", "q"), ("payload.a", "1"), ("payload.b", "2")]
    other = [("payload.b", "2"), ("queue", "q"), ("payload.a", "1"), ("status", "FAILED"), ("status", "DONE")]
    cursor = filters.encode_cursor(7, filters.from_query(query))
    assert filters.decode_cursor(cursor, filters.from_query(other)) == 7


@given(st.binary(max_size=20))
def test_no_other_bytes_are_a_cursor(raw: bytes) -> None:
    """Whatever they are."""
    with pytest.raises(BadCursor):
        filters.decode_cursor(raw.hex(), Filter())
