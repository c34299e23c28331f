"""The fire times of a schedule, held against a walk through every minute or second around the changes of a clock."""

from __future__ import annotations

import calendar
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.clock import SECOND, Micros, from_datetime
from jobqueue.rules import recurrence as rule
from jobqueue.rules.recurrence import BadRecurrence, Recurrence, next_after

# zone and moment of a change: an hour, half an hour, two hours; at midnight; a whole day; Ramadan; a new offset
CHANGES = [
    ("Europe/Berlin", "2024-03-31T01:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00Z"),
    ("America/New_York", "2024-03-10T07:00Z"),
    ("America/New_York", "2024-11-03T06:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T15:30Z"),
    ("Antarctica/Troll", "2024-03-31T01:00Z"),
    ("Antarctica/Troll", "2024-10-27T01:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00Z"),
    ("Africa/Casablanca", "2024-03-10T02:00Z"),
    ("Africa/Casablanca", "2024-04-14T02:00Z"),
    ("America/Caracas", "2007-12-09T07:00Z"),
    ("Asia/Pyongyang", "2018-05-04T15:00Z"),
    ("Asia/Kathmandu", "1985-12-31T18:30Z"),
]
STEADY = [("UTC", "2024-02-29T00:00Z"), ("Asia/Tokyo", "2025-12-31T15:00Z"), ("America/Phoenix", "2024-03-10T07:00Z")]


@dataclass(frozen=True)
class Step:
    """A moment of a walk: seconds since the epoch, and what the clock shows."""

    second: int
    shown: datetime


@lru_cache
def walk(zone: str, middle: str, step: int, count: int) -> tuple[Step, ...]:
    """`count` steps of `step` seconds before and as many after a moment."""
    center, there = from_datetime(datetime.fromisoformat(middle)) // SECOND, zoneinfo.ZoneInfo(zone)
    seconds = range(center - count * step, center + count * step, step)
    return tuple(Step(at, datetime.fromtimestamp(at, there).replace(tzinfo=None, fold=0)) for at in seconds)


@pytest.mark.parametrize("zone, at", CHANGES)
def test_each_change_is_one(zone: str, at: str) -> None:
    """The list above names the very seconds."""
    before, after = walk(zone, at, 1, 1)
    assert after.shown - before.shown != timedelta(seconds=1)


@dataclass(frozen=True)
class Field:
    """A field of an expression as it is written, the numbers that match it, and the days that match by other means."""

    text: str
    numbers: frozenset[int]
    days: tuple[Callable[[date], bool], ...] = ()


def join(fields: list[Field]) -> Field:
    """A list of fields."""
    numbers = frozenset[int]().union(*(field.numbers for field in fields))
    return Field(
        ",".join(field.text for field in fields), numbers, tuple(day for field in fields for day in field.days)
    )


def fields(
    low: int, high: int, near: tuple[int, ...] = (), special: st.SearchStrategy[Field] | None = None
) -> st.SearchStrategy[Field]:
    """A field of numbers (those `near` are tried more often): stars, numbers, ranges, steps, lists."""
    numbers, steps = st.integers(low, high) | st.sampled_from(near or (low,)), st.integers(1, high)

    def span(first: int, last: int, step: int) -> Field:
        first, last = sorted((first, last))
        return Field(f"{first}-{last}/{step}", frozenset(range(first, last + 1, step)))

    plain = st.one_of(
        st.builds(lambda number: Field(str(number), frozenset({number})), numbers),
        st.builds(
            lambda first, step: Field(f"{first}/{step}", frozenset(range(first, high + 1, step))), numbers, steps
        ),
        st.builds(span, numbers, numbers, steps),
        *([] if special is None else [special]),
    )
    stars = st.builds(lambda step: Field(f"*/{step}", frozenset(range(low, high + 1, step))), steps)
    every = st.just(Field("*", frozenset(range(low, high + 1))))
    return every | every | stars | plain | st.lists(plain, min_size=2, max_size=4).map(join)


