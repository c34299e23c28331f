"""The quarantine of suspects: jobs under which the process died (promise 4).

A job under which the process died twice beside others is a suspect. It waits in a lane of its own and starts alone: the
node claims nothing else until it ends, at most `ALONE_SECONDS`. So a death under it convicts the right job, and an
innocent neighbour, which was only beside, is never convicted.

To let a suspect start although the node is busy, the node holds its claims back for at most `HOLD_SECONDS`. If what
runs does not end in that time, the suspect goes on waiting and the others go on working: a poison job is only ever
started alone, and waiting for that costs the rest at most one hold in `REST_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

ALONE_SECONDS = 30.0
HOLD_SECONDS = 30.0
REST_SECONDS = 300.0


class Quarantine(NamedTuple):
    """The quarantine at one moment. alone: the suspect that runs with nothing beside it; holding: one waits to."""

    alone: str | None = None
    holding: bool = False


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a node remembers of its quarantine; times are monotonic seconds.

    alone: (id, epoch) of the suspect that runs alone, until `alone_until`. hold_until: nothing is claimed before it.
    """

    alone: tuple[str, int] | None = None
    alone_until: float = 0.0
    hold_until: float = 0.0

    def quarantine(self, monotonic: float) -> Quarantine:
        """As others may know it."""
        alone = self.alone[0] if self.alone is not None and monotonic < self.alone_until else None
        return Quarantine(alone, self.holding(monotonic))

    def holding(self, monotonic: float) -> bool:
        """Whether the node holds its claims back for a suspect."""
        return monotonic < self.hold_until

    def rested(self, monotonic: float) -> bool:
        """Whether a new hold may begin."""
        return monotonic >= self.hold_until + REST_SECONDS or self.hold_until == 0.0

    def hold(self, monotonic: float) -> Isolation:
        """Begin to hold claims back."""
        return replace(self, hold_until=monotonic + HOLD_SECONDS)

    def start(self, id: str, epoch: int, monotonic: float) -> Isolation:
        """The suspect has started alone."""
        return Isolation(alone=(id, epoch), alone_until=monotonic + ALONE_SECONDS)
