"""Operators of schedules: they put, trigger and delete them, and look whether they are as they should be."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.simulation.asks import Part, Want, decoded
from tests.simulation.timetable import PREFIX

NAMES = ("tick", "tock")
EVERY: tuple[dict[str, Any], ...] = (
    {"every": 3},
    {"every": 10},
    {"cron": "*/5 * * * * *"},
    {"cron": "*/20 * * * * *", "timezone": "Europe/Berlin"},
)


class Planner(Part):
    """What it wants of schedules."""

    def wants(self) -> dict[Want, int]:
        """By how often."""
        return {self._put: 4, self._trigger: 2, self._delete: 1, self._look: 2}

    async def begin(self) -> None:
        """There is something to fire from the start."""
        await self._put()

    async def stop(self) -> None:
        """Delete all schedules, whatever it takes."""
        self.hasty = False
        for name in NAMES:
            await self._insist(partial(self._drop, name))

    async def _put(self) -> None:
        rng = self._rng
        name = rng.choice(NAMES)
        self._oracle.expect(PREFIX + name, 0)
        job: dict[str, Any] = {
            "kind": rng.choice(("quick", "sleepy", "failing", "stalling")),
            "payload": {"key": PREFIX + name, "n": 0},
            "queue": rng.choice(("default", "default", "mail")),
            "max_attempts": rng.choice((1, 2)),
            "timeout": rng.choice((2, 6)),
        }
        said = {
            **rng.choice(EVERY),
            "job": job,
            "overlap": rng.choice(("skip", "queue", "replace")),
            "catch_up": rng.choice(("none", "one")),
            "paused": rng.random() < 0.15,
        }
        answer = await self._tell("PUT", f"/schedules/{name}", said)
        if answer is not None and answer.status not in (200, 201):
            self._oracle.blame(f"PUT {said} was answered {answer.status}: {answer.body!r}")

    async def _trigger(self) -> None:
        name = self._rng.choice(NAMES)
        since = self._oracle.mark()
        answer = await self._tell("POST", f"/schedules/{name}/trigger")
        if answer is None:
            return
        if answer.status == 404:
            self._oracle.check(self._oracle.timetable.shown(name, None, since.tick))
        elif self._is_job("the trigger", name, answer, since, (201,)) or answer.status == 201:
            job = decoded(answer)
            self._oracle.shown(job, since)
            self._known.append(job["id"])

    async def _delete(self) -> None:
        await self._drop(self._rng.choice(NAMES))

    async def _drop(self, name: str) -> bool:
        since = self._oracle.mark()
        answer = await self._tell("DELETE", f"/schedules/{name}")
        if answer is None:
            return False
        if answer.status in (204, 404):
            self._oracle.check(self._oracle.timetable.shown(name, None, since.tick))
        else:
            self._oracle.blame(f"DELETE of {name} was answered {answer.status}: {answer.body!r}")
        return True

    async def _look(self) -> None:
        name = self._rng.choice(NAMES)
        since = self._oracle.mark()
        answer = await self._tell("GET", f"/schedules/{name}")
        if answer is not None:
            shown = decoded(answer) if answer.status == 200 else None
            self._oracle.check(self._oracle.timetable.shown(name, shown, since.tick))
