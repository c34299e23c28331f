"""POST /clock/advance: through all doors, what it takes and what it answers, and that jobs then look as they should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.api.bench import JSON, Api, served
from tests.api.doors import NAMES

START = "2027-01-15T08:00:00.000000Z"
DAY = 86_400
FIXED = {"backoff": "list", "delays": [60]}


@pytest.fixture(params=NAMES)
async def still(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """A server with a manual clock behind each door."""
    async with served(request.param, clock="manual") as client:
        yield client


@pytest.fixture
async def one(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """One that is called in memory."""
    async with served(clock="manual") as client:
        yield client


async def advance(api: Api, seconds: float) -> str:
    """Let time pass; where the clock then is."""
    answer = await api.post("/clock/advance", {"seconds": seconds})
    assert answer.status == 200, answer
    said: dict[str, str] = answer.json()
    assert said.keys() == {"now"}
    return said["now"]


def at(minute: int, second: float = 0) -> str:
    """A time of the first hour."""
    return f"2027-01-15T08:{minute:02}:{second:09.6f}Z"


def times(job: dict[str, Any]) -> tuple[str, str | None, str | None]:
    return job["status"], job["started_at"], job["finished_at"]


# -- what is asked, and answered


async def test_it_says_how_late_it_is(still: Api) -> None:
    """RFC 3339, to the microsecond, and by no more than was asked for."""
    assert await advance(still, 0) == START
    assert await advance(still, 1.5) == at(0, 1.5)
    assert await advance(still, 0.000_001) == at(0, 1.500_001)
    assert await advance(still, 3_653 * DAY) == "2037-01-15T08:00:01.500001Z"


@pytest.mark.parametrize("seconds", [0, 5, 1e12, "x"])
async def test_by_the_systems_clock_there_is_no_such_thing(api: Api, seconds: object) -> None:
    """404, whatever is sent."""
    (await api.post("/clock/advance", {"seconds": seconds})).problem(404, "not-found")
    (await api.ask("POST", "/clock/advance", b"{", type=JSON)).problem(404, "not-found")
    assert "clock" not in (await api.get("/readyz")).json()


@pytest.mark.parametrize("seconds", [-1, -0.000_1, 3_653 * DAY + 1, 1e12, 10**30])
async def test_a_number_out_of_range(still: Api, seconds: float) -> None:
    """0 to 10 years: else 422, and nothing moves."""
    answer = await still.post("/clock/advance", {"seconds": seconds})
    assert answer.pointers(422, "out-of-range") == ["/seconds"]
    assert await advance(still, 0) == START


@pytest.mark.parametrize(
    "said, pointer",
    [
        *(({"seconds": said}, "/seconds") for said in ("5", None, True, [5], {"n": 5})),
        ({}, "/seconds"),
        ({"seconds": 5, "minutes": 1}, "/minutes"),
        ({"second": 5}, "/second"),
        ([], ""),
        (5, ""),
    ],
)
async def test_what_is_no_advance(still: Api, said: object, pointer: str) -> None:
    """Wrong types, unknown and missing fields: 422 with a pointer."""
    assert (await still.post("/clock/advance", said)).pointers(422, "validation") == [pointer]


async def test_what_is_no_json(still: Api) -> None:
    """As for every body."""
    (await still.ask("POST", "/clock/advance", b"{", type=JSON)).problem(400, "invalid-json")
    (await still.ask("POST", "/clock/advance", b'{"seconds": NaN}', type=JSON)).problem(400, "invalid-json")
    (await still.ask("POST", "/clock/advance", b'{"seconds": 1}')).problem(415, "unsupported-media-type")
    (await still.ask("POST", "/clock/advance", b" " * 9_999, type=JSON)).problem(413, "body-too-large")


async def test_the_clock_ends_before_the_dates_do(one: Api) -> None:
    """Ten years a call, and no further than the year 9000."""
    one.bench.manual.move(221_845_392_000_000_000 - 5_000_000)  # type: ignore[union-attr]  # it has one here
    assert await advance(one, 5) == "9000-01-01T00:00:00.000000Z"
    (await one.post("/clock/advance", {"seconds": 0.1})).problem(422, "out-of-range")


async def test_a_foreign_page_cannot_move_it(one: Api) -> None:
    """It is a write like any other."""
    answer = await one.post("/clock/advance", {"seconds": 5}, origin="http://evil.example")
    answer.problem(403, "cross-site")


async def test_the_server_says_that_its_clock_is_manual(still: Api) -> None:
    """So that nobody wonders why nothing happens."""
    assert (await still.get("/readyz")).json()["clock"] == "manual"


async def test_a_drain_refuses_it(one: Api) -> None:
    """503, as for all that is new."""
    await one.drain()
    (await one.post("/clock/advance", {"seconds": 5})).problem(503, "draining")


# -- what then has happened


async def test_what_is_due_comes_in_order(still: Api) -> None:
    """Two delayed jobs and a retry between them: each at its moment, as their histories and results tell."""
    last = await still.submit(delay=90.5)
    first = await still.submit(delay=10)
    again = await still.submit("fail", retry=FIXED, max_attempts=2)
    assert await advance(still, 100) == at(1, 40)
    assert times(await still.job(first["id"])) == ("DONE", at(0, 10), at(0, 10))
    assert times(await still.job(last["id"])) == ("DONE", at(1, 30.5), at(1, 30.5))
    assert times(await still.job(again["id"])) == ("FAILED", at(1), at(1))
    history = (await still.get(f"/jobs/{again['id']}/attempts")).json()["items"]
    assert [item["started_at"] for item in history] == [at(1), at(0)]


async def test_simulate_takes_two_seconds_of_it(still: Api) -> None:
    """Of job time, and none of the client's."""
    job = await still.submit("simulate")
    await advance(still, 1.9)
    assert (await still.job(job["id"]))["status"] == "RUNNING"
    await advance(still, 0.1)
    assert times(await still.job(job["id"])) == ("DONE", at(0), at(0, 2))


