"""What a schedule may say, and when it fires while no clock is changed."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import SECOND, Micros, from_datetime, iso
from jobqueue.rules.recurrence import ALIASES, LATEST, BadRecurrence, Recurrence, check, next_after, upcoming

NOON = from_datetime(datetime(2026, 7, 1, 12, tzinfo=UTC))  # a Wednesday
DAY = 86_400 * SECOND


def short(at: Micros) -> str:
    """A time to the second, for tables."""
    return iso(at)[:19].replace("T", " ")


def fires(cron: str, count: int = 3, timezone: str = "UTC", after: Micros = NOON) -> list[str]:
    """The next fire times of an expression, shortened."""
    return [short(at) for at in upcoming(Recurrence(cron=cron, timezone=timezone), after, 0, count)]


def refusal(recurrence: Recurrence) -> tuple[str, str]:
    """The field and the message with which it is refused."""
    with pytest.raises(BadRecurrence) as caught:
        check(recurrence)
    assert str(caught.value) == caught.value.message
    return caught.value.field, caught.value.message


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("* * * * *", ["2026-07-01 12:01:00", "2026-07-01 12:02:00", "2026-07-01 12:03:00"]),
        ("*/20 * * * *", ["2026-07-01 12:20:00", "2026-07-01 12:40:00", "2026-07-01 13:00:00"]),
        ("5/20 * * * *", ["2026-07-01 12:05:00", "2026-07-01 12:25:00", "2026-07-01 12:45:00"]),
        ("10-30/10 12 * * *", ["2026-07-01 12:10:00", "2026-07-01 12:20:00", "2026-07-01 12:30:00"]),
        ("10-10/7 12 * * *", ["2026-07-01 12:10:00", "2026-07-02 12:10:00", "2026-07-03 12:10:00"]),
        ("0 0 * * 1,Fri-fri/2", ["2026-07-03 00:00:00", "2026-07-06 00:00:00", "2026-07-10 00:00:00"]),
        ("0 9,17 * * *", ["2026-07-01 17:00:00", "2026-07-02 09:00:00", "2026-07-02 17:00:00"]),
        ("0 9 * * mon-FRI", ["2026-07-02 09:00:00", "2026-07-03 09:00:00", "2026-07-06 09:00:00"]),
        ("0 0 * * 7", ["2026-07-05 00:00:00", "2026-07-12 00:00:00", "2026-07-19 00:00:00"]),
        ("0 0 1 JAN,jul *", ["2027-01-01 00:00:00", "2027-07-01 00:00:00", "2028-01-01 00:00:00"]),
        ("0 0 L * *", ["2026-07-31 00:00:00", "2026-08-31 00:00:00", "2026-09-30 00:00:00"]),
        ("0 0 LW * *", ["2026-07-31 00:00:00", "2026-08-31 00:00:00", "2026-09-30 00:00:00"]),
        ("0 0 LW 5,8 *", ["2026-08-31 00:00:00", "2027-05-31 00:00:00", "2027-08-31 00:00:00"]),
        ("0 0 * * 5L", ["2026-07-31 00:00:00", "2026-08-28 00:00:00", "2026-09-25 00:00:00"]),
        ("0 0 * * MON#2", ["2026-07-13 00:00:00", "2026-08-10 00:00:00", "2026-09-14 00:00:00"]),
        ("0 0 * * 3#5", ["2026-07-29 00:00:00", "2026-09-30 00:00:00", "2026-12-30 00:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ("*/20 0 12 * * *", ["2026-07-01 12:00:20", "2026-07-01 12:00:40", "2026-07-02 12:00:00"]),
        ("15 0 12 * * *", ["2026-07-01 12:00:15", "2026-07-02 12:00:15", "2026-07-03 12:00:15"]),
        ("  0\t13 *  * * ", ["2026-07-01 13:00:00", "2026-07-02 13:00:00", "2026-07-03 13:00:00"]),
    ],
)
def test_what_an_expression_means(cron: str, expected: list[str]) -> None:
    """Five fields or six, with names, lists, ranges, steps, L and #, in any case and with any blanks between."""
    check(Recurrence(cron=cron))
    assert fires(cron) == expected


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("0 0 13 * 5", ["2026-07-03 00:00:00", "2026-07-10 00:00:00", "2026-07-13 00:00:00"]),
        ("0 0 13 * */5", ["2026-09-13 00:00:00", "2026-11-13 00:00:00", "2026-12-13 00:00:00"]),
        ("0 0 */13 * 5", ["2026-08-14 00:00:00", "2026-11-27 00:00:00", "2027-01-01 00:00:00"]),
    ],
    ids=["either", "both: weekday has a star", "both: day has a star"],
)
def test_two_kinds_of_day(cron: str, expected: list[str]) -> None:
    """Day of month and day of week: one of them is enough, unless one begins with a star; then both must match."""
    assert fires(cron) == expected


