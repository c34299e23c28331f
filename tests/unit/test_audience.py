"""The audience: whoever waits is found by what concerns it, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from jobqueue.actors.audience import SWEEP_AT, Audience
from jobqueue.actors.ring import Wanted
from jobqueue.wire.events import Step
from tests.unit.steps import DONE, QUEUED, RUNNING, step


@dataclass(eq=False)
class Listener:
    """One that waits."""

    wanted: Wanted = Wanted()  # noqa: RUF009 - it is frozen
    left: bool = False


def gone(listener: Listener) -> bool:
    return listener.left


def audience(*listeners: Listener) -> Audience[Listener]:
    made: Audience[Listener] = Audience()
    for listener in listeners:
        made.add(listener, gone)
    return made


def names(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), max_size=2)


WANTED = st.builds(
    Wanted,
    st.sampled_from([None, None, "a", "b"]),
    names("q", "r", "s"),
    names("k", "l"),
    st.frozensets(st.sampled_from([QUEUED, RUNNING, DONE]), max_size=2),
)
STEPS = st.builds(
    lambda job, queue, kind, status: step(job, status, queue=queue, kind=kind),
    st.sampled_from("abc"),
    st.sampled_from("qrs"),
    st.sampled_from("kl"),
    st.sampled_from([QUEUED, RUNNING, DONE]),
)


@given(wanted=st.lists(WANTED, max_size=8), steps=st.lists(STEPS, max_size=4), leaving=st.sets(st.integers(0, 7)))
def test_those_are_found_whom_it_concerns(wanted: list[Wanted], steps: list[Step], leaving: set[int]) -> None:
    """Each listener exactly when some step is wanted by it, or is the end of its job."""
    listeners = [Listener(each) for each in wanted]
    waiting = audience(*listeners)
    for index in leaving & set(range(len(listeners))):
        waiting.remove(listeners[index])
    staying = [listener for index, listener in enumerate(listeners) if index not in leaving]

    def concerned(of: Wanted) -> bool:
        mine = [step for step in steps if of.job in (None, step.id)]
        return any(of.takes(step) or (of.job is not None and step.ends) for step in mine)

    found = list(waiting.concerned(steps))
    assert len(found) == len(set(map(id, found)))
    assert set(map(id, found)) == {id(listener) for listener in staying if concerned(listener.wanted)}
    assert list(waiting.everybody()) == staying


def test_who_has_waited_longest_is_first() -> None:
    """In the order in which they came."""
    one, two = Listener(), Listener(Wanted(job="a"))
    waiting = audience(one, two)
    assert waiting.first() is one
    waiting.remove(one)
    assert waiting.first() is two
    waiting.remove(two)
    assert (waiting.first(), len(waiting)) == (None, 0)


def test_nothing_is_kept_of_those_who_left() -> None:
    """Jobs and filters may come without end."""
    listeners = [Listener(Wanted(job=str(number), queues=frozenset({str(number)}))) for number in range(50)]
    listeners += [Listener(Wanted(None, frozenset({str(number), "x"}))) for number in range(50)]
    waiting = audience(*listeners)
    for listener in listeners:
        waiting.remove(listener)
    assert not any((waiting._line, waiting._alike, waiting._by_key))


def test_those_who_hung_up_are_forgotten_when_they_are_many() -> None:
    """Clients that come and go while nothing happens cost no memory without end."""
    waiting = audience(*(Listener(left=True) for _ in range(10 * SWEEP_AT)), Listener())
    assert len(waiting) <= SWEEP_AT + 1
    staying = audience(*(Listener() for _ in range(3 * SWEEP_AT)))
    assert len(staying) == 3 * SWEEP_AT


def test_what_concerns_others_is_not_even_looked_at() -> None:
    """A thousand listeners of single jobs cost a commit of other jobs nothing: they are found by the job's id."""

    class Counted(Wanted):
        looks = 0

        def takes(self, step: Step) -> bool:
            Counted.looks += 1
            return super().takes(step)

    waiting = audience(*(Listener(Counted(job=f"job-{number}")) for number in range(1_000)))
    waiting.add(Listener(Counted(queues=frozenset({"mail"}))), gone)
    assert waiting.concerned([step("other") for _ in range(100)]) == []
    assert Counted.looks == 0
    assert len(waiting.concerned([step("job-7")])) == 1
