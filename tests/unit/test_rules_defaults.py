"""Where the options of a job come from: the job, then its handler, then its queue, then the server."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from jobqueue import wire
from jobqueue.job import DEFAULT_OPTIONS, Draft, Options, Retry
from jobqueue.queue import Defaults, Queue
from jobqueue.rules import defaults
from tests.helpers import EPOCH, draft, memory

FIXED = Retry("linear", 3)
OF_QUEUE = Defaults(max_attempts=7, retry=FIXED, timeout=12.5)


class Handler(NamedTuple):
    """What a registration says."""

    timeout: float | None = None
    max_attempts: int | None = None
    retry: Retry | None = None


def made(handler: Handler | None = None, **said: Any) -> Draft:
    """The draft of a submission."""
    return wire.draft({"kind": "a", **said}, EPOCH, {} if handler is None else {"a": handler})


async def options(asked: Draft, of_queue: Defaults = OF_QUEUE) -> Options:
    """The options of the job that is made of it, in a queue with these defaults."""
    desk = memory()
    await desk.configure(defaults=of_queue)
    return (await desk.submit([asked])).jobs[0].options


async def test_the_queue_speaks_where_nobody_else_does() -> None:
    """A job that says nothing, of a kind that says nothing, gets all of its queue's defaults."""
    found = await options(made())
    assert (found.max_attempts, found.retry, found.timeout) == (7, FIXED, 12.5)


@pytest.mark.parametrize(
    "said, expected",
    [
        ({"max_attempts": 2}, (2, FIXED, 12.5)),
        ({"timeout": 1}, (7, FIXED, 1)),
        ({"retry": {"initial": 9}}, (7, Retry(initial=9), 12.5)),
        ({"max_attempts": 5, "timeout": 300}, (5, FIXED, 300)),
    ],
    ids=["max_attempts", "timeout", "retry", "the-servers-own-values"],
)
async def test_the_job_speaks_first(said: dict[str, Any], expected: tuple[object, ...]) -> None:
    """What a submission names holds, also where it names what the server would give anyway."""
    found = await options(made(**said))
    assert (found.max_attempts, found.retry, found.timeout) == expected


async def test_the_handler_speaks_before_the_queue() -> None:
    """What the registration names holds; the queue fills the rest."""
    found = await options(made(Handler(timeout=60, max_attempts=8)))
    assert (found.max_attempts, found.retry, found.timeout) == (8, FIXED, 60)


async def test_the_server_speaks_last() -> None:
    """A queue that names only one option leaves the others to the server."""
    found = await options(made(), Defaults(timeout=2))
    assert found == Options(timeout=2)


async def test_other_options_stay_as_they_are() -> None:
    """Defaults touch what they name, and nothing beside."""
    found = await options(made(tags=["x"], expires_at="2028-01-01T00:00:00Z"))
    assert (found.tags, found.expires_at is not None, found.timeout) == (("x",), True, 12.5)


async def test_they_are_those_of_the_commit() -> None:
    """A job that was accepted keeps what it got; the next gets what the queue says then."""
    desk = memory()
    await desk.configure(defaults=Defaults(timeout=1))
    first = await desk.add()
    await desk.configure(defaults=Defaults(timeout=2))
    second = await desk.add()
    assert [(await desk.get(job)).options.timeout for job in (first, second)] == [1, 2]


async def test_a_delayed_job_gets_them_too() -> None:
    """Its moment is counted from the commit beside."""
    desk = memory()
    await desk.configure(defaults=Defaults(timeout=1))
    job = await desk.add(delay=5)
    assert (job.options.timeout, job.options.run_at) == (1, desk.clock.now() + 5_000_000)


def test_a_queue_without_defaults_changes_nothing() -> None:
    """The options are the very ones of the draft."""
    asked = draft()
    assert defaults.options(asked, Queue("default")) is asked.options
    assert made().options is DEFAULT_OPTIONS
