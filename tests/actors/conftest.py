"""The actors of a test, from the store up, each in a fixture; and virtual time for all async tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from jobqueue.actors.dispatcher import Dispatch, Dispatcher
from jobqueue.actors.state_handle import State
from jobqueue.mailbox import Nudge
from jobqueue.server import running
from tests.actors.kit import Engine, Outside, on_virtual_time, serving

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run the async tests beside this file on virtual time: pytest-trio's own mode has given them the real one."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=on_virtual_time), append=False)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def engine(outside: Outside) -> Engine:
    return Engine(outside.now)


@pytest.fixture
async def claimable() -> Nudge:
    return Nudge()


@pytest.fixture
async def state(engine: Engine, outside: Outside, claimable: Nudge) -> AsyncIterator[State]:
    async with serving(engine, outside, claimable) as state:
        yield state


@pytest.fixture
async def dispatch(state: State, claimable: Nudge) -> AsyncIterator[Dispatch]:
    async with running(Dispatcher(state, claimable)) as dispatch:
        yield dispatch
