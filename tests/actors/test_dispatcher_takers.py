"""Who asks for jobs, as the dispatcher remembers it."""

from __future__ import annotations

import trio

from jobqueue.actors.dispatcher import INBOX, Dispatch
from jobqueue.actors.state_handle import State
from jobqueue.mailbox import Orders
from jobqueue.rules.explaining import Taker
from tests.actors.kit import Call, add, settled, take, taking


async def test_who_waits_asks_now(dispatch: Dispatch) -> None:
    """However long it has been waiting."""
    assert list(await dispatch.takers()) == []
    async with trio.open_nursery() as nursery:
        await taking(dispatch, nursery, "w", queue="a")
        await trio.sleep(500)
        assert await dispatch.takers() == [Taker(("a",), 0.0)]
        nursery.cancel_scope.cancel()


async def test_who_has_left_is_remembered(dispatch: Dispatch) -> None:
    """By the moment at which it asked, one for all who ask for the same queues."""
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            calls = await taking(dispatch, nursery, "v", "w", queue="a")
            for call in calls:
                call.leave()
        await trio.sleep(5)
    assert await dispatch.takers() == [Taker(("a",), 5.0)]


async def test_who_works_is_remembered(state: State, dispatch: Dispatch) -> None:
    """A taker that got its job asked when it did."""
    await add(state)
    await take(dispatch)
    await trio.sleep(7)
    assert await dispatch.takers() == [Taker(("default",), 7.0)]


async def test_no_more_than_the_latest_are_remembered(dispatch: Dispatch) -> None:
    """The number of sets of queues is bounded."""
    async with trio.open_nursery() as nursery:
        for number in range(INBOX + 10):
            call = Call(nursery, lambda number=number: dispatch.next("w", (f"q{number}",), Orders()))  # type: ignore[misc]  # mypy cannot type a lambda with a default
            await settled()
            call.leave()
    takers = await dispatch.takers()
    assert [taker.queues[0] for taker in takers] == [f"q{number}" for number in range(10, INBOX + 10)]
