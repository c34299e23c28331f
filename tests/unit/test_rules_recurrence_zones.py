"""Time zones, and when a schedule fires around the changes of a clock."""

from __future__ import annotations

import time
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from jobqueue.clock import SECOND, Micros, from_datetime
from jobqueue.rules import recurrence as rule
from jobqueue.rules.recurrence import BadRecurrence, Recurrence, check, next_after, upcoming


def moment(text: str) -> Micros:
    """An ISO time with its offset."""
    return from_datetime(datetime.fromisoformat(text))


def shown(at: Micros, zone: str) -> str:
    """What clock and calendar show, and the offset from UTC."""
    return datetime.fromtimestamp(at / SECOND, zoneinfo.ZoneInfo(zone)).isoformat(" ")


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT-14", "US/Eastern"])
def test_good_zones(timezone: str) -> None:
    """Every name of the IANA database will do."""
    check(Recurrence(cron="@daily", timezone=timezone))
    check(Recurrence(every=60, timezone=timezone))


@pytest.mark.parametrize(
    "timezone",
    [
        "",
        ".",
        "Mars/Olympus",
        "europe/berlin",
        "Europe",
        "Europe/",
        "Europe/Berlin/",
        "Europe//Berlin",
        "./Europe/Berlin",
        "Europe/../UTC",
        "../zones",
        "../../../../etc/passwd",
        "/etc/localtime",
        "/usr/share/zoneinfo/UTC",
        "UTC\0",
        "UTC\n",
        "Europe\\Berlin",
        "zone.tab",
        "zones",
        "__init__.py",
        "localtime",
        "posixrules",
        "posix/UTC",
        "right/UTC",
        "EST5EDT,M3.2.0,M11.1.0",
        "a" * 100_000,
    ],
)
def test_bad_zones(timezone: str) -> None:
    """A name that is not in the database never becomes a path; with an interval it is no better."""
    for recurrence in (Recurrence(cron="@daily", timezone=timezone), Recurrence(every=60, timezone=timezone)):
        with pytest.raises(BadRecurrence, match="is no IANA time zone") as caught:
            check(recurrence)
        assert caught.value.field == "timezone"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in New York that has no zones of its own."""
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    zoneinfo.reset_tzpath([tmp_path])
    rule._zone.cache_clear()
    yield
    zoneinfo.reset_tzpath()
    monkeypatch.undo()
    time.tzset()


def test_the_machine_has_no_say(elsewhere: None) -> None:
    """Neither the local zone nor the system's folder of zones changes anything."""
    noon = moment("2026-07-01T12:00:00Z")
    for timezone, expected in [("UTC", "09:00"), ("Europe/Berlin", "07:00"), ("Asia/Kolkata", "03:30")]:
        found = next_after(Recurrence(cron="0 9 * * *", timezone=timezone), noon, 0)
        assert found == moment(f"2026-07-02T{expected}:00Z")


