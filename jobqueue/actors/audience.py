"""The audience: the listeners that wait for news, found by what they want to hear of.

One of a job is found by the job's id, one of queues or kinds by those, and all who want the same together: so what
concerns few costs little, however many wait beside them. Pure; `herald.py` drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from jobqueue.actors.ring import Wanted
from jobqueue.wire.events import Step

SWEEP_AT = 1024


class Listening(Protocol):
    """One that waits."""

    @property
    def wanted(self) -> Wanted: ...


L = TypeVar("L", bound=Listening)
Key = tuple[str, str]  # what kind of thing, and which

_JOB, _QUEUE, _KIND = "job", "queue", "kind"
_ANY: Key = ("", "")


class Audience(Generic[L]):
    """Those who wait, in the order in which they came."""

    def __init__(self) -> None:
        self._line: dict[L, None] = {}
        self._alike: dict[Wanted, dict[L, None]] = {}
        self._by_key: dict[Key, dict[Wanted, None]] = {}
        self._sweep_at = SWEEP_AT

    def __len__(self) -> int:
        return len(self._line)

    def first(self) -> L | None:
        """Who has waited longest."""
        return next(iter(self._line), None)

    def add(self, listener: L, gone: Callable[[L], bool]) -> None:
        """One more. Those who are `gone` are forgotten when there are too many of them."""
        if len(self._line) >= self._sweep_at:
            for other in [other for other in self._line if gone(other)]:
                self.remove(other)
            self._sweep_at = max(SWEEP_AT, 2 * len(self._line))
        self._line[listener] = None
        wanted = listener.wanted
        alike = self._alike.get(wanted)
        if alike is None:
            alike = self._alike[wanted] = {}
            for key in _keys(wanted):
                self._by_key.setdefault(key, {})[wanted] = None
        alike[listener] = None

    def remove(self, listener: L) -> None:
        """One less."""
        del self._line[listener]
        wanted = listener.wanted
        alike = self._alike[wanted]
        del alike[listener]
        if not alike:
            del self._alike[wanted]
            for key in _keys(wanted):
                rest = self._by_key[key]
                del rest[wanted]
                if not rest:
                    del self._by_key[key]

    def everybody(self) -> Sequence[L]:
        """All of them."""
        return tuple(self._line)

    def concerned(self, steps: Sequence[Step]) -> Sequence[L]:
        """Whom some of these steps concern."""
        if not self._line:
            return ()
        found = dict.fromkeys(self._of_jobs(steps))
        for step in {(step.queue, step.kind, step.status): step for step in steps}.values():  # one of each sort
            for key in ((_QUEUE, step.queue), (_KIND, step.kind), _ANY):
                for wanted in self._by_key.get(key, ()):
                    if wanted.takes(step):
                        found[wanted] = None
        return [listener for wanted in found for listener in self._alike[wanted]]

    def _of_jobs(self, steps: Sequence[Step]) -> Iterator[Wanted]:
        by_key = self._by_key
        for step in steps:
            key = (_JOB, step.id)
            if key in by_key:
                yield from (wanted for wanted in by_key[key] if wanted.takes(step) or step.ends)


def _keys(wanted: Wanted) -> Sequence[Key]:
    """Under which an event is looked up that may concern them."""
    if wanted.job is not None:
        return ((_JOB, wanted.job),)
    if wanted.queues:
        return [(_QUEUE, queue) for queue in wanted.queues]
    if wanted.kinds:
        return [(_KIND, kind) for kind in wanted.kinds]
    return (_ANY,)
