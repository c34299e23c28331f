"""The actor kit: asks and their one-shot answers, nudges and orders that never wait."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from jobqueue.mailbox import Nudge, Orders, Reply, one_shot
from tests.unit.mailbox_kit import Ask, Asking, ask, box, gather

# -- ask and answer


async def test_an_ask_gets_its_answer(nursery: trio.Nursery) -> None:
    """Each asker gets the answer to its own message, whatever the order of the answers."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("a", "b", "c")
    for message in reversed(await gather(inbox)):
        assert message.reply.send(message.text.upper())
    await wait_all_tasks_blocked()
    assert sorted(map(str, asking.got)) == ["A", "B", "C"]


async def test_an_error_is_raised_where_it_was_awaited(nursery: trio.Nursery) -> None:
    """An answer may be an error: the asker gets it raised, the one who answers goes on."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("a")
    (message,) = await gather(inbox)
    assert message.reply.fail(ValueError("no"))
    await wait_all_tasks_blocked()
    assert isinstance(asking.got[0], ValueError)


async def test_only_the_first_answer_counts(nursery: trio.Nursery) -> None:
    """A second answer reaches neither this asker nor anybody who asks later."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("a")
    (message,) = await gather(inbox)
    assert message.reply.send("first")
    assert not message.reply.send("second")
    assert not message.reply.fail(ValueError("third"))
    await wait_all_tasks_blocked()
    await asking("b")
    assert not message.reply.send("fourth")
    (other,) = await gather(inbox)
    other.reply.send("to b")
    await wait_all_tasks_blocked()
    assert asking.got == ["first", "to b"]


async def test_an_asker_that_left_is_no_error(nursery: trio.Nursery) -> None:
    """The one who answers is told, and neither waits nor raises; the next asker hears nothing of it."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("leaving")
    (message,) = await gather(inbox)
    before = message.reply.abandoned
    asking.scopes["leaving"].cancel()
    await wait_all_tasks_blocked()
    assert (before, message.reply.abandoned) == (False, True)
    assert not message.reply.send("too late")
    await asking("staying")
    (message,) = await gather(inbox)
    message.reply.send("in time")
    await wait_all_tasks_blocked()
    assert asking.got == ["in time"]


async def test_an_answer_in_the_moment_of_leaving_is_not_lost(nursery: trio.Nursery) -> None:
    """An answer to an asker that is cancelled already goes to `late`, so that what it carries can be put back."""
    address, inbox = box()
    late: list[str] = []
    scope = trio.CancelScope()

    async def leave() -> None:
        with scope:
            await address.ask(lambda reply: Ask("x", reply), late=late.append)

    nursery.start_soon(leave)
    await wait_all_tasks_blocked()
    (message,) = await gather(inbox)
    scope.cancel()
    sent = message.reply.send("a job")
    await wait_all_tasks_blocked()
    assert late == (["a job"] if sent else [])


async def test_an_answer_waits_for_its_asker() -> None:
    """A one-shot takes its answer before anybody waits for it."""
    reply: Reply[str]
    reply, pending = one_shot()
    assert reply.send("early")
    with pending:
        assert await pending.get() == "early"


async def test_a_pending_that_was_left_is_abandoned() -> None:
    """Who leaves the `with` without an answer has left."""
    reply: Reply[str]
    reply, pending = one_shot()
    with pending:
        before = reply.abandoned
    assert (before, reply.abandoned) == (False, True)
    assert not reply.send("too late")


async def test_channels_that_are_used_again_mix_nothing_up(nursery: trio.Nursery) -> None:
    """However asks, answers and departures follow one another, everybody gets the answer to its own ask."""
    address, inbox = box(1000)

    async def serve() -> None:
        while True:
            for number, message in enumerate(await gather(inbox, most=7)):
                if number % 3:
                    await trio.lowlevel.checkpoint()
                message.reply.send(message.text)
                message.reply.send("again")

    async def client(name: int) -> None:
        for number in range(20):
            text = f"{name}-{number}"
            with trio.move_on_after(0 if (name + number) % 5 == 0 else math.inf):
                assert await ask(address, text) == text

    nursery.start_soon(serve)
    async with trio.open_nursery() as clients:
        for name in range(300):
            clients.start_soon(client, name)
    nursery.cancel_scope.cancel()


# -- nudges and orders


Taking = Callable[[], Awaitable[object]]


async def blocks(take: Taking) -> bool:
    """Whether there is nothing to take."""
    with trio.move_on_after(1) as scope:
        await take()
    return scope.cancelled_caught


async def test_a_nudge_never_waits_and_never_adds_up(autojump_clock: MockClock) -> None:
    """Any number of nudges that nobody read are one; after it was taken there is none."""
    nudge = Nudge()
    for _ in range(1000):
        nudge.give()
    await nudge.take()
    assert await blocks(nudge.take)
    nudge.give()
    await nudge.take()


async def test_a_nudge_wakes_who_waits(nursery: trio.Nursery) -> None:
    """A taker that waits is woken by the nudge to come."""
    nudge = Nudge()
    woken = trio.Event()

    async def wait() -> None:
        await nudge.take()
        woken.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    nudge.give()
    await woken.wait()


async def test_the_first_order_is_the_one_that_counts(autojump_clock: MockClock) -> None:
    """An order that follows an unread one is dropped, without waiting; one after it was read is not."""
    orders: Orders[str] = Orders()
    orders.give("first")
    orders.give("second")
    assert await orders.take() == "first"
    assert await blocks(orders.take)
    orders.give("third")
    assert await orders.take() == "third"