@pytest.mark.parametrize(
    "alias, expected",
    [
        ("@yearly", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@annually", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@monthly", ["2026-08-01 00:00:00", "2026-09-01 00:00:00"]),
        ("@weekly", ["2026-07-05 00:00:00", "2026-07-12 00:00:00"]),
        ("@daily", ["2026-07-02 00:00:00", "2026-07-03 00:00:00"]),
        ("@midnight", ["2026-07-02 00:00:00", "2026-07-03 00:00:00"]),
        ("@hourly", ["2026-07-01 13:00:00", "2026-07-01 14:00:00"]),
    ],
)
def test_aliases(alias: str, expected: list[str]) -> None:
    """Seven names stand for expressions, in any case."""
    assert fires(alias, 2) == fires(f" {alias.upper()} ", 2) == expected


def test_all_aliases_are_tried() -> None:
    """The table above has them all."""
    assert len(ALIASES) == 7


@pytest.mark.parametrize(
    "cron, part",
    [
        ("", "it has 0"),
        ("* * * *", "it has 4"),
        ("* * * * * * *", "it has 7"),
        ("60 * * * *", "60 is no minute: 0 to 59"),
        ("60 * * * * *", "60 is no second: 0 to 59"),
        ("* 24 * * *", "24 is no hour: 0 to 23"),
        ("* * 0 * *", "0 is no day-of-month: 1 to 31"),
        ("* * 32 * *", "32 is no day-of-month: 1 to 31"),
        ("* * * 13 *", "13 is no month: 1 to 12 or JAN"),
        ("* * * * 8", "8 is no day-of-week: 0 to 7 or SUN"),
        ("* * * * FRI-SUN", "FRI-SUN is no day-of-week"),
        ("* * * * 1#6", "1#6 is no day-of-week"),
        ("* * ? * *", "? is no day-of-month"),
        ("*/0 * * * *", "*/0 is no minute"),
        ("5-5/0 * * * *", "5-5/0 is no minute"),
        ("1-5-5/2 * * * *", "1-5-5/2 is no minute"),
        ("5-5/2/2 * * * *", "5-5/2/2 is no minute"),
        ("1,,2 * * * *", "1,,2 is no minute"),
        ("-1 * * * *", "-1 is no minute"),
        ("every day", "it has 2"),
        ("@reboot", "unknown alias @reboot"),
        ("@daily 5", "it has 2"),
        ("* * * * * ; rm", "it has 7"),
        ("* * * * *\n", "one line of ASCII"),
        ("* * * * \N{LATIN SMALL LETTER LONG S}un", "one line of ASCII"),
        ("*\0 * * * *", "one line of ASCII"),
        ("* " * 100 + "*", "longer than 200"),
    ],
)
def test_bad_expressions(cron: str, part: str) -> None:
    """What is no expression is refused with the field at fault and what may stand there."""
    field, message = refusal(Recurrence(cron=cron))
    assert field == "cron"
    assert part in message


@pytest.mark.parametrize(
    "cron, timezone",
    [
        ("0 0 31 2 *", "UTC"),
        ("0 0 30-31 2-2 */2", "UTC"),
        ("0 0 31 4,6,9,11 *", "UTC"),
        ("0 0 */31 * 5L", "UTC"),
        ("*/30 2 25-31 3 */7", "Europe/Berlin"),
    ],
    ids=["February", "and a weekday", "short months", "a first that is last", "always in the gap"],
)
def test_what_never_fires_is_refused(cron: str, timezone: str) -> None:
    """An expression that no moment matches is refused, and says so."""
    assert refusal(Recurrence(cron=cron, timezone=timezone)) == (
        "cron",
        f"{cron} would never fire: no moment matches all its fields",
    )


