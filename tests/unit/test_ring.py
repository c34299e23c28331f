"""The ring of events: numbers, filters, pieces, and what is told of that which is no longer there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.actors import ring as module
from jobqueue.actors.ring import EVENTS_MOST, PIECE_BYTES, SLACK, TEXT_MOST_BYTES, UNKNOWN, Ids, News, Ring, Wanted
from jobqueue.job import Progress
from jobqueue.wire.events import Step
from tests.unit.steps import DONE, FAILED, QUEUED, RUNNING, Event, parsed, report, step

ALL = Wanted()
IDS = Ids("0192f0c1-7e1a-7cc3-98c4-dc0c0c07398f")
BOOT = "0192f0c17e1a7cc398c4dc0c0c07398f"


def ring(*steps: Step) -> Ring:
    made = Ring(IDS)
    made.add((), steps)
    return made


def filled(count: int) -> Ring:
    """A ring through which `count` events have gone, of the jobs "1" to "count"."""
    made = Ring(IDS)
    for start in range(0, count, 100):
        made.add((), [step(str(number)) for number in range(start + 1, min(start + 100, count) + 1)])
    return made


def read(ring: Ring, wanted: Wanted = ALL, after: int = 0) -> list[Event]:
    """All that there is after a number, piece by piece."""
    events = []
    while not (news := ring.read(wanted, after, ring.last)).nothing:
        events += parsed(news.piece)
        after = news.after
    return events


def jobs(events: list[Event]) -> list[str]:
    return [event.data["id"] for event in events]


# -- ids


def test_an_id_is_the_boot_and_a_number() -> None:
    """`<boot>-<n>`; the boot has no `-` of its own, so either way of splitting finds the number."""
    assert IDS.of(7) == f"{BOOT}-7"
    assert IDS.number(f"{BOOT}-7") == 7


NO_IDS = ["", "7", "-7", f"{BOOT}-", f"{BOOT}-x", f"{BOOT}--7", f"{BOOT}-7 ", f"{BOOT}-\u0667", f"{BOOT}-{'9' * 40}"]
OTHERS = [f"x{BOOT}-7", f"{BOOT[:-1]}0-7", f"{BOOT.upper()}-7"]


@pytest.mark.parametrize("id", [*NO_IDS, *OTHERS])
def test_an_id_of_anything_else_is_unknown(id: str) -> None:
    """Of another life of the process, or none at all: never an error."""
    assert IDS.number(id) == UNKNOWN


# -- what is read


def test_events_are_told_in_order_from_one() -> None:
    """Numbers grow by one; `event: job` with its fields."""
    first, second = read(ring(step("a"), step("a", FAILED, reason="fatal", attempt=3)))
    assert (first.name, first.id, second.id) == ("job", f"{BOOT}-1", f"{BOOT}-2")
    assert second.data == {
        "id": "a",
        "queue": "default",
        "kind": "noop",
        "status": "FAILED",
        "reason": "fatal",
        "attempt": 3,
        "at": "2027-01-15T08:00:00.000000Z",
    }


def test_a_reason_is_told_with_an_end_only() -> None:
    """As a job shows it: what a job once failed of is no reason of what it is now."""
    assert [event.data["reason"] for event in read(ring(step(reason="fatal")))] == [None]


def test_a_report_is_an_event_of_its_own() -> None:
    """`event: progress`, before the changes of its commit."""
    made = Ring(IDS)
    made.add([report("a", 50.0, message="half\nway", data='{"n":1}')], [step("a", DONE)])
    told, end = read(made)
    assert (told.name, end.name) == ("progress", "job")
    assert told.data == {
        "id": "a",
        "queue": "default",
        "kind": "noop",
        "attempt": 1,
        "percent": 50,
        "message": "half\nway",
        "data": {"n": 1},
        "at": "2027-01-15T08:00:00.000000Z",
    }


def test_no_text_breaks_the_stream() -> None:
    """What users say is JSON within one line, whatever is in it."""
    nasty = "a\r\n\ndata: x\u2028\x85\x0b\x00 id: 7"
    made = Ring(IDS)
    made.add([Step("a", "q", "k", RUNNING, None, 1, 0, Progress(None, nasty, json.dumps(nasty)))], ())
    (event,) = read(made)
    assert (event.data["message"], event.data["data"]) == (nasty, nasty)


@pytest.mark.parametrize(
    "wanted, told",
    [
        (Wanted(), "abcd"),
        (Wanted(queues=frozenset({"mail"})), "bc"),
        (Wanted(kinds=frozenset({"send"})), "cd"),
        (Wanted(statuses=frozenset({QUEUED})), "ac"),
        (Wanted(queues=frozenset({"mail", "default"}), kinds=frozenset({"send"}), statuses=frozenset({DONE})), "d"),
        (Wanted(job="b"), "b"),
        (Wanted(job="b", queues=frozenset({"default"})), ""),
        (Wanted(queues=frozenset({"nobody"})), ""),
    ],
)
def test_only_what_is_wanted_is_told(wanted: Wanted, told: str) -> None:
    """By job, queue, kind and status, each of several."""
    made = ring(
        step("a"), step("b", RUNNING, queue="mail"), step("c", queue="mail", kind="send"), step("d", DONE, kind="send")
    )
    assert jobs(read(made, wanted)) == list(told)


def test_a_report_counts_as_of_a_running_job() -> None:
    """So a filter by status says what becomes of it."""
    made = ring(report("a"))
    assert read(made, Wanted(statuses=frozenset({RUNNING})))
    assert not read(made, Wanted(statuses=frozenset({DONE})))


def test_a_piece_is_bounded_and_goes_on() -> None:
    """A listener is handed one bounded piece at a time, whose end it knows."""
    made = filled(1_000)
    news = made.read(ALL, 0, made.last)
    assert PIECE_BYTES <= len(news.piece) < PIECE_BYTES + 1_000
    assert parsed(news.piece)[-1].number == news.after < 1_000
    assert jobs(read(made)) == [str(number) for number in range(1, 1_001)]


def test_no_more_is_read_than_asked_for() -> None:
    """Up to a number, though there is more."""
    made = filled(10)
    assert [event.number for event in parsed(made.read(ALL, 2, 5).piece)] == [3, 4, 5]
    assert made.read(ALL, 7, 5) == News(b"", 7)


def test_a_listener_that_wants_nothing_of_it_knows_it_all_the_same() -> None:
    """`after` moves on over what is not wanted."""
    assert filled(10).read(Wanted(job="x"), 3, 9) == News(b"", 9)


def test_an_event_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many read it, and with whatever filters."""
    encoded: list[Step] = []

    def encode(step: Step, id: str) -> bytes:
        encoded.append(step)
        return b"x"

    monkeypatch.setattr(module, "event", encode)
    made = ring(step("a"), step("b"))
    for wanted in (ALL, Wanted(job="a"), Wanted(statuses=frozenset({QUEUED}))):
        made.read(wanted, 0, 2)
    assert [step.id for step in encoded] == ["a", "b"]