def days_in(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def is_last_workday(day: date) -> bool:
    later = range(day.day + 1, days_in(day) + 1)
    return day.weekday() < 5 and all(day.replace(day=other).weekday() >= 5 for other in later)


def last_weekday(weekday: int) -> Field:
    return Field(
        f"{weekday}L", frozenset(), (lambda day: day.isoweekday() % 7 == weekday % 7 and day.day + 7 > days_in(day),)
    )


def nth_weekday(weekday: int, nth: int) -> Field:
    return Field(
        f"{weekday}#{nth}",
        frozenset(),
        (lambda day: day.isoweekday() % 7 == weekday % 7 and day.day in range(nth * 7 - 6, nth * 7 + 1),),
    )


LAST_DAYS = st.sampled_from(
    [Field("L", frozenset(), (lambda day: day.day == days_in(day),)), Field("LW", frozenset(), (is_last_workday,))]
)
WEEKDAYS = st.integers(0, 7)


@dataclass(frozen=True)
class Cron:
    """An expression as it was made up, with a matching of its own."""

    second: Field | None
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        parts = [self.second, self.minute, self.hour, self.day, self.month, self.weekday]
        return " ".join(part.text for part in parts if part is not None)

    @property
    def named(self) -> bool:
        """Whether it names times of day."""
        return self.minute.text[0] != "*" and self.hour.text[0] != "*"

    def matches(self, wall: datetime) -> bool:
        """Whether a wall time is meant."""
        return (
            wall.minute in self.minute.numbers
            and wall.hour in self.hour.numbers
            and wall.second in (self.second.numbers if self.second else (0,))
            and wall.month in self.month.numbers
            and self._on(wall.date())
        )

    def _on(self, day: date) -> bool:
        by_date = day.day in self.day.numbers or any(special(day) for special in self.day.days)
        numbers = self.weekday.numbers
        by_weekday = day.isoweekday() in numbers or day.isoweekday() % 7 in numbers
        by_weekday = by_weekday or any(special(day) for special in self.weekday.days)
        both = "*" in (self.day.text[0], self.weekday.text[0])
        return by_date and by_weekday if both else by_date or by_weekday


def crons(around: datetime, *, seconds: bool) -> st.SearchStrategy[Cron]:
    """Expressions, many of which match somewhere around a wall time."""
    hours = [(around + timedelta(hours=hour)).hour for hour in (-2, -1, 0, 1, 2)]
    return st.builds(
        Cron,
        second=fields(0, 59) if seconds else st.none(),
        minute=fields(0, 59, (0, 15, 30, 45)),
        hour=fields(0, 23, tuple(hours)),
        day=fields(1, 31, (around.day,), LAST_DAYS),
        month=fields(1, 12, (around.month,)),
        weekday=fields(0, 7, (), WEEKDAYS.map(last_weekday) | st.builds(nth_weekday, WEEKDAYS, st.integers(1, 5))),
    )


def walked(cron: Cron, steps: tuple[Step, ...]) -> Iterator[int]:
    """The seconds of a walk at which a job runs, after the first.

    As Debian's cron keeps it: a job that follows the clock runs when the clock shows a match. One with named times runs
    by a virtual clock, which catches up with a jump forth at once and waits out a jump back.
    """
    unit = timedelta(seconds=steps[1].second - steps[0].second)
    virtual = steps[0].shown
    for step in steps[1:]:
        if not cron.named:
            if cron.matches(step.shown):
                yield step.second
            continue
        found = False
        while virtual < step.shown:
            virtual += unit
            found = found or cron.matches(virtual)
        if found:
            yield step.second


def compare(zone: str, cron: Cron, steps: tuple[Step, ...], after: Micros) -> None:
    """The fire times after a moment within a walk are those of the walk; up to 50 of them."""
    begin, end = steps[0].second * SECOND, steps[-1].second * SECOND
    after = begin + after % (end - begin)
    expected = [second * SECOND for second in walked(cron, steps) if second * SECOND > after][:50]
    recurrence = Recurrence(cron=cron.text, timezone=zone)
    found: list[Micros] = []
    try:
        while len(found) < 50 and (at := next_after(recurrence, after, 0)) is not None and at <= end:
            found.append(at)
            after = at
    except BadRecurrence as error:  # a date that does not exist
        assert "would never fire" in error.message  # noqa: PT017 - most do not raise
    assert found == expected


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(CHANGES + STEADY), st.integers(0))
def test_minutes(data: st.DataObject, change: tuple[str, str], after: Micros) -> None:
    """Five fields: no fire time is missed, made up, doubled or moved within 28 hours of a change."""
    steps = walk(*change, 60, 28 * 60)
    cron = data.draw(crons(steps[28 * 60].shown, seconds=False))
    compare(change[0], cron, steps, after)


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(CHANGES + STEADY), st.integers(0))
def test_seconds(data: st.DataObject, change: tuple[str, str], after: Micros) -> None:
    """Six fields: the same to the second, within two hours of a change."""
    steps = walk(*change, 1, 7200)
    cron = data.draw(crons(steps[7200].shown, seconds=True))
    compare(change[0], cron, steps, after)


def next_change(zone: str, second: int) -> int:
    """A second within a day after the next change of a clock, if there is one in the next year."""
    there = zoneinfo.ZoneInfo(zone)
    offset = datetime.fromtimestamp(second, there).utcoffset()
    for day in range(second, second + 366 * 86_400, 86_400):
        if datetime.fromtimestamp(day, there).utcoffset() != offset:
            return day
    return second


LATE = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
EXPRESSIONS = ["30 2 * * *", "*/20 * * * *", "0,30 0-4 * * *", "0 * * * *", "@daily", "*/7 30 1,23 * * *", "0 0 29 2 *"]


@settings(deadline=None)
@given(
    zone=st.sampled_from(sorted(rule._zone_names())),
    cron=st.sampled_from(EXPRESSIONS),
    second=st.integers(0, LATE),
    before=st.integers(0, 30 * 3600),
    part=st.floats(0, 1, exclude_max=True),
)
def test_it_is_the_first(zone: str, cron: str, second: int, before: int, part: float) -> None:
    """In every zone the answer lies ahead and stays the same until its time has come; then a later one follows."""
    recurrence = Recurrence(cron=cron, timezone=zone)
    after = (next_change(zone, second) - before) * SECOND
    for _ in range(5):
        found = next_after(recurrence, after, 0)
        assert found is not None
        assert found > after
        assert next_after(recurrence, after + int((found - after) * part), 0) == found
        assert next_after(recurrence, found - 1, 0) == found
        after = found
