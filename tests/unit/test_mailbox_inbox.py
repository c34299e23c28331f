"""The inbox of an actor: bounded, gathered by weight until a moment, and closed without leaving anybody waiting."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from jobqueue.errors import Overloaded
from jobqueue.mailbox import Closed, Reply, one_shot
from tests.unit.mailbox_kit import Ask, Asking, ask, box, gather

# -- a full inbox


async def test_a_full_inbox_sheds(nursery: trio.Nursery) -> None:
    """An ask that may be shed raises Overloaded at once, with Retry-After; one that may not waits its turn."""
    address, inbox = box(2)
    asking = Asking(nursery, address)
    await asking("a", "b", "waits")
    with pytest.raises(Overloaded) as told:
        await ask(address, "shed", shed=True)
    assert dict(told.value.headers)["retry-after"] == "1"
    assert [message.text for message in await gather(inbox)] == ["a", "b", "waits"]
    nursery.cancel_scope.cancel()


async def test_who_is_cancelled_before_a_full_inbox_sends_nothing(nursery: trio.Nursery) -> None:
    """A message whose sender left while it waited for room never arrives."""
    address, inbox = box(1)
    asking = Asking(nursery, address)
    await asking("a", "leaving")
    asking.scopes["leaving"].cancel()
    await wait_all_tasks_blocked()
    assert [message.text for message in await gather(inbox)] == ["a"]
    nursery.cancel_scope.cancel()


async def test_post_never_waits(nursery: trio.Nursery) -> None:
    """It says whether there was room."""
    address, inbox = box(1)
    reply: Reply[str]
    reply, pending = one_shot()
    with pending:
        assert address.post(Ask("a", reply))
        assert not address.post(Ask("b", reply))
        inbox.close()
        assert not address.post(Ask("c", reply))


# -- an inbox that closes


async def test_what_is_left_in_a_closing_inbox_can_be_answered(nursery: trio.Nursery) -> None:
    """Nobody hangs: what was inside is handed over, those who waited for room and those who come get Closed."""
    address, inbox = box(2)
    asking = Asking(nursery, address)
    await asking("a", "b", "waits for room")
    left = inbox.close()
    for message in left:
        message.reply.fail(Closed())
    await wait_all_tasks_blocked()
    assert [message.text for message in left][:2] == ["a", "b"]
    assert len(asking.got) == 3
    assert all(isinstance(got, Closed) for got in asking.got)
    with pytest.raises(Closed):
        await ask(address)
    with pytest.raises(Closed):
        await ask(address, shed=True)


# -- gather


async def test_gather_takes_what_waits(nursery: trio.Nursery) -> None:
    """At least one message, and all that wait with it, in the order of arrival."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("a", "b", "c")
    assert [message.text for message in await gather(inbox)] == ["a", "b", "c"]
    assert inbox.fill() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("most, expected", [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (100, 5)])
async def test_gather_ends_with_the_message_that_fills_it(nursery: trio.Nursery, most: int, expected: int) -> None:
    """Messages are taken until their weight is reached; the last may go beyond it, and is never cut."""
    address, inbox = box()
    asking = Asking(nursery, address)
    await asking("aa", "bb", "cc", "dd", "ee")
    assert len(await gather(inbox, most=most)) == expected
    nursery.cancel_scope.cancel()


async def test_gather_waits_until_its_moment(autojump_clock: MockClock) -> None:
    """With nothing inside it returns nothing, exactly then."""
    _, inbox = box()
    assert await gather(inbox, until=trio.current_time() + 7.5) == []
    assert trio.current_time() == 7.5


async def test_gather_wakes_with_the_first_message(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It does not wait for more."""
    address, inbox = box()

    async def later() -> None:
        await trio.sleep(3)
        await ask(address)

    nursery.start_soon(later)
    assert len(await gather(inbox, until=10)) == 1
    assert trio.current_time() == 3
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("until", [0.0, -5.0])
async def test_gather_past_its_moment_takes_what_waits(nursery: trio.Nursery, until: float) -> None:
    """A moment that has come is no reason to leave messages lying, and none to let nobody else run."""
    address, inbox = box()
    assert await gather(inbox, until=until) == []
    asking = Asking(nursery, address)
    await asking("a", "b")
    with trio.testing.assert_checkpoints():
        assert len(await gather(inbox, until=until)) == 2
    nursery.cancel_scope.cancel()


async def test_a_message_at_the_very_moment_is_not_lost(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Whether it comes just before or just after the moment, it is in this gathering or in the next."""
    address, inbox = box(1000)
    got = 0

    async def sender(number: int) -> None:
        await trio.sleep(number % 10)
        await ask(address)

    for number in range(200):
        nursery.start_soon(sender, number)
    for moment in range(12):
        got += len(await gather(inbox, until=float(moment), most=3))
    while messages := await gather(inbox, until=20.0):
        got += len(messages)
    assert got == 200
    nursery.cancel_scope.cancel()