FILTERS = [Wanted(), Wanted(job="a"), Wanted(queues=frozenset({"q", "r"})), Wanted(kinds=frozenset({"k"}))]
STEPS = st.builds(
    lambda job, queue, kind, status: step(job, status, queue=queue, kind=kind),
    st.sampled_from("ab"),
    st.sampled_from("qrs"),
    st.sampled_from("kl"),
    st.sampled_from([QUEUED, RUNNING]),
)


@given(
    commits=st.lists(st.lists(STEPS, max_size=4), max_size=12),
    stops=st.sets(st.integers(0, 12)),
    which=st.integers(0, 3),
)
def test_whoever_reads_on_hears_each_event_once(commits: list[list[Step]], stops: set[int], which: int) -> None:
    """Wherever a listener pauses, it is told what is wanted of all events, in order, none twice."""
    wanted = FILTERS[which]
    made = Ring(IDS)
    heard: list[Event] = []
    after = 0
    for number, commit in enumerate(commits):
        made.add((), commit)
        if number in stops:
            news = made.read(wanted, after, made.last)
            heard += parsed(news.piece)
            after = news.after
    heard += read(made, wanted, after)
    every = [(number, step) for number, step in enumerate((step for commit in commits for step in commit), 1)]
    mine = [(number, step.id) for number, step in every if wanted.job in (None, step.id) and wanted.takes(step)]
    assert [(event.number, event.data["id"]) for event in heard] == mine


# -- what is no longer there


def test_the_ring_holds_ten_thousand() -> None:
    """The last 10,000, however many went before; what it keeps beside them is little."""
    made = filled(25_000)
    assert (made.oldest, made.last) == (15_001, 25_000)
    assert len(made._steps) <= EVENTS_MOST + SLACK + 100
    assert jobs(read(made, after=15_000)) == [str(number) for number in range(15_001, 25_001)]


