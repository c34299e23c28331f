"""How many files a server opens: as many as its connections need, where that is allowed."""

from __future__ import annotations

import resource

import pytest

from jobqueue.http.limits import FILES_BESIDE, allow_files

ENDLESS = resource.RLIM_INFINITY
NEEDED = 2_000 + FILES_BESIDE


@pytest.mark.parametrize(
    "soft, hard, raised",
    [
        (1_024, 524_288, NEEDED),
        (1_024, ENDLESS, NEEDED),
        (1_024, 2_000, 2_000),
        (1_024, 1_024, 1_024),
        (NEEDED, 524_288, None),
        (ENDLESS, ENDLESS, None),
    ],
)
def test_the_process_allows_itself_what_its_connections_need(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None
) -> None:
    """Up to what it may; the bound above it is left alone, and none is lowered. It says whether that suffices."""
    bounds = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: bounds[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, bound: bounds.append(bound))
    assert allow_files(2_000) is (raised in (None, NEEDED))
    assert bounds[1:] == ([] if raised is None else [(raised, hard)])
