"""How long to wait between two attempts: pure arithmetic on a job's retry policy.

The default, exponential with full jitter, spreads the retries of jobs that failed together
(M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from collections.abc import Callable

from jobqueue.job import Retry


def longest_delay(policy: Retry, attempt: int) -> float:
    """Seconds to wait after the failed `attempt` (1, 2, ...), before jitter."""
    if policy.backoff == "list":
        return policy.delays[min(attempt, len(policy.delays)) - 1] if policy.delays else 0.0
    if policy.backoff == "linear":
        return min(policy.initial * attempt, policy.max)
    try:
        return min(policy.initial * policy.factor ** (attempt - 1), policy.max)
    except OverflowError:
        return policy.max if policy.initial else 0.0


def delay(policy: Retry, attempt: int, chance: Callable[[], float]) -> float:
    """Seconds to wait after the failed `attempt`, with jitter; `chance` gives a number in [0, 1)."""
    longest = longest_delay(policy, attempt)
    if policy.backoff == "list" or policy.jitter == "none":
        return longest
    if policy.jitter == "equal":
        return longest / 2 + longest / 2 * chance()
    return longest * chance()
