"""GET /queues, GET and PATCH /queues/{name}: what a queue shows, and settings that take effect at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobqueue.api import pages
from tests.api.bench import JSON, Api, served

MERGE = "application/merge-patch+json"
PLAIN = {
    "name": "q",
    "paused": False,
    "concurrency": None,
    "rate": None,
    "group": {"concurrency": None, "rate": None},
    "weights": {},
    "defaults": {},
    "retention": {"DONE": 86_400, "FAILED": 604_800, "CANCELLED": 604_800},
    "max_queued": 2_000_000,
    "push": None,
    "depth": {
        "SCHEDULED": 0, "BLOCKED": 0, "QUEUED": 0, "RUNNING": 0, "DONE": 0, "FAILED": 0, "CANCELLED": 0,
    },
    "oldest_seconds": None,
    "rates": {"submitted": 0, "finished": 0},
}  # fmt: skip
ALL: dict[str, Any] = {
    "paused": True,
    "concurrency": 3,
    "rate": {"limit": 5, "per": 0.5},
    "group": {"concurrency": 2, "rate": {"limit": 1, "per": 60}},
    "weights": {"a": 0.5, "b": 7},
    "defaults": {"max_attempts": 9, "retry": {"backoff": "list", "delays": [1, 2.5]}, "timeout": 12.5},
    "retention": {"DONE": 0, "FAILED": 1_000_000, "CANCELLED": 5},
    "max_queued": 12,
}


async def patch(api: Api, said: Any, name: str = "q", type: str = JSON) -> dict[str, Any]:
    """Change a queue; as it then is."""
    answer = await api.ask("PATCH", f"/queues/{name}", json.dumps(said).encode(), type=type)
    assert answer.status == 200, answer
    queue: dict[str, Any] = answer.json()
    return queue


async def look(api: Api, name: str = "q") -> dict[str, Any]:
    """A queue as it is."""
    answer = await api.get(f"/queues/{name}")
    assert answer.status == 200, answer
    queue: dict[str, Any] = answer.json()
    return queue


async def test_a_patch_makes_a_queue(api: Api) -> None:
    """With an empty body too; then it is there, with the defaults of the server."""
    (await api.get("/queues/q")).problem(404, "not-found")
    made = await api.ask("PATCH", "/queues/q")
    assert (made.status, made.json()) == (200, PLAIN)
    assert await look(api) == PLAIN


async def test_a_job_makes_a_queue(front: Api) -> None:
    """A queue that a job named once is known."""
    await front.submit(queue="q", delay=60)
    found = await look(front)
    assert found["depth"] == {**PLAIN["depth"], "SCHEDULED": 1}  # type: ignore[dict-item]  # known from the case
    assert (found["oldest_seconds"], found["rates"]["submitted"]) == (None, 1 / 60)


@pytest.mark.parametrize("type", [JSON, MERGE, f"{MERGE}; charset=utf-8"])
async def test_settings_are_kept_and_shown(api: Api, type: str) -> None:
    """All of them, as they were sent, in the order of the document."""
    expected = {**PLAIN, **ALL}
    assert await patch(api, ALL, type=type) == expected
    found = await look(api)
    assert (found, list(found)) == (expected, list(PLAIN))


async def test_what_a_patch_does_not_name_stays(front: Api) -> None:
    """RFC 7396: nested objects merge, member by member."""
    await patch(front, ALL)
    changed = await patch(
        front,
        {
            "concurrency": 4,
            "rate": {"limit": 6},
            "group": {"rate": {"per": 61}},
            "weights": {"c": 1},
            "defaults": {"timeout": 3},
            "retention": {"DONE": 9},
        },
    )
    assert changed == {
        **PLAIN,
        **ALL,
        "concurrency": 4,
        "rate": {"limit": 6, "per": 0.5},
        "group": {"concurrency": 2, "rate": {"limit": 1, "per": 61}},
        "weights": {"a": 0.5, "b": 7, "c": 1},
        "defaults": {**ALL["defaults"], "timeout": 3},
        "retention": {**ALL["retention"], "DONE": 9},
    }


@pytest.mark.parametrize("name", ALL)
async def test_null_gives_a_member_its_default_back(front: Api, name: str) -> None:
    """And leaves the others alone."""
    await patch(front, ALL)
    assert await patch(front, {name: None}) == {**PLAIN, **ALL, name: PLAIN[name]}


async def test_null_deep_inside_gives_that_alone_its_default_back(front: Api) -> None:
    """One weight, one retention, one cap of the groups, one default."""
    await patch(front, ALL)
    nested = {"weights": {"a": None}, "retention": {"DONE": None}, "group": {"rate": None}, "defaults": {"retry": None}}
    found = await patch(front, nested)
    assert found["weights"] == {"b": 7}
    assert found["retention"]["DONE"] == 86_400
    assert found["group"] == {"concurrency": 2, "rate": None}
    assert found["defaults"] == {"max_attempts": 9, "timeout": 12.5}


async def test_what_was_shown_may_be_sent_back(front: Api) -> None:
    """A client that reads, changes a member and writes all of it: what is only shown is not looked at."""
    await front.submit(queue="q")
    shown = await look(front)
    assert (await patch(front, {**shown, "paused": True}))["paused"] is True


async def test_a_retry_policy_merges_into_the_one_before(front: Api) -> None:
    """Of the same kind; a list needs its delays, and another kind has none."""
    await patch(front, {"defaults": {"retry": {"backoff": "linear", "initial": 3}}})
    found = await patch(front, {"defaults": {"retry": {"max": 60}}})
    assert found["defaults"]["retry"] == {"backoff": "linear", "initial": 3, "max": 60, "jitter": "full"}
    found = await patch(front, {"defaults": {"retry": {"backoff": "list", "delays": [1]}}})
    assert found["defaults"]["retry"] == {"backoff": "list", "delays": [1]}
    found = await patch(front, {"defaults": {"retry": {"backoff": "exponential"}}})
    assert found["defaults"]["retry"] == (await front.submit())["retry"]


async def test_defaults_are_what_a_job_gets(front: Api) -> None:
    """From the job, then its handler, then the queue, then the server; the answer shows what it got."""
    await patch(front, {"defaults": {"timeout": 7, "max_attempts": 2}}, "default")
    silent, said = await front.submit("echo"), await front.submit("echo", timeout=9)
    chatty = await front.submit("chatty")
    assert [(job["timeout"], job["max_attempts"]) for job in (silent, said, chatty)] == [(7, 2), (9, 2), (60, 8)]
    line = (await front.stream({"kind": "echo"}))[0]
    assert (await front.job(line["id"]))["timeout"] == 7


async def test_the_origins_jobs_have_one_try_whatever_the_queue_says(front: Api) -> None:
    """POST /submit keeps its contract."""
    await patch(front, {"defaults": {"timeout": 7, "max_attempts": 2}}, "default")
    answer = await front.post("/submit", {"payload": "x"})
    job = await front.job(answer.json()["job_id"])
    assert (job["max_attempts"], job["timeout"]) == (1, 7)


async def test_a_paused_queue_takes_jobs_and_starts_none(front: Api) -> None:
    """Until it is no longer paused."""
    await patch(front, {"paused": True}, "default")
    job = await front.submit()
    await front.bench.advance(60)
    found = await look(front, "default")
    assert (found["depth"]["QUEUED"], found["oldest_seconds"]) == (1, 60)
    await patch(front, {"paused": False}, "default")
    assert (await front.ended(job["id"]))["status"] == "DONE"
    found = await look(front, "default")
    assert (found["depth"]["DONE"], found["oldest_seconds"], found["rates"]["finished"]) == (1, None, 1 / 60)


async def test_as_many_run_as_may(front: Api) -> None:
    """Two workers, one slot: the second job starts when the first has ended."""
    await patch(front, {"concurrency": 1}, "default")
    for _ in range(2):
        await front.running()
    assert (await look(front, "default"))["depth"]["RUNNING"] == 1
    await patch(front, {"concurrency": 2}, "default")
    await front.bench.advance(0)
    assert (await look(front, "default"))["depth"]["RUNNING"] == 2


async def test_a_full_queue_refuses(front: Api) -> None:
    """429, before the server's own bound is reached."""
    await patch(front, {"max_queued": 1, "paused": True})
    await front.submit(queue="q")
    (await front.post("/jobs", {"kind": "echo", "queue": "q"})).problem(429, "queue-full")


