"""The reader: reads that decide nothing, many of them in one hop to the store's read-only connection.

It sees all that was answered before a read was asked for. Lists may be shed; a job by its id never is.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from jobqueue.errors import Internal, JobQueueError, NotFound, Removed
from jobqueue.job import AttemptRecord, Job, Line
from jobqueue.mailbox import Address, Closed, Inbox, Reply, mailbox
from jobqueue.queue import Known
from jobqueue.schedule import Schedule
from jobqueue.stores.contract import Filter, Matches, Page, Store
from jobqueue.stores.contract import Removed as Tombstone

log = structlog.get_logger(__name__)

T = TypeVar("T")

INBOX = 1024
GET_MOST = 256


class Get:
    """Read a job by its id; `whole`: with its result, error and progress."""

    __slots__ = ("id", "reply", "whole")

    def __init__(self, id: str, reply: Reply[Job], *, whole: bool) -> None:
        self.id = id
        self.reply = reply
        self.whole = whole


class Query:
    """Read something that `read` asks of the store."""

    __slots__ = ("read", "reply")

    def __init__(self, read: Callable[[Store], Awaitable[Any]], reply: Reply[Any]) -> None:
        self.read = read
        self.reply = reply


class Reads:
    """The handle: what may be read."""

    __slots__ = ("_address",)

    def __init__(self, address: Address[Get | Query]) -> None:
        self._address = address

    async def job(self, id: str, *, whole: bool = True) -> Job:
        """The job; with `whole`, its result, error and progress too. Raises NotFound, Removed, StoreUnavailable."""
        return await self._address.ask(lambda reply: Get(id, reply, whole=whole))

    async def page(self, wanted: Filter, before: int | None, limit: int, *, wide: bool = True) -> Page:
        """A page of jobs, newest first; `wide`: with what is large in them. Raises Overloaded, StoreUnavailable."""
        return await self._query(lambda store: store.page(wanted, before, limit, wide=wide))

    async def matching(self, wanted: Filter, before: int | None, limit: int) -> Matches:
        """The ids of a page of jobs. Raises as `page`."""
        return await self._query(lambda store: store.matching(wanted, before, limit))

    async def attempts(self, seq: int) -> Sequence[AttemptRecord]:
        """The ended attempts of a job, newest first."""
        return await self._query(lambda store: store.attempts(seq))

    async def lines(self, seq: int) -> Sequence[Line]:
        """The log of a job, oldest first."""
        return await self._query(lambda store: store.lines(seq))

    async def queues(self) -> Sequence[Known]:
        """All queues, by name."""
        return await self._query(lambda store: store.queues())

    async def queue(self, name: str) -> Known:
        """A queue. Raises NotFound."""
        found = await self._query(lambda store: store.queues(name))
        if not found:
            raise NotFound(f"no queue {name}")
        return found[0]

    async def counts(self) -> Mapping[str, Sequence[int]]:
        """For each queue the number of jobs by status."""
        return await self._query(lambda store: store.counts())

    async def schedule(self, name: str) -> Schedule:
        """A schedule. Raises NotFound."""
        found = await self._query(lambda store: store.schedule(name))
        if found is None:
            raise NotFound(f"no schedule {name}")
        return found

    async def schedules(self, after: str, most: int) -> tuple[Sequence[Schedule], bool]:
        """Up to `most` schedules by name, from after `after`, and whether more follow. Raises as `page`."""
        return await self._query(lambda store: store.schedules(after, most))

    async def _query(self, read: Callable[[Store], Awaitable[T]]) -> T:
        return await self._address.ask(lambda reply: Query(read, reply), shed=True)


class Reader:
    """The loop behind `Reads`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inbox: Inbox[Get | Query]
        address, self._inbox = mailbox(INBOX)
        self.handle = Reads(address)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                messages = await self._inbox.gather(until=math.inf, most=GET_MOST, weigh=_one)
                gets = [message for message in messages if isinstance(message, Get)]
                if gets:
                    await self._get(gets)
                for message in messages:
                    if isinstance(message, Query):
                        await self._query(message)
        finally:
            for message in self._inbox.close():
                message.reply.fail(Closed())

    async def _get(self, gets: Sequence[Get]) -> None:
        try:
            whole = any(get.whole for get in gets)
            found = await self._store.get([get.id for get in gets], whole=whole)
        except JobQueueError as error:
            for get in gets:
                get.reply.fail(error)
            return
        except Exception as error:  # noqa: BLE001 - one request must not end the server
            if len(gets) > 1:  # only one of them may be at fault
                for get in gets:
                    await self._get([get])
            else:
                _fail(gets[0], error)
            return
        for get, job in zip(gets, found, strict=True):
            if job is None:
                get.reply.fail(NotFound(f"no job {get.id}"))
            elif isinstance(job, Tombstone):
                get.reply.fail(Removed(f"job {get.id} was removed"))
            else:
                get.reply.send(job)

    async def _query(self, query: Query) -> None:
        try:
            query.reply.send(await query.read(self._store))
        except JobQueueError as error:
            query.reply.fail(error)
        except Exception as error:  # noqa: BLE001 - one request must not end the server
            _fail(query, error)


def _fail(message: Get | Query, error: Exception) -> None:
    """A fault of ours, or of the engine: it costs one answer, not the server. A read leaves nothing behind."""
    log.error("read failed", exc_info=error)
    message.reply.fail(Internal())


def _one(message: Get | Query) -> int:  # noqa: ARG001 - every message weighs the same
    return 1
