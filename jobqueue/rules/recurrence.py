"""When a schedule fires: pure arithmetic on its cron expression or interval, asked by the scheduler and the API.

A cron expression is matched against the wall clock of its time zone, as Vixie's cron in Debian does it. Where minute or
hour begin with a star the job follows the wall clock: it is skipped with the hour that a spring change leaves out, and
runs in both hours of an autumn change. All others name a time of day, and each time fires once: the left out right
after the gap, the doubled at their first pass. In other words, each wall time fires when the clock first shows it or a
later one; so of several that fall into a gap one fire is left. If day of month or day of week begins with a star both
must match, else either (`0 0 13 * 5`: each 13th and each Friday).

Of cronsim the parser and the walk over an unbroken calendar are used, not its own handling of zones: that leaves out
expressions with seconds, can answer with a moment before the one asked about, and loses fire times where a clock is
changed by half an hour. Zones come from the tzdata package alone, so a schedule fires at the same moments on every
machine.
"""

from __future__ import annotations

import copy
import importlib.resources
import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from jobqueue.clock import SECOND, Micros, micros
from jobqueue.schedule import LONGEST_EVERY

LONGEST_CRON = 200  # characters
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# how a field may read, by cronsim's name for it
FIELDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L (the last) or LW (the last from Monday to Friday)",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT (0 and 7 are Sunday), 5L (the last Friday) or 1#2 (the second Monday)",
}
# a range of one with steps (5-5/2), which cronsim would read as 5/2: from 5 on
SINGLE = re.compile(r"(?<![^\s,])(\w+)-\1/0*[1-9]\d*(?![^\s,])", re.ASCII | re.IGNORECASE)
HOW = "lists (1,2), ranges upwards (1-5) and steps (*/10) are allowed"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE = timedelta(seconds=1)
# no calendar date is further away: a given weekday falls on 29 February after at most 40 years, if 2100 is among them
HORIZON = 41 * 366 * 86_400
LATEST: Micros = 250_000_000_000 * SECOND  # in the year 9892: the calendar of datetime goes to the end of 9999
SAMPLE: Micros = 1_704_067_200 * SECOND  # 2024: from where a new expression is tried
SPAN = 2 * 86_400  # more than any two offsets of a zone differ by, less than between two changes of its clock


class Recurrence(msgspec.Struct, frozen=True):
    """How a schedule repeats, as it is stored: `cron` in the wall time of `timezone`, or `every` so many seconds.

    timezone: an IANA name; it has no meaning for an interval.
    """

    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"


class BadRecurrence(ValueError):
    """A recurrence that cannot be. `field` names the culprit ("cron", "every", "timezone"), `message` is for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def check(recurrence: Recurrence) -> None:
    """Raise BadRecurrence unless `next_after` can work with it and it fires at all; takes milliseconds at most."""
    cron, every = recurrence.cron, recurrence.every
    if cron is None and every is None:
        raise BadRecurrence("cron", "either cron or every is needed")
    if cron is not None and every is not None:
        raise BadRecurrence("every", "cron and every cannot be combined")
    if every is not None and not 1 <= every <= LONGEST_EVERY:
        raise BadRecurrence("every", f"must be between 1 and {LONGEST_EVERY} seconds (a year)")
    _zone(recurrence.timezone)
    if cron is not None and next_after(recurrence, SAMPLE, SAMPLE) is None:
        raise BadRecurrence("cron", _never(cron))


def next_after(recurrence: Recurrence, after: Micros, anchor: Micros) -> Micros | None:
    """The first fire time strictly after `after`; None if there is none, at least not in the next 40 years.

    An interval fires at `anchor` + k * `every` for k = 1, 2, ...; cron has no use for `anchor`. The recurrence must
    have passed `check`.
    """
    if after >= LATEST:
        return None
    if recurrence.every is not None:
        step = micros(recurrence.every)
        return anchor + max(1, (after - anchor) // step + 1) * step
    pattern, zone = _pattern(recurrence.cron or ""), _zone(recurrence.timezone)
    find = _next_named if pattern.named else _next_shown
    second = find(pattern, zone, after // SECOND)
    return None if second is None else second * SECOND


def upcoming(recurrence: Recurrence, after: Micros, anchor: Micros, count: int) -> list[Micros]:
    """The next `count` fire times strictly after `after`; fewer if there are no more."""
    times: list[Micros] = []
    while len(times) < count:
        found = next_after(recurrence, after, anchor)
        if found is None:
            break
        times.append(found)
        after = found
    return times


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed cron expression. Wall times are seconds since 1970-01-01 00:00 as the clock on the wall shows it.

    named: it names times of day; else it follows the clock (see the head of this module).
    """

    fields: CronSim  # never moved itself
    named: bool

    def first(self, wall: int) -> int | None:
        """The first match that is not before `wall`, on a clock that is never changed."""
        sim = copy.copy(self.fields)
        sim.dt = EPOCH + timedelta(seconds=wall - 1)
        found = next(sim, None)
        return None if found is None else (found - EPOCH) // ONE