BERLIN = "Europe/Berlin"
SPRING, AUTUMN = "2024-03-31T01:59:59+01:00", "2024-10-27T01:59:59+02:00"


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("30 2 * * *", ["2024-03-31 03:00:00+02:00", "2024-04-01 02:30:00+02:00"]),
        ("0 30 2 * * *", ["2024-03-31 03:00:00+02:00", "2024-04-01 02:30:00+02:00"]),
        ("*/15 30 2 * * *", ["2024-03-31 03:00:00+02:00", "2024-04-01 02:30:00+02:00", "2024-04-01 02:30:15+02:00"]),
        ("0,20,40 2 * * *", ["2024-03-31 03:00:00+02:00", "2024-04-01 02:00:00+02:00"]),
        ("0 2,3 * * *", ["2024-03-31 03:00:00+02:00", "2024-04-01 02:00:00+02:00"]),
        ("30 2,3 * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 03:30:00+02:00", "2024-04-01 02:30:00+02:00"]),
        ("30 0-4 * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 03:30:00+02:00", "2024-03-31 04:30:00+02:00"]),
        ("30 2 31 3 *", ["2024-03-31 03:00:00+02:00", "2025-03-31 02:30:00+02:00"]),
        ("*/30 * * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 03:30:00+02:00"]),
        ("0 * * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 04:00:00+02:00"]),
        ("@hourly", ["2024-03-31 03:00:00+02:00", "2024-03-31 04:00:00+02:00"]),
        ("15 * * * *", ["2024-03-31 03:15:00+02:00", "2024-03-31 04:15:00+02:00"]),
        ("0 */2 * * *", ["2024-03-31 04:00:00+02:00", "2024-03-31 06:00:00+02:00"]),
        ("*/30 2 * * *", ["2024-04-01 02:00:00+02:00", "2024-04-01 02:30:00+02:00"]),
        ("* * * * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 03:00:01+02:00"]),
        ("0 */30 * * * *", ["2024-03-31 03:00:00+02:00", "2024-03-31 03:30:00+02:00"]),
    ],
)
def test_in_spring(cron: str, expected: list[str]) -> None:
    """A named time that is left out fires once, right after the gap; what follows the clock skips the gap."""
    times = upcoming(Recurrence(cron=cron, timezone=BERLIN), moment(SPRING), 0, len(expected))
    assert [shown(at, BERLIN) for at in times] == expected


@pytest.mark.parametrize(
    "cron, expected",
    [
        ("30 2 * * *", ["2024-10-27 02:30:00+02:00", "2024-10-28 02:30:00+01:00"]),
        ("0 30 2 * * *", ["2024-10-27 02:30:00+02:00", "2024-10-28 02:30:00+01:00"]),
        ("*/30 30 2 * * *", ["2024-10-27 02:30:00+02:00", "2024-10-27 02:30:30+02:00", "2024-10-28 02:30:00+01:00"]),
        ("30 2,3 * * *", ["2024-10-27 02:30:00+02:00", "2024-10-27 03:30:00+01:00", "2024-10-28 02:30:00+01:00"]),
        ("0 3 * * *", ["2024-10-27 03:00:00+01:00", "2024-10-28 03:00:00+01:00"]),
        (
            "*/30 * * * *",
            [f"2024-10-27 02:{at}" for at in ("00:00+02:00", "30:00+02:00", "00:00+01:00", "30:00+01:00")],
        ),
        ("0 * * * *", ["2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00", "2024-10-27 03:00:00+01:00"]),
        ("0 */2 * * *", ["2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00", "2024-10-27 04:00:00+01:00"]),
        ("5 0 * * * *", ["2024-10-27 02:00:05+02:00", "2024-10-27 02:00:05+01:00", "2024-10-27 03:00:05+01:00"]),
    ],
)
def test_in_autumn(cron: str, expected: list[str]) -> None:
    """A named time that comes twice fires at the first; what follows the clock runs in both hours."""
    times = upcoming(Recurrence(cron=cron, timezone=BERLIN), moment(AUTUMN), 0, len(expected))
    assert [shown(at, BERLIN) for at in times] == expected


@pytest.mark.parametrize("after", ["02:00:00", "02:10:00", "02:30:00", "02:59:59.999999"])
def test_the_second_pass_has_no_named_time(after: str) -> None:
    """Asked in the second pass of an hour, a named time of the first pass is over, also one that is shown later."""
    recurrence = Recurrence(cron="*/20 30 2 * * *", timezone=BERLIN)
    assert next_after(recurrence, moment(f"2024-10-27T{after}+01:00"), 0) == moment("2024-10-28T02:30:00+01:00")


