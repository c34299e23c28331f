"""How bugs are planted: by patches, and by a store before the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from jobqueue.actors.commands import Command
from jobqueue.actors.state import StateActor
from jobqueue.rules.table import Table

Planted = Callable[[], AbstractContextManager[object]]
Decide = Callable[[Table], Any]


class Passing:
    """A store before the store, for one batch."""

    def __init__(self, actor: Any, commands: Sequence[Command]) -> None:
        self.store = actor._store
        self.commands = commands

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def before_the_store(make: Callable[[Any, Sequence[Command]], Passing]) -> AbstractContextManager[object]:
    """Each batch goes through what `make` puts before the store."""
    apply = StateActor._apply

    async def patched(actor: Any, commands: Sequence[Command]) -> None:
        store, world = actor._store, actor._world
        actor._store = make(actor, commands)
        try:
            await apply(actor, commands)
        finally:
            actor._store, actor._world = store, world

    return patch.object(StateActor, "_apply", patched)