def test_what_fell_out_is_a_gap_and_the_rest_follows() -> None:
    """First `gap`, which says how many; its id is where the rest begins."""
    gap, *rest = read(filled(10_100), after=40)
    assert (gap.name, gap.number, gap.data) == ("gap", 100, {"missed": 60})
    assert [event.number for event in rest] == list(range(101, 10_101))


@pytest.mark.parametrize("after", [UNKNOWN, 4])
def test_after_an_unknown_event_all_follows(after: int) -> None:
    """Of another boot, or one that never was: `gap`, and all there is, since nothing of it was told."""
    gap, *rest = read(filled(3), after=after)
    assert (gap.name, gap.number, gap.data) == ("gap", 0, {"missed": None})
    assert [event.number for event in rest] == [1, 2, 3]


def test_a_gap_in_an_empty_ring() -> None:
    """Right after a restart."""
    (gap,) = read(ring(), after=UNKNOWN)
    assert (gap.name, gap.number) == ("gap", 0)


def test_what_was_lost_on_its_way_is_a_gap_in_its_place() -> None:
    """What came before it is told first, what came after it behind."""
    made = ring(step("a"), step("b"))
    made.lose()
    made.add((), [step("c")])
    assert [(event.name, event.number) for event in read(made)] == [("job", 1), ("job", 2), ("gap", 3), ("job", 4)]
    assert [event.name for event in read(made, Wanted(queues=frozenset({"none"})))] == ["gap"]
    assert made.lost_at == 3


@pytest.mark.parametrize("after", [UNKNOWN, 0])
def test_a_gap_in_the_life_of_one_job_passes_over_what_there_is(after: int) -> None:
    """Its end may be among what was missed, so the job itself must be looked at, and older news is none then."""
    made = filled(10_100)
    news = made.read(Wanted(job="10050"), after, made.last)
    assert (news.gap, news.after) == (True, 10_100)
    assert [event.name for event in parsed(news.piece)] == ["gap"]


def test_large_reports_shorten_the_ring() -> None:
    """The ring is bounded in bytes, too: the data of reports may be 64 KiB each."""
    made = filled(100)
    data = json.dumps("x" * 65_000)
    for _ in range(1_000):
        made.add([report("a", data=data)], [step("b")])
    kept = made.last - made.oldest + 1
    assert TEXT_MOST_BYTES // 65_002 * 2 - 2 <= kept <= TEXT_MOST_BYTES // 65_002 * 2 + 2
    assert read(made, after=100)[0].data == {"missed": made.oldest - 1 - 100}


# -- one job


@pytest.mark.parametrize("statuses", [frozenset[int](), frozenset({QUEUED})])
def test_the_end_of_a_job_is_said_and_nothing_after_it(statuses: frozenset[int]) -> None:
    """Even if the end itself is not wanted; a retry begins another life."""
    made = ring(step("a"), step("b"), step("a", FAILED), step("a", QUEUED), step("a", DONE))
    news = made.read(Wanted(job="a", statuses=statuses), 0, made.last)
    assert (news.after, news.ended, news.nothing) == (3, True, False)
    assert made.read(Wanted(job="a"), 3, made.last).after == 5


def test_whoever_has_seen_the_table_goes_on_behind_what_it_showed() -> None:
    """What says the same, but for its time, was known; and so was all before it."""
    made = ring(step("a"), step("b", RUNNING), step("a", RUNNING, at=5), step("a", DONE))
    assert made.told(0, [step("a", RUNNING)]) == 3
    assert made.told(1, [step("a", RUNNING)]) == 3


def test_whoever_has_seen_an_older_table_goes_on_from_where_it_was() -> None:
    """Nothing there says what it saw: all of it is news. What is older than its place does not count."""
    made = ring(step("a", attempt=0), step("a", RUNNING), step("a", DONE))
    assert made.told(1, [step("a", attempt=0)]) == 1
    assert made.told(0, [step("a", RUNNING, attempt=2)]) == 0
    assert made.told(2, [step("a", RUNNING)]) == 2


def test_whoever_has_seen_a_report_goes_on_behind_it() -> None:
    """The table shows the last report of the running attempt; an equal one of another attempt is another."""
    made = ring(step("a", RUNNING), report("a", 10.0), report("a", 20.0), report("a", 10.0, attempt=2))
    assert made.told(0, [step("a", RUNNING), report("a", 10.0)]) == 2
    assert made.told(0, [step("a", RUNNING), report("a", 20.0)]) == 3