@lru_cache(maxsize=512)
def _pattern(cron: str) -> Pattern:
    """Parse an expression; raise BadRecurrence if it is none."""
    if len(cron) > LONGEST_CRON:
        raise BadRecurrence("cron", f"must not be longer than {LONGEST_CRON} characters")
    if not re.fullmatch(r"[!-~ \t]*", cron):
        raise BadRecurrence("cron", "must be one line of ASCII characters")
    parts = SINGLE.sub(r"\1", cron).split()
    if len(parts) == 1 and parts[0].startswith("@"):
        alias = ALIASES.get(parts[0].lower())
        if alias is None:
            raise BadRecurrence("cron", f"unknown alias {parts[0]}; there are {', '.join(ALIASES)}")
        parts = alias.split()
    if len(parts) not in (5, 6):
        message = "must have 5 fields (minute, hour, day of month, month, day of week), or 6 with seconds in front"
        raise BadRecurrence("cron", f"{message}; it has {len(parts)}")
    if len(parts) == 5:
        parts.insert(0, "0")
    try:
        fields = CronSim(" ".join(parts), EPOCH)
    except CronSimError as error:
        raise BadRecurrence("cron", _explain(cron, parts, str(error))) from error
    return Pattern(fields, named=not (parts[1].startswith("*") or parts[2].startswith("*")))


def _explain(cron: str, parts: list[str], error: str) -> str:
    """What is wrong with an expression that cronsim refused with this error."""
    name = error.removeprefix("Bad ")
    if name not in FIELDS:
        return f"is no cron expression: {cron}"
    if name == "day-of-month":
        try:
            CronSim(" ".join([*parts[:4], "1", parts[5]]), EPOCH)  # a month that has all days
        except CronSimError:
            pass
        else:
            return _never(cron)
    return f"{parts[list(FIELDS).index(name)]} is no {name}: {FIELDS[name]}; {HOW}"


def _never(cron: str) -> str:
    return f"{cron} would never fire: no moment matches all its fields"


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset((importlib.resources.files("tzdata") / "zones").read_text("utf-8").split())


@lru_cache(maxsize=128)
def _zone(name: str) -> ZoneInfo:
    """A zone by its IANA name; raise BadRecurrence if there is none. Only names on the list become a path."""
    if name not in _zone_names():
        raise BadRecurrence("timezone", "is no IANA time zone (case matters): such as UTC or Europe/Berlin")
    path = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _shown(zone: ZoneInfo, second: int) -> int:
    """The wall time that the clock shows at a second since the epoch."""
    return (datetime.fromtimestamp(second, zone).replace(tzinfo=UTC) - EPOCH) // ONE


def _next_shown(pattern: Pattern, zone: ZoneInfo, after: int) -> int | None:
    """The first second after `after` at which the clock shows a match."""
    second = after + 1
    while second <= after + HORIZON:
        shown = _shown(zone, second)
        wall = pattern.first(shown)
        if wall is None:
            return None
        goal = second + wall - shown  # when the clock will show it, if it is left alone
        near = min(goal, second + SPAN)
        change = _change(zone, second, near)
        if change is not None:
            second = change
        elif near == goal:
            return goal
        else:  # what the clock shows between the two lies between what it showed then and the match, whatever changes
            second = max(near, goal - SPAN)
    return None


def _change(zone: ZoneInfo, second: int, until: int) -> int | None:
    """The first second up to `until` at which the clock is off from what it would show if left alone."""
    offset = _shown(zone, second) - second

    def changed(at: int) -> bool:
        return _shown(zone, at) - at != offset

    if not changed(until):
        return None
    return second + bisect_left(range(second, until), True, key=changed)  # noqa: FBT003 - the answer that is sought


def _next_named(pattern: Pattern, zone: ZoneInfo, after: int) -> int | None:
    """The first second after `after` at which the clock first shows a match, or has left it out."""
    wall = pattern.first(_not_yet_shown(zone, after))
    if wall is None:
        return None
    local = (EPOCH + timedelta(seconds=wall)).replace(tzinfo=zone)
    first, last = int(local.timestamp()), int(local.replace(fold=1).timestamp())
    if last >= first:
        return first
    # left out: read with the offset after the gap it lies before it, with that before the gap behind it
    return last + bisect_left(range(last, first), wall, key=lambda at: _shown(zone, at))


def _not_yet_shown(zone: ZoneInfo, second: int) -> int:
    """The first wall time that the clock has not passed up to and with `second`."""
    local = datetime.fromtimestamp(second, zone)
    if local.fold:  # the second pass: all is shown up to where the clock was put back
        begin = int(local.replace(fold=0).timestamp())  # the same wall time in the first pass
        second = begin + bisect_left(range(begin, second), 1, key=lambda at: datetime.fromtimestamp(at, zone).fold) - 1
    return _shown(zone, second) + 1
