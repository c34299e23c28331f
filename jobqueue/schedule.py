"""A schedule: a job that is submitted again and again. Values only; `rules/` say when and what of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from jobqueue.clock import Micros
from jobqueue.job import Draft, Json

LONGEST_EVERY = 31_536_000  # seconds: a year


class Schedule(msgspec.Struct, frozen=True):
    """One schedule, by name.

    cron (in the time of `timezone`) or every (seconds, counted from `anchor`). job: the submission as it was put;
    draft: what it asks for. next_at: the next fire time, None when there is none; it waits where the schedule is
    paused, and only grows as long as the recurrence stays the same. last_id: the job that was made last. last_error:
    why the last fire made none.
    """

    name: str
    job: Json
    draft: Draft
    anchor: Micros
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    overlap: Literal["skip", "queue", "replace"] = "skip"
    catch_up: Literal["none", "one"] = "none"
    paused: bool = False
    next_at: Micros | None = None
    last_id: str | None = None
    last_error: str | None = None
