"""Fixtures of the storage exam: a desk on each engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from jobqueue.stores.contract import Store
from jobqueue.stores.memory import MemoryStore
from jobqueue.stores.sqlite import SqliteStore
from tests.helpers import Clock, Desk


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The store sets the umask of the process; other tests get theirs back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(params=["memory", "sqlite"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk on an open, empty store of each engine."""
    clock = Clock()
    store: Store = (
        MemoryStore(clock.now) if request.param == "memory" else SqliteStore(str(tmp_path / "jobs.db"), clock.now)
    )
    async with store:
        yield Desk(store, clock)
