"""GET /jobs/{id}: the job, its end waited for, some of its fields, and whether the client has it already."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.api.bench import Api
from tests.api.doors import Answer

UNKNOWN = "01920000-0000-7000-8000-00000000ffff"


async def test_a_job_is_shown_while_it_runs(api: Api) -> None:
    """The job: RUNNING, since when, where, its attempt and epoch."""
    job = await api.job((await api.running())["id"])
    shown = {name: job[name] for name in ("status", "attempt", "epoch", "started_at", "finished_at", "result")}
    assert shown == {
        "status": "RUNNING",
        "attempt": 1,
        "epoch": 1,
        "started_at": "2027-01-15T08:00:00.000000Z",
        "finished_at": None,
        "result": None,
    }
    assert job["worker"] in ("local-1", "local-2")


async def test_a_job_is_shown_with_its_result(api: Api) -> None:
    """Any JSON = the result."""
    job = await api.done(payload={"a": [1, None]})
    assert (job["status"], job["reason"], job["result"], job["error"]) == ("DONE", None, {"a": [1, None]}, None)
    assert job["finished_at"] == "2027-01-15T08:00:00.000000Z"


async def test_an_id_is_matched_without_case(front: Api) -> None:
    """RFC 9562: upper case is read too."""
    job = await front.park()
    assert (await front.get(f"/jobs/{job['id'].upper()}")).json() == job


@pytest.mark.parametrize("id", [UNKNOWN, "x", UNKNOWN[:-1], UNKNOWN.replace("-", ""), f"%7B{UNKNOWN}%7D", "%00", "%ff"])
async def test_an_unknown_job_is_404(api: Api, id: str) -> None:
    """Unknown job: 404, whether its id could be one or not."""
    for query in ("", "?wait=5", "?fields=id"):
        (await api.get(f"/jobs/{id}{query}")).problem(404, "not-found")


@pytest.mark.parametrize("kind, seconds", [("echo", 86_400), ("fatal", 604_800)])
async def test_a_removed_job_is_410(api: Api, kind: str, seconds: float) -> None:
    """removed: by retention, DONE after 24 h, FAILED after 7 days."""
    job = await api.done(kind)
    await api.bench.advance(seconds - 1)
    assert (await api.job(job["id"]))["id"] == job["id"]
    await api.bench.advance(2)
    (await api.get(f"/jobs/{job['id']}")).problem(410, "removed")
    for path in ("/attempts", "/logs"):
        (await api.get(f"/jobs/{job['id']}{path}")).problem(410, "removed")
    for command in ("cancel", "retry"):
        (await api.act(job["id"], command)).problem(410, "removed")


# -- ?wait=


async def waited(api: Api, target: str, during: float, **headers: str) -> tuple[Answer, float]:
    """The answer to a request that waits, and how much time had passed by then in steps of `during`."""
    answers: list[Answer] = []
    start = trio.current_time()

    async def ask() -> None:
        answers.append(await api.get(target, **headers))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.02)
        while not answers:
            await api.bench.advance(during)
    return answers[0], trio.current_time() - start


async def test_a_wait_lasts_until_the_end(api: Api) -> None:
    """`?wait=N` polls until it has ended."""
    job = await api.running(payload=7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.ended, job["id"])
        await trio.testing.wait_all_tasks_blocked(0.02)
        api.bench.gate.set()
    assert (await api.job(job["id"]))["result"] == 7


async def test_a_wait_that_runs_out_answers_the_job_as_it_is(api: Api) -> None:
    """A wait that runs out answers the job as it is: 200."""
    job = await api.park()
    answer, seconds = await waited(api, f"/jobs/{job['id']}?wait=5", 2.5)
    assert (answer.status, answer.json(), seconds) == (200, job, 5)


@pytest.mark.parametrize("wait", ["61", "3600", "99999999999999999999999999"])
async def test_a_wait_is_at_most_a_minute(front: Api, wait: str) -> None:
    """`?wait=N` (at most 60): numbers above a limit are clamped."""
    job = await front.park()
    assert (await waited(front, f"/jobs/{job['id']}?wait={wait}", 20))[1] == 60


async def test_no_wait_is_no_wait(front: Api) -> None:
    """wait=0."""
    job = await front.park()
    assert (await front.get(f"/jobs/{job['id']}?wait=0")).json() == job


@pytest.mark.parametrize("wait", ["", "x", "-1", "1.5", "1e3", "+1", "%20", "%C2%B2", "5;"])
async def test_a_malformed_wait_is_400(front: Api, wait: str) -> None:
    """A malformed query is 400."""
    (await front.get(f"/jobs/{UNKNOWN}?wait={wait}")).problem(400, "bad-request")


@pytest.mark.parametrize("query", ["wait", "&", "wait=1&&", "=%ff", "wait=%C3"])
async def test_a_query_that_cannot_be_read_is_400(api: Api, query: str) -> None:
    """A malformed query is 400."""
    (await api.get(f"/jobs/{UNKNOWN}?{query}")).problem(400, "bad-request")


async def test_a_wait_meets_a_drain(api: Api) -> None:
    """A wait that meets a drain answers the job as it is: 200, at once; so does one that begins later."""
    job = await api.running()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answer = await api.get(f"/jobs/{job['id']}?wait=60")
            assert (answer.status, answer.json()["status"]) == (200, "RUNNING")

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await api.drain()
    await ask()


async def test_a_preference_to_wait_is_one_here_too(front: Api) -> None:
    """`Prefer: wait` is `?wait`; where both stand the query counts."""
    job = await front.park()
    assert (await waited(front, f"/jobs/{job['id']}", 1, prefer="wait=3"))[1] == 3
    assert (await waited(front, f"/jobs/{job['id']}?wait=2", 1, prefer="wait=3"))[1] == 2


# -- ?fields=


async def test_only_the_fields_that_are_named_are_shown(api: Api) -> None:
    """`?fields=`."""
    job = await api.park(payload=[1])
    shown = (await api.get(f"/jobs/{job['id']}?fields=payload,id")).json()
    assert shown == {"id": job["id"], "payload": [1]}
    assert (await api.get(f"/jobs/{job['id']}?fields=id&fields=status,")).json().keys() == {"id", "status"}


@pytest.mark.parametrize("fields", ["nope", "id,nope", "ID", "payload.to", "*"])
async def test_a_field_that_is_none_is_400(front: Api, fields: str) -> None:
    """A bad value in a query is 400."""
    job = await front.park()
    (await front.get(f"/jobs/{job['id']}?fields={fields}")).problem(400, "bad-request")


# -- ETag


async def test_a_client_that_has_the_job_as_it_is_gets_304(api: Api) -> None:
    """ETag / If-None-Match."""
    job = await api.running()
    target = f"/jobs/{job['id']}"
    first = await api.get(target)
    etag = first.headers["etag"]
    assert etag.startswith('"')
    for match in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = await api.get(target, if_none_match=match)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["cache-control"] == first.headers["cache-control"]
    api.bench.gate.set()
    await api.ended(job["id"])
    changed = await api.get(target, if_none_match=etag)
    assert changed.status == 200
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize("match", ['"x"', "x", "", '"'])
async def test_another_tag_does_not_match(front: Api, match: str) -> None:
    """What is not known is sent."""
    job = await front.park()
    assert (await front.get(f"/jobs/{job['id']}", if_none_match=match)).status == 200


async def test_a_tag_is_one_of_the_fields_that_are_shown(front: Api) -> None:
    """Another representation has another tag."""
    target = f"/jobs/{(await front.park())['id']}"
    whole, part = await front.get(target), await front.get(f"{target}?fields=id")
    assert whole.headers["etag"] != part.headers["etag"]
    assert (await front.get(f"{target}?fields=id", if_none_match=part.headers["etag"])).status == 304


async def test_the_tag_is_the_same_as_long_as_the_job_is(front: Api) -> None:
    """The same job, the same tag, whenever it is asked for."""
    target = f"/jobs/{(await front.park())['id']}"
    before = (await front.get(target)).headers["etag"]
    await front.bench.advance(3)
    assert (await front.get(target)).headers["etag"] == before


async def test_a_job_is_never_taken_from_a_cache_unasked(front: Api) -> None:
    """Jobs change."""
    assert (await front.get(f"/jobs/{(await front.park())['id']}")).headers["cache-control"] == "no-cache"