@pytest.mark.parametrize(
    "cron, after, expected",
    [
        ("0 0 29 2 *", 2097, "2104-02-29 00:00:00"),
        ("* * 29 2 */7", 2089, "2128-02-28 23:00:00"),
        ("0 0 * 2 7#5", 2089, "2128-02-28 23:00:00"),
    ],
)
def test_the_rarest_days_are_found(cron: str, after: int, expected: str) -> None:
    """A leap day may be 8 years away, a leap day on a given weekday 40: around 2100, which has none."""
    start = from_datetime(datetime(after, 1, 1, tzinfo=UTC))
    timezone = "UTC" if after == 2097 else "Europe/Berlin"
    assert fires(cron, 1, timezone, start) == [expected]


def test_one_of_cron_and_every() -> None:
    """Exactly one of the two is given."""
    assert refusal(Recurrence()) == ("cron", "either cron or every is needed")
    assert refusal(Recurrence(cron="@daily", every=60)) == ("every", "cron and every cannot be combined")


@pytest.mark.parametrize("every", [0.999, 0, -5, 31_536_000.5, math.inf, -math.inf, math.nan])
def test_bad_intervals(every: float) -> None:
    """An interval is from a second to a year."""
    assert refusal(Recurrence(every=every)) == ("every", "must be between 1 and 31536000 seconds (a year)")


@pytest.mark.parametrize("every", [1, 1.5, 31_536_000])
def test_good_intervals(every: float) -> None:
    """The bounds are among them, and fractions."""
    check(Recurrence(every=every))


@given(st.text(max_size=250) | st.text("0123456789*/,-#LW? SUNMONJAN@", max_size=200))
def test_any_text_is_checked_in_no_time(cron: str) -> None:
    """No text breaks the check or holds it up (each example has 200 ms)."""
    try:
        check(Recurrence(cron=cron))
    except BadRecurrence as error:
        assert error.field == "cron"  # noqa: PT017 - most raise, some do not


@pytest.mark.parametrize("after, expected", [(-1, 0), (0, 1), (1, 1), (SECOND - 1, 1), (SECOND, 2)])
def test_cron_fires_at_whole_seconds_strictly_after(after: Micros, expected: int) -> None:
    """The next second begins after the last microsecond of this one, and a fire time is not its own next."""
    assert next_after(Recurrence(cron="* * * * * *"), NOON + after, 0) == NOON + expected * SECOND


@pytest.mark.parametrize(
    "every, after, expected",
    [
        (60, -(10**15), 60),
        (60, -1, 60),
        (60, 0, 60),
        (60, 59.999999, 60),
        (60, 60, 120),
        (60, 150, 180),
        (1.5, 1.5, 3),
        (0.1 + 0.2 + 1, 1.3, 2.6),
    ],
)
def test_intervals_count_from_the_anchor(every: float, after: float, expected: float) -> None:
    """The first fire time is an interval after the anchor, then one each interval, whatever happened since."""
    recurrence = Recurrence(every=every, timezone="Europe/Berlin")
    found = next_after(recurrence, NOON + round(after * SECOND), NOON)
    assert found == NOON + round(expected * SECOND)


@given(st.floats(1, 31_536_000), st.integers(0, LATEST - 1), st.integers(0, LATEST - 1))
def test_intervals_never_drift(every: float, after: Micros, anchor: Micros) -> None:
    """Every fire time is a whole number of intervals from the anchor, after `after`, and none is left out."""
    step = round(every * SECOND)
    found = next_after(Recurrence(every=every), after, anchor)
    assert found is not None
    assert (found - anchor) % step == 0
    assert found - step <= max(after, anchor) < found


def test_the_end_of_the_calendar() -> None:
    """Beyond what a date can show nothing fires, and short of it all still works."""
    for recurrence in (Recurrence(cron="* * * * *"), Recurrence(cron="0 0 29 2 0"), Recurrence(every=60)):
        assert next_after(recurrence, LATEST, NOON) is None
        assert upcoming(recurrence, LATEST - 1, NOON, 5) == [next_after(recurrence, LATEST - 1, NOON)]


@pytest.mark.parametrize("recurrence", [Recurrence(cron="0 3 * * *"), Recurrence(every=90)], ids=["cron", "every"])
def test_upcoming_is_next_after_next(recurrence: Recurrence) -> None:
    """Each fire time is the next after the one before; none are asked for, none come."""
    times = upcoming(recurrence, NOON, NOON, 5)
    assert times == [next_after(recurrence, after, NOON) for after in [NOON, *times[:-1]]]
    assert upcoming(recurrence, NOON, NOON, 0) == []
