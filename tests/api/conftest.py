"""Fixtures of the API tests: a server behind each of its doors, a clock that stands still, a watch over the log."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from tests.api.bench import Api, served
from tests.api.doors import NAMES


def run_on_still_clock(main: Any, *, clock: None, instruments: Any) -> Any:
    """`trio.run` with time that moves only when a test says so; sockets work as ever."""
    return trio.run(main, clock=trio.testing.MockClock(), instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every async test in this folder runs on a clock that stands still."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_on_still_clock))


@pytest.fixture(params=NAMES)
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """A server behind each door in turn: for what must hold behind all of them."""
    async with served(request.param) as client:
        yield client


@pytest.fixture
async def front() -> AsyncIterator[Api]:
    """A server called in memory: for rules that know nothing of doors."""
    async with served() as client:
        yield client


@pytest.fixture(params=NAMES[2:])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """A server on a real socket, with our connection and with Hypercorn's: for what takes time on the wire."""
    async with served(request.param) as client:
        yield client


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """What was logged. A test that expects an error takes it out: no answer of 4xx may leave one."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert [entry for entry in entries if entry["log_level"] in ("error", "critical") or entry.get("exc_info")] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
