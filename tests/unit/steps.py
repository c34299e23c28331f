"""Steps of jobs, made up; and server-sent events, read as a browser reads them (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobqueue.job import Progress, Status
from jobqueue.wire.events import Step
from tests.helpers import EPOCH

QUEUED, RUNNING, DONE, FAILED = (int(s) for s in (Status.QUEUED, Status.RUNNING, Status.DONE, Status.FAILED))


def step(job: str = "a", status: int = QUEUED, **fields: Any) -> Step:
    """A step of a job's life."""
    values: dict[str, Any] = {"queue": "default", "kind": "noop", "reason": None, "attempt": 1, "at": EPOCH}
    return Step(id=job, status=status, **(values | fields))


def report(job: str = "a", percent: float = 50.0, **fields: Any) -> Step:
    """A report of progress."""
    return step(
        job, RUNNING, progress=Progress(percent, fields.pop("message", None), fields.pop("data", None)), **fields
    )


@dataclass
class Event:
    """One event as it is dispatched."""

    name: str
    id: str
    data: Any

    @property
    def number(self) -> int:
        """Its place in the ring."""
        return int(self.id.rpartition("-")[2])


class Parser:
    """Takes bytes as they come; `events` are those that were dispatched, `last_id` what a browser would come back with.

    Strict where a browser is lenient: nothing but what this server has to say may come.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.comments = 0
        self.last_id = ""
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.decode())

    @property
    def whole(self) -> bool:
        """Nothing has begun that is not ended."""
        return not (self._rest or self._data or self._name)

    def _line(self, line: str) -> None:
        assert "\r" not in line
        if not line:
            if self._data:
                self.events.append(Event(self._name, self.last_id, json.loads("\n".join(self._data))))
            self._name, self._data = "", []
        elif line.startswith(":"):
            self.comments += 1
        else:
            field, colon, value = line.partition(": ")
            assert colon, line
            match field:
                case "event":
                    self._name = value
                case "id":
                    self.last_id = value
                case "data":
                    self._data.append(value)
                case _:
                    raise AssertionError(line)


def parsed(data: bytes) -> list[Event]:
    """The events in a whole piece."""
    parser = Parser()
    parser.feed(data)
    assert parser.whole, data[-300:]
    return parser.events