@pytest.mark.parametrize(
    "zone, cron, after, expected",
    [
        ("Australia/Lord_Howe", "15 2 * * *", "2024-10-05T12:00Z", "2024-10-06 02:30:00+11:00"),
        ("Australia/Lord_Howe", "*/15 * * * *", "2024-10-05T15:29Z", "2024-10-06 02:30:00+11:00"),
        ("Australia/Lord_Howe", "45 1 * * *", "2024-04-06T14:45Z", "2024-04-08 01:45:00+10:30"),
        ("Australia/Lord_Howe", "45 * * * *", "2024-04-06T14:45Z", "2024-04-07 01:45:00+10:30"),
        ("America/Sao_Paulo", "@daily", "2018-11-03T12:00Z", "2018-11-04 01:00:00-02:00"),
        ("America/Sao_Paulo", "30 * 4 11 *", "2018-11-03T12:00Z", "2018-11-04 01:30:00-02:00"),
        ("America/Sao_Paulo", "30 23 * * *", "2018-02-18T01:30Z", "2018-02-18 23:30:00-03:00"),
        ("America/Sao_Paulo", "30 * * * *", "2018-02-18T01:30Z", "2018-02-17 23:30:00-03:00"),
        ("Pacific/Apia", "30 9 * * *", "2011-12-30T05:00Z", "2011-12-31 00:00:00+14:00"),
        ("Pacific/Apia", "0 9 30 * *", "2011-12-02T05:00Z", "2011-12-31 00:00:00+14:00"),
        ("Pacific/Apia", "* * 30 * *", "2011-12-02T05:00Z", "2012-01-30 00:00:00+14:00"),
        ("Africa/Casablanca", "30 2 * * *", "2024-04-14T00:00Z", "2024-04-14 03:00:00+01:00"),
        ("Africa/Casablanca", "30 2 * * *", "2024-03-10T01:30Z", "2024-03-11 02:30:00+00:00"),
        ("Africa/Casablanca", "*/30 2 * * *", "2024-03-10T01:30Z", "2024-03-10 02:00:00+00:00"),
        ("Asia/Kolkata", "30 2 * * *", "2024-03-31T00:00Z", "2024-04-01 02:30:00+05:30"),
        ("UTC", "30 2 * * *", "2024-03-31T01:00Z", "2024-03-31 02:30:00+00:00"),
    ],
)
def test_other_clocks(zone: str, cron: str, after: str, expected: str) -> None:
    """Half an hour, at midnight, a whole day, for Ramadan, or never: the rules are the same for every change."""
    found = next_after(Recurrence(cron=cron, timezone=zone), moment(after), 0)
    assert found is not None
    assert shown(found, zone) == expected


@pytest.mark.parametrize(
    "cron, after, expected",
    [
        ("* * 1 7 *", "2024-01-01T00:00Z", "2024-07-01 00:00:00+02:00"),
        ("* * 1 12 *", "2024-07-01T00:00Z", "2024-12-01 00:00:00+01:00"),
        ("* * 1 7 *", "2024-07-02T00:00Z", "2025-07-01 00:00:00+02:00"),
        ("*/30 2 27 10 *", "2024-01-01T00:00Z", "2024-10-27 02:00:00+02:00"),
        ("*/30 2 31 3 *", "2024-01-01T00:00Z", "2025-03-31 02:00:00+02:00"),
        ("*/30 3 31 3 *", "2023-07-01T00:00Z", "2024-03-31 03:00:00+02:00"),
        ("*/30 2 27 7,10 *", "2024-10-27T02:30+02:00", "2024-10-27 02:00:00+01:00"),
        ("*/30 2 27 7,10 *", "2024-10-27T02:30+01:00", "2025-07-27 02:00:00+02:00"),
    ],
)
def test_a_long_wait(cron: str, after: str, expected: str) -> None:
    """Changes of the clock on the way to a far date do not move what follows the clock; those at either end count."""
    found = next_after(Recurrence(cron=cron, timezone=BERLIN), moment(after), 0)
    assert found is not None
    assert shown(found, BERLIN) == expected