async def test_a_timeout_is_a_moment(still: Api) -> None:
    """FAILED `timeout`, exactly when the time was over."""
    job = await still.submit("simulate", timeout=1.25, max_attempts=1)
    await advance(still, 60)
    ended = await still.job(job["id"])
    assert (times(ended), ended["reason"]) == (("FAILED", at(0), at(0, 1.25)), "timeout")


async def test_a_job_expires_exactly(still: Api) -> None:
    """And one that was submitted later goes by the clock as it is then."""
    waiting = await still.park(expires_at=at(2))
    await advance(still, 180)
    ended = await still.job(waiting["id"])
    assert (times(ended), ended["reason"]) == (("FAILED", None, at(2)), "expired")
    late = await still.post("/jobs", {"kind": "echo", "expires_at": at(2)})
    assert late.status == 422
    assert (await still.park())["created_at"] == at(3)


async def test_ended_jobs_are_removed_when_their_time_is_over(still: Api) -> None:
    """410 after a day, and a week later nobody knows them."""
    job = await still.submit()
    await advance(still, DAY - 1)
    assert (await still.job(job["id"]))["status"] == "DONE"
    await advance(still, 1)
    (await still.get(f"/jobs/{job['id']}")).problem(410, "removed")


async def test_waits_of_clients_go_by_their_own_time(one: Api, nursery: trio.Nursery) -> None:
    """`?wait=` ends by the real clock, though the other stands."""
    job = await one.submit(delay=60)
    answers = waiting(one, job, nursery, seconds=5)
    await one.bench.advance(4.9)
    assert answers == []
    await one.bench.advance(0.2)
    assert [answer["status"] for answer in answers] == ["SCHEDULED"]
    assert await advance(one, 0) == START


async def test_who_waits_is_told_when_time_brings_the_end(one: Api, nursery: trio.Nursery) -> None:
    """A wait that began before the advance is answered by it."""
    job = await one.submit("simulate", delay=60)
    answers = waiting(one, job, nursery, seconds=60)
    await advance(one, 62)
    await trio.testing.wait_all_tasks_blocked()
    assert [times(answer) for answer in answers] == [("DONE", at(1), at(1, 2))]


def waiting(api: Api, job: dict[str, Any], nursery: trio.Nursery, *, seconds: int) -> list[dict[str, Any]]:
    """Begin to wait for a job; where its answer will be."""
    answers = []

    async def wait() -> None:
        answers.append((await api.get(f"/jobs/{job['id']}?wait={seconds}")).json())

    nursery.start_soon(wait)
    return answers
