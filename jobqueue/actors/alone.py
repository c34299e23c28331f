"""A turn that the store refused as a whole, result by result: one that cannot be stored must not cost the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from jobqueue.actors.commands import Command, Settled, Turn
from jobqueue.job import Ending, Error, Outcome, Reason
from jobqueue.mailbox import Reply, one_shot
from jobqueue.rules.table import IllegalMove
from jobqueue.stores.contract import RowRefused

Apply = Callable[[Sequence[Command]], Awaitable[None]]


async def alone(apply: Apply, results: Sequence[Outcome], turn: Turn) -> Settled:
    """One result of a turn, or, without results, its claims. What cannot be stored fails."""
    wants, orders = ((), ()) if results else (turn.wants, turn.orders)
    reply: Reply[Settled]
    reply, pending = one_shot()
    with pending:
        try:
            await apply([Turn(results, wants, orders, reply)])
        except (RowRefused, IllegalMove):
            if not results:
                raise
            spoiled = Error("Unstorable", "the end of this attempt could not be stored")
            outcome = Outcome(
                results[0].id, results[0].epoch, Ending.ERROR, error=spoiled, fatal=True, reason=Reason.UNDECODABLE
            )
            await apply([Turn([outcome], (), (), reply)])
        return await pending.get()
