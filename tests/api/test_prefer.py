"""POST /jobs with `Prefer: wait=N`: the ended job if it ends in time, else the job as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
import trio.testing

from jobqueue.api.front import Front
from jobqueue.errors import Overloaded
from jobqueue.mailbox import Pending
from tests.api.bench import Api
from tests.api.doors import Answer, MemoryDoor

SLOW = {"kind": "slow", "payload": 1}


async def preferring(api: Api, prefer: str, steps: Sequence[float] = (), said: object = SLOW) -> tuple[Answer, float]:
    """The answer, and how much time had passed by then in these steps."""
    answers: list[Answer] = []
    start = trio.current_time()

    async def ask() -> None:
        answers.append(await api.post("/jobs", said, prefer=prefer))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.02)
        for step in steps:
            assert not answers
            await api.bench.advance(step)
    return answers[0], trio.current_time() - start


async def test_a_job_that_ends_in_time_is_answered_ended_with_200(api: Api) -> None:
    """Answers 200 with the ended job if it ends within N s; `Preference-Applied`."""
    answer, _ = await preferring(api, "wait=5", said={"kind": "echo", "payload": 3})
    job = answer.json()
    assert (answer.status, job["status"], job["result"]) == (200, "DONE", 3)
    assert answer.headers["preference-applied"] == "wait=5"
    assert answer.headers["location"] == f"/jobs/{job['id']}"


async def test_a_job_that_fails_in_time_has_ended_too(front: Api) -> None:
    """Ended is ended."""
    answer, _ = await preferring(front, "wait=5", said={"kind": "fatal"})
    assert (answer.status, answer.json()["status"]) == (200, "FAILED")


async def test_a_job_that_does_not_is_answered_as_it_is_with_202(api: Api) -> None:
    """Else 202 with the job."""
    answer, seconds = await preferring(api, "wait=5", [4, 1])
    assert (answer.status, answer.json()["status"], seconds) == (202, "RUNNING", 5)
    assert answer.headers["preference-applied"] == "wait=5"


@pytest.mark.parametrize("prefer", ["wait=61", "wait=600", "wait=99999999999999999999999999999"])
async def test_a_wait_is_at_most_a_minute(front: Api, prefer: str) -> None:
    """Prefer numbers above a limit are clamped, and the answer says to what."""
    answer, seconds = await preferring(front, prefer, [59, 1])
    assert (answer.status, answer.headers["preference-applied"], seconds) == (202, "wait=60", 60)


@pytest.mark.parametrize(
    "prefer",
    [
        *(
            "WAIT=5",
            "respond-async, wait=5",
            "wait=5, wait=9",
            'wait="5"',
            "wait=5; x=y",
            " wait = 5 ",
            "wait=x, wait=5",
        ),
        "handling=strict,wait=5",
    ],
)
async def test_a_preference_is_read_as_rfc_7240_has_it(front: Api, prefer: str) -> None:
    """Names without case, others beside it, parameters; of two the first."""
    answer, seconds = await preferring(front, prefer, [4, 1])
    assert (answer.headers["preference-applied"], seconds) == ("wait=5", 5)


@pytest.mark.parametrize(
    "prefer", ["", "wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "respond-async", ",;=", "wait=é"]
)
async def test_a_malformed_preference_is_ignored(api: Api, prefer: str) -> None:
    """A malformed Prefer is ignored: 201 at once."""
    answer, _ = await preferring(api, prefer)
    assert answer.status == 201
    assert "preference-applied" not in answer.headers


async def test_a_wait_of_nothing_answers_at_once(front: Api) -> None:
    """wait=0: the job has not ended."""
    answer, _ = await preferring(front, "wait=0")
    assert (answer.status, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_a_wait_meets_a_drain(api: Api) -> None:
    """A wait that meets a drain answers the job as it is: 202 under Prefer."""
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answer = await api.post("/jobs", SLOW, prefer="wait=60")
            assert (answer.status, answer.json()["status"]) == (202, "RUNNING")

        nursery.start_soon(ask)
        await api.bench.started.wait()
        await trio.testing.wait_all_tasks_blocked(0.02)
        await api.drain()


async def test_a_job_that_was_accepted_is_never_answered_as_if_it_were_not(front: Api) -> None:
    """Where the wait is shed, the job is answered as it is: a client that were told 503 would submit it again."""
    parts = front.server.front._parts

    class Crowded:
        submit = parts.state.submit

        async def watch(self, id: str) -> Pending[None]:
            raise Overloaded("no room")

    crowded = Front(replace(parts, state=Crowded()))  # type: ignore[arg-type]  # all of it that is asked for
    answer = await Api(MemoryDoor(crowded), front.server, front.store, front.bench).post("/jobs", SLOW, prefer="wait=5")
    assert answer.status == 202
    assert (await front.job(answer.json()["id"]))["kind"] == "slow"