async def test_kept_for_no_time(front: Api) -> None:
    """Who waits for the end still hears of it; then the job is gone."""
    await patch(front, {"retention": {"DONE": 0}}, "default")
    answer = await front.post("/jobs", {"kind": "echo", "payload": 7}, prefer="wait=10")
    assert (answer.status, answer.json()["result"]) == (200, 7)
    await front.bench.advance(1)
    (await front.get(f"/jobs/{answer.json()['id']}")).problem(410, "removed")


async def test_a_list_of_all_queues(api: Api) -> None:
    """By name, each as it shows itself."""
    await patch(api, {}, "b")
    await api.submit(queue="a", delay=5)
    found = (await api.get("/queues")).json()
    assert [queue["name"] for queue in found["items"]] == ["a", "b"]
    assert found["items"][1] == {**PLAIN, "name": "b"}
    assert found["next"] is None


async def test_a_list_in_pages(front: Api) -> None:
    """`limit`, a cursor and a Link, to the end."""
    for name in "abcde":
        await patch(front, {}, name)
    target, names = "/queues?limit=2", []
    while target:
        page = await front.get(target)
        names += [queue["name"] for queue in page.json()["items"]]
        link = page.headers.get("link", "")
        assert (page.json()["next"] is None) == (not link)
        target = link.removeprefix("<").partition(">")[0]
    assert names == list("abcde")


async def test_a_page_is_cut_at_its_size(front: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """But never to nothing."""
    monkeypatch.setattr(pages, "ANSWER_MOST_BYTES", 10)
    for name in "ab":
        await patch(front, {}, name)
    page = (await front.get("/queues")).json()
    assert [queue["name"] for queue in page["items"]] == ["a"]
    assert page["next"] is not None


async def test_the_servers_own_bounds_are_shown() -> None:
    """`--max-queued` is what a queue may hold that says nothing."""
    async with served(max_queued=77) as api:
        assert (await patch(api, {}))["max_queued"] == 77
