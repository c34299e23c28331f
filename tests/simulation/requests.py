"""What clients asked to be done to jobs, so that nothing happens to one that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobqueue.job import Job

Verb = Literal["cancel", "retry", "delete", "amend"]


@dataclass
class Ask:
    """One request to do something to the jobs that match. done: how many such moves were seen since."""

    verb: Verb
    matches: Callable[[Job], bool]
    done: int = 0


class Requests:
    """Those under way, and those whose answer never came, which may be carried out at any time."""

    def __init__(self) -> None:
        self._open: list[Ask] = []

    def begin(self, verb: Verb, matches: Callable[[Job], bool]) -> Ask:
        """It is asked now."""
        ask = Ask(verb, matches)
        self._open.append(ask)
        return ask

    def one(self, verb: Verb, id: str) -> Ask:
        """It is asked of one job."""
        return self.begin(verb, lambda job: job.id == id)

    def end(self, ask: Ask) -> None:
        """It was answered: nothing comes of it any more."""
        self._open.remove(ask)

    def explain(self, verb: Verb, before: Job) -> bool:
        """Whether somebody asked for what is done to the job, as it stood before."""
        found = [ask for ask in self._open if ask.verb == verb and ask.matches(before)]
        for ask in found:
            ask.done += 1
        return bool(found)
