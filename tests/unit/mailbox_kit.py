"""What the tests of the actor kit share: a message, an inbox, and askers in tasks of their own."""

from __future__ import annotations

import math

import trio
from trio.testing import wait_all_tasks_blocked

from jobqueue.mailbox import Address, Closed, Inbox, Reply, mailbox


class Ask:
    """A message."""

    def __init__(self, text: str, reply: Reply[str]) -> None:
        self.text = text
        self.reply = reply


Box = tuple[Address[Ask], Inbox[Ask]]


def box(size: int = 8) -> Box:
    return mailbox(size)


async def ask(address: Address[Ask], text: str = "x", *, shed: bool = False) -> str:
    return await address.ask(lambda reply: Ask(text, reply), shed=shed)


async def gather(inbox: Inbox[Ask], *, until: float = math.inf, most: int = 100) -> list[Ask]:
    """What waits; a message weighs as much as its text is long."""
    return await inbox.gather(until=until, most=most, weigh=lambda message: len(message.text))


class Asking:
    """Asks in tasks of their own; what they got, in the order in which they got it."""

    def __init__(self, nursery: trio.Nursery, address: Address[Ask]) -> None:
        self.nursery = nursery
        self.address = address
        self.got: list[str | Exception] = []
        self.scopes: dict[str, trio.CancelScope] = {}

    async def __call__(self, *texts: str) -> None:
        """Ask in this order, and let all of them wait."""
        for text in texts:
            self.scopes[text] = trio.CancelScope()
            self.nursery.start_soon(self._ask, text)
            await wait_all_tasks_blocked()

    async def _ask(self, text: str) -> None:
        with self.scopes[text]:
            try:
                self.got.append(await ask(self.address, text))
            except (Closed, ValueError) as error:
                self.got.append(error)
