"""How long a job waits between two attempts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.job import DEFAULT_OPTIONS, Retry
from jobqueue.rules.retry import delay, longest_delay

policies = st.builds(
    Retry,
    backoff=st.sampled_from(["exponential", "linear", "list"]),
    initial=st.floats(0, 86_400),
    factor=st.floats(1, 100),
    max=st.floats(0, 86_400),
    jitter=st.sampled_from(["full", "equal", "none"]),
    delays=st.lists(st.floats(0, 86_400), max_size=5).map(tuple),
)


def test_total_window_of_the_default() -> None:
    """By default five tries span at most 1 + 2 + 4 + 8 = 15 seconds of waiting, half of it on average."""
    policy = DEFAULT_OPTIONS.retry
    tries = range(1, DEFAULT_OPTIONS.max_attempts)
    assert [longest_delay(policy, attempt) for attempt in tries] == [1, 2, 4, 8]
    assert sum(delay(policy, attempt, lambda: 0.5) for attempt in tries) == 7.5


def test_the_default_is_capped_at_an_hour() -> None:
    """The thirteenth delay and all later ones are an hour, and a job of 1,000 tries never overflows."""
    assert [longest_delay(Retry(), attempt) for attempt in (12, 13, 14, 999)] == [2048, 3600, 3600, 3600]


def test_nothing_times_anything_is_nothing() -> None:
    """A policy that begins with no delay never has one, however far its factor would carry."""
    assert longest_delay(Retry(initial=0, factor=100), 999) == 0


@pytest.mark.parametrize(
    "policy, expected",
    [
        (Retry(initial=3, factor=1.5, max=10), [3, 4.5, 6.75, 10, 10]),
        (Retry(backoff="linear", initial=2, max=7), [2, 4, 6, 7, 7]),
        (Retry(backoff="list", delays=(1, 5, 60)), [1, 5, 60, 60, 60]),
        (Retry(backoff="list"), [0, 0, 0, 0, 0]),
    ],
    ids=["exponential", "linear", "list", "empty list"],
)
def test_delays_before_jitter(policy: Retry, expected: list[float]) -> None:
    """Exponential multiplies, linear adds, a list is read off and its last delay repeats; `max` caps the first two."""
    assert [longest_delay(policy, attempt) for attempt in range(1, 6)] == expected


@pytest.mark.parametrize(
    "jitter, chance, expected",
    [
        ("full", 0.0, 0),
        ("full", 0.75, 6),
        ("equal", 0.0, 4),
        ("equal", 0.75, 7),
        ("none", 0.0, 8),
        ("none", 0.75, 8),
    ],
)
@pytest.mark.parametrize("backoff", ["exponential", "linear"])
def test_jitter(backoff: str, jitter: str, chance: float, expected: float) -> None:
    """Full jitter draws from the whole delay, equal from its upper half, none does not draw."""
    policy = Retry(backoff=backoff, initial=8, jitter=jitter)  # type: ignore[arg-type]  # names from the table of cases
    assert delay(policy, 1, lambda: chance) == expected


def test_a_list_has_no_jitter() -> None:
    """The delays of a list are kept to the letter."""
    assert delay(Retry(backoff="list", delays=(5,), jitter="full"), 1, lambda: 0.1) == 5


@given(policies, st.integers(1, 1000), st.integers())
def test_every_delay_is_bounded(policy: Retry, attempt: int, seed: int) -> None:
    """No policy, try or chance gives a negative delay or one beyond what is announced."""
    longest = longest_delay(policy, attempt)
    assert 0 <= delay(policy, attempt, random.Random(seed).random) <= longest
    assert longest <= (max(policy.delays, default=0) if policy.backoff == "list" else policy.max)
