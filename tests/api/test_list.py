"""GET /jobs: newest first, by filters, in pages that stay right while jobs come and go."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.bench import Api, served
from tests.api.doors import Answer

LISTED_NOT = {"payload", "result"}


async def page(api: Api, query: str = "") -> dict[str, Any]:
    answer = await api.get(f"/jobs{query}")
    assert answer.status == 200, answer
    said: dict[str, Any] = answer.json()
    assert said.keys() == {"items", "next"}
    return said


async def payloads(api: Api, query: str) -> list[Any]:
    sep = "&" if query else "?"
    return [item["payload"] for item in (await page(api, f"{query}{sep}fields=payload"))["items"]]


async def many(api: Api, count: int, **fields: Any) -> list[str]:
    said = [{"kind": "echo", "queue": "parked", "payload": number, **fields} for number in range(count)]
    return [job["id"] for job in (await api.post("/jobs", said)).json()["jobs"]]


def link(answer: Answer) -> str:
    """The target of the only link, which is to the next page."""
    target, _, relation = answer.headers["link"].partition(">; ")
    assert relation == 'rel="next"'
    return target.removeprefix("<")


async def test_a_server_without_jobs_has_an_empty_list(api: Api) -> None:
    """{"items", "next": cursor or null}."""
    assert await page(api) == {"items": [], "next": None}


async def test_jobs_are_listed_newest_first(api: Api) -> None:
    """Lists are newest first."""
    assert await payloads(api, "") == []
    await many(api, 5)
    assert await payloads(api, "") == [4, 3, 2, 1, 0]


async def test_items_are_jobs_without_their_wide_fields(api: Api) -> None:
    """List items leave out payload, result and traceback."""
    job = await api.done("fatal", payload=[1])
    (item,) = (await page(api))["items"]
    assert item == {
        name: value if name != "error" else {"type": "Fatal", "message": "never"}
        for name, value in job.items()
        if name not in LISTED_NOT
    }
    assert "Traceback" in job["error"]["traceback"]


async def test_wide_fields_are_listed_when_they_are_named(front: Api) -> None:
    """Unless `?fields=` names them."""
    job = await front.done("fatal", payload=[1])
    (item,) = (await page(front, "?fields=id,payload,result,error"))["items"]
    assert item == {"id": job["id"], "payload": [1], "result": None, "error": job["error"]}


async def test_a_page_goes_on_where_its_cursor_says(api: Api) -> None:
    """`limit`, opaque `cursor`, and a Link to the next page that keeps the filters."""
    await many(api, 7)
    target = "/jobs?limit=3&queue=parked&fields=payload"
    pages = []
    while target:
        answer = await api.get(target)
        said = answer.json()
        pages.append([item["payload"] for item in said["items"]])
        target = link(answer) if said["next"] else ""
        assert ("link" in answer.headers) == bool(said["next"])
    assert pages == [[6, 5, 4], [3, 2, 1], [0]]


async def test_the_last_page_says_so_even_when_it_is_full(front: Api) -> None:
    """No page is empty for nothing."""
    await many(front, 4)
    cursor = (await page(front, "?limit=2"))["next"]
    assert (await page(front, f"?limit=2&cursor={cursor}"))["next"] is None


async def test_a_page_has_fifty_items_unless_told_otherwise(front: Api) -> None:
    """`limit` (50, at most 200)."""
    await many(front, 60)
    assert len((await page(front))["items"]) == 50


@pytest.mark.parametrize("limit", ["200", "201", "1000000000", "99999999999999999999999999", f"{'0' * 30}200"])
async def test_a_page_has_two_hundred_items_at_most(front: Api, limit: str) -> None:
    """Numbers above a limit are clamped."""
    await many(front, 210)
    assert len((await page(front, f"?limit={limit}"))["items"]) == 200


async def test_pages_stay_right_while_jobs_come_and_go(api: Api) -> None:
    """What comes later is on no later page, and what went before it moves nothing."""
    ids = await many(api, 6)
    first = await page(api, "?limit=2&fields=id")
    await many(api, 3)
    await api.act(ids[1], "cancel")
    second = await page(api, f"?limit=2&fields=id&cursor={first['next']}")
    third = await page(api, f"?limit=2&fields=id&cursor={second['next']}")
    assert [item["id"] for said in (first, second, third) for item in said["items"]] == ids[::-1]


async def test_pages_stay_right_when_the_job_at_their_edge_is_removed(front: Api) -> None:
    """A cursor is a place, not a job."""
    done = [(await front.done(payload=number))["id"] for number in range(3)]
    parked = await many(front, 2)
    cursor = (await page(front, "?limit=3"))["next"]
    await front.bench.advance(86_401)
    assert (await page(front, f"?cursor={cursor}"))["items"] == []
    (await front.get(f"/jobs/{done[2]}")).problem(410, "removed")
    assert [item["id"] for item in (await page(front))["items"]] == parked[::-1]


def tampered() -> list[str]:
    good = base64.urlsafe_b64decode("AAAAAAAAAAV" + "=")
    return [
        "",
        "x",
        "AAAA",
        "a" * 20,
        "%C3%A9",
        "!" * 20,
        "null",
        "-1",
        base64.urlsafe_b64encode(good + b"1234567").decode(),
    ]


@pytest.mark.parametrize("cursor", tampered())
async def test_a_cursor_of_ones_own_making_is_400(front: Api, cursor: str) -> None:
    """Cursor tampered with: 400 cursor."""
    (await front.get(f"/jobs?cursor={cursor}")).problem(400, "cursor")


async def test_a_cursor_that_was_changed_is_400(api: Api) -> None:
    """Each character of it counts."""
    await many(api, 3)
    cursor = (await page(api, "?limit=1"))["next"]
    assert urlsplit(cursor).path == cursor  # it needs no escapes
    for at, character in enumerate(cursor):
        other = "B" if character == "A" else "A"
        (await api.get(f"/jobs?cursor={cursor[:at]}{other}{cursor[at + 1 :]}")).problem(400, "cursor")
    (await api.get(f"/jobs?cursor={cursor}A")).problem(400, "cursor")


async def test_jobs_are_filtered_by_what_they_are(api: Api) -> None:
    """Filters status, queue, kind, tag, group, created_after, created_before."""
    await api.submit("echo", queue="a", payload=1, tags=["x", "y"], group="g")
    await api.bench.advance(10)
    await api.submit("fail", queue="b", payload=2, tags=["y"], delay=60)
    await api.bench.advance(10)
    await api.submit("fail", queue="a", payload=3, group="h")
    expected = {
        "queue=a": [3, 1],
        "kind=fail": [3, 2],
        "tag=y": [2, 1],
        "tag=x": [1],
        "group=g": [1],
        "status=SCHEDULED": [2],
        "status=SCHEDULED,QUEUED": [3, 2, 1],
        "status=QUEUED&status=SCHEDULED": [3, 2, 1],
        "status=DONE": [],
        "queue=a&kind=fail": [3],
        "queue=nobody": [],
        "created_after=2027-01-15T08:00:10Z": [3, 2],
        "created_before=2027-01-15T08:00:10Z": [1],
        "created_after=2027-01-15T10:00:05%2B02:00&created_before=2027-01-15T08:00:15Z": [2],
        "created_after=2027-01-15T10:00:05+02:00": [3, 2],
    }
    assert {query: await payloads(api, f"?{query}") for query in expected} == expected


async def test_a_filter_holds_on_every_page(front: Api) -> None:
    """A page is as full as the filter lets it be."""
    for number in range(9):
        await front.submit(queue="odd" if number % 2 else "even", payload=number)
    first = await page(front, "?queue=odd&limit=3&fields=payload")
    second = await page(front, f"?queue=odd&limit=3&fields=payload&cursor={first['next']}")
    assert [item["payload"] for item in first["items"] + second["items"]] == [7, 5, 3, 1]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1.5",
            "status=",
            "status=done",
            "status=QUEUED,",
            "status=X",
        ),
        *(
            "queue=",
            "queue=a b",
            "queue=a%20b",
            "queue=a%0A",
            "queue=%00",
            "queue=a&queue=b",
            "kind=%C3%A9",
            "tag=",
            "group=*",
        ),
        *("created_after=", "created_after=now", "created_after=2027-01-15", "created_before=2027-01-15T08:00:10"),
        *("fields=nope", "unknown=1", "payload=x", "Status=QUEUED", "status", "&", "a=%ff", "=1", "offset=5"),
        "&".join(["tag=a"] * 101),
    ],
)
async def test_a_query_that_cannot_be_answered_is_400(front: Api, query: str) -> None:
    """A malformed query is 400: a bad filter value too, and a filter that is none."""
    (await front.get(f"/jobs?{query}")).problem(400, "bad-request")


async def test_a_bad_filter_is_400_behind_every_door(api: Api) -> None:
    """The same, by all ways in."""
    (await api.get("/jobs?nope=1")).problem(400, "bad-request")
    (await api.get("/jobs?status=done")).problem(400, "bad-request")


async def test_a_page_stops_at_eight_mebibytes_but_never_at_nothing() -> None:
    """A page stops at 8 MiB (at least one), and the next goes on from there."""
    async with served(max_body=64 << 20) as api:
        for number in range(4):
            await api.park(payload=f"{number}" * (3 << 20))
        await api.park(payload="4" * (9 << 20))
        seen, query = [], "?fields=payload"
        while query:
            said = await page(api, query)
            seen.append([item["payload"][0] for item in said["items"]])
            query = f"?fields=payload&cursor={said['next']}" if said["next"] else ""
    assert seen == [["4"], ["3", "2"], ["1", "0"]]


# -- payloads


async def test_jobs_are_filtered_by_what_their_payloads_hold(api: Api) -> None:
    """payload.PATH=value: names and indexes; JSON if it can be read so, else a string; several are ANDed."""
    first: dict[str, Any] = {
        "to": "a@example.org",
        "user": {"id": 7},
        "items": [{"sku": "x"}],
        "n": 1,
        "é": "ü",
        "a.b": True,
    }
    second: dict[str, Any] = {"to": "b c+d", "user": {"id": "7"}, "items": [{"sku": "y"}, {"sku": "x"}], "n": "1"}
    for number, payload in enumerate([first, second], 1):
        await api.submit("echo", queue="parked", payload=payload | {"number": number})
    expected = {
        "payload.to=a@example.org": [1],
        "payload.to=b+c%2Bd": [2],
        "payload.user.id=7": [1],
        "payload.user.id=%227%22": [2],
        "payload.items.0.sku=x": [1],
        "payload.items.1.sku=x": [2],
        "payload.items.1.sku=x&payload.user.id=7": [],
        "payload.n=1": [1],
        "payload.n=1.0": [1],
        "payload.n=true": [],
        "payload.%C3%A9=%C3%BC": [1],
        "payload.%22a.b%22=true": [1],
        "payload.items=%5B%7B%22sku%22:%22x%22%7D%5D": [1],
        "payload.absent=null": [],
        "payload.number=2&queue=parked&status=QUEUED": [2],
    }
    found = {
        query: [item["payload"]["number"] for item in (await page(api, f"?{query}&fields=payload"))["items"]]
        for query in expected
    }
    assert found == expected


@pytest.mark.parametrize("path", ["", ".", "a.", "a..b", "%22a", "%22a%22b"])
async def test_a_path_that_is_none_is_400(front: Api, path: str) -> None:
    """A bad path is a bad filter."""
    (await front.get(f"/jobs?payload.{path}=1")).problem(400, "bad-request")


async def test_a_page_looks_into_ten_thousand_payloads() -> None:
    """Then it gives a cursor, however little it found."""
    async with served(max_body=1 << 20) as api:
        for start in range(0, 10_050, 1_005):
            said = [{"kind": "echo", "queue": "parked", "payload": {"n": start + n}} for n in range(1_000)]
            said += [{"kind": "echo", "queue": "other", "payload": {"n": start + 1_000 + n}} for n in range(5)]
            for part in (said[:500], said[500:]):
                assert (await api.post("/jobs", part)).status == 201
        answer = await api.get("/jobs?payload.n=0&fields=payload&limit=1")
        said = answer.json()
        assert said["items"] == []
        answer = await api.get(link(answer))
        assert answer.json() == {"items": [{"payload": {"n": 0}}], "next": None}
        assert len((await page(api, "?payload.n=0&created_after=2027-01-15T00:00:00Z&queue=other"))["items"]) == 0
        assert (await page(api, "?payload.n=1000&queue=other&fields=payload"))["items"] == [{"payload": {"n": 1000}}]


# -- a cursor and its filter


async def test_a_cursor_goes_on_with_its_own_filter_only(front: Api) -> None:
    """With another it is 400 cursor; how many a page has, and with which fields, may change."""
    await many(front, 5)
    cursor = (await page(front, "?queue=parked&limit=2"))["next"]
    for query in ("", "queue=other&", "queue=parked&kind=echo&", "status=QUEUED&", "queue=parked&payload.a=1&"):
        (await front.get(f"/jobs?{query}cursor={cursor}")).problem(400, "cursor")
    rest = await page(front, f"?cursor={cursor}&queue=parked&limit=9&fields=payload")
    assert [item["payload"] for item in rest["items"]] == [2, 1, 0]


async def test_the_link_keeps_the_filter_to_the_letter(front: Api) -> None:
    """Whatever needed an escape needs it again."""
    for _ in range(2):
        await front.park(payload={"a.b": "x&y=z+ é"})
    answer = await front.get("/jobs?payload.%22a.b%22=x%26y%3Dz%2B+%C3%A9&limit=1&status=QUEUED,RUNNING")
    assert len(answer.json()["items"]) == 1
    answer = await front.get(link(answer))
    assert (len(answer.json()["items"]), answer.json()["next"]) == (1, None)


async def test_wide_fields_cost_only_who_names_them(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked for payloads, results and tracebacks only where they are shown."""
    asked = []
    real = front.store.page

    async def spy(*args: Any, wide: bool = True) -> Any:
        asked.append(wide)
        return await real(*args, wide=wide)

    monkeypatch.setattr(front.store, "page", spy)
    await front.park()
    for query in ("", "?fields=id,status", "?fields=progress", "?fields=payload", "?fields=id,result", "?fields=error"):
        await page(front, query)
    assert asked == [False, False, False, True, True, True]
