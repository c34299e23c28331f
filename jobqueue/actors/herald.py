"""The herald: tells what happens to jobs to whoever listens. It owns the ring of the last events (`ring.py`).

The state actor puts each commit up (`bulletin.py`) and never waits for anybody. Listeners ask `next`, and
are answered when there is news for them: news is looked through a few times a second, and the answers are rationed, so
a thousand listeners take only a part of the loop's time. Nothing waits for a listener, and nothing is kept for one.
"""

from __future__ import annotations

import contextlib
import math

import structlog
import trio

from jobqueue.actors.audience import Audience
from jobqueue.actors.bulletin import Bulletin
from jobqueue.actors.events import Close, Events, Here, Message, Next, Read, Tick, Told
from jobqueue.actors.ring import Ids, News, Ring, Wanted
from jobqueue.errors import Internal, JobQueueError
from jobqueue.mailbox import Address, Closed, Inbox, mailbox

log = structlog.get_logger(__name__)

SHARE = 0.75  # of the connections, that may listen
INBOX = 4096  # an ask of each listener, about
TICK_SECONDS = 0.05  # from one look through what is new to the next
ROUND_SECONDS = 0.02
ROUND_ANSWERS = 50  # so listeners are told at most 2,500 pieces a second, and no round holds others up for long
PIECES = 64  # that are kept for others who read the same


class Herald:
    """The loop behind `Events`. `connections`: how many there may be; some are kept free of listeners."""

    def __init__(self, bulletin: Bulletin, boot_id: str, connections: int) -> None:
        ids = Ids(boot_id)
        self._bulletin = bulletin
        self._ring = Ring(ids)
        self._inbox: Inbox[Message]
        self._address: Address[Message]
        self._address, self._inbox = mailbox(INBOX)
        self.handle = Events(self._address, ids, max(1, int(connections * SHARE)))
        self._waiting: Audience[Next] = Audience()
        self._ready: dict[Next, None] = {}  # have something to be told, in this order
        self._seen = 0  # the last event that was looked through
        self._pieces: dict[tuple[Wanted, int], News] = {}  # what was read since then: many may want the same
        self._left = ROUND_ANSWERS
        self._round_at = 0.0  # when the next round begins
        self._closed = False

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pace)
                while True:
                    for message in await self._inbox.gather(until=self._wake_at(), most=INBOX, weigh=_one):
                        self._take_in(message)
                    self._end_silence()
                    self._tell()
        finally:
            for message in (*self._inbox.close(), *self._waiting.everybody(), *self._ready):
                message.reply.fail(Closed())

    async def _pace(self) -> None:
        """News comes in by the inbox too, so that one loop touches the fields; and not at every commit."""
        while True:
            await self._bulletin.wait()
            with contextlib.suppress(JobQueueError):
                await self._address.ask(Tick)
            await trio.sleep(TICK_SECONDS)

    def _wake_at(self) -> float:
        if self._ready:
            return self._round_at
        first = self._waiting.first()
        return math.inf if first is None else first.until

    def _take_in(self, message: Message) -> None:
        """Whatever is asked is answered by all that was published before."""
        try:
            commits, full = self._bulletin.take()
            for reports, steps in commits:
                self._ring.add(reports, steps)
            if full:
                self._ring.lose()
            self._answer(message)
        except Exception as error:
            log.error("listener failed", exc_info=error)
            message.reply.fail(Internal())

    def _answer(self, message: Message) -> None:
        match message:
            case Next():
                self._listen(message)
            case Tick():
                self._look()
                message.reply.send(None)
            case Close():
                self._closed = True
                self._look()
                for listener in self._waiting.everybody():
                    self._make_ready(listener)
                message.reply.send(None)
            case _ if self._closed:
                message.reply.fail(Closed())
            case Here():
                message.reply.send(self._ring.last)
            case Told():
                message.reply.send(self._ring.told(message.after, message.steps))
            case Read():
                message.reply.send(self._ring.read(message.wanted, message.after, self._ring.last))

    def _listen(self, listener: Next) -> None:
        """Whom there is something to tell already is ready, the others wait."""
        if self._closed:
            self._look()
        news = self._read(listener)
        listener.after = news.after if news.nothing else listener.after
        if news.nothing and not self._closed:
            self._waiting.add(listener, _gone)
        else:
            self._ready[listener] = None

    def _look(self) -> None:
        """Look through what is new: whom it concerns is ready, to all others it is no news."""
        start, self._seen = self._seen, self._ring.last
        self._pieces.clear()
        if not len(self._waiting):
            return
        if start < max(self._ring.oldest - 1, self._ring.lost_at):
            concerned = self._waiting.everybody()
        else:
            concerned = self._waiting.concerned([step for step in self._ring.since(start) if step is not None])
        for listener in concerned:
            if listener.after <= start or not self._read(listener).nothing:  # else it knew what concerns it already
                self._make_ready(listener, start)

    def _end_silence(self) -> None:
        now = trio.current_time()
        while (first := self._waiting.first()) is not None and first.until <= now:
            self._make_ready(first)

    def _make_ready(self, listener: Next, start: int | None = None) -> None:
        """It waited while all up to `start` (or all there is) was looked through, and there was nothing in it."""
        self._waiting.remove(listener)
        listener.after = max(listener.after, self._seen if start is None else start)
        self._ready[listener] = None

    def _tell(self) -> None:
        """Answer those who are ready, as far as the ration goes."""
        now = trio.current_time()
        if now >= self._round_at:
            self._round_at = now + ROUND_SECONDS
            self._left = ROUND_ANSWERS
        while self._ready and (self._left or self._closed):
            listener = next(iter(self._ready))
            del self._ready[listener]
            if not listener.reply.abandoned:
                self._left -= 1
                self._say(listener)

    def _say(self, listener: Next) -> None:
        try:
            news = self._read(listener)
        except Exception as error:
            log.error("listener failed", exc_info=error)
            listener.reply.fail(Internal())
            return
        if news.nothing and self._closed:
            listener.reply.fail(Closed())
        else:
            listener.reply.send(news)

    def _read(self, listener: Next) -> News:
        """What there is for it of all that was looked through."""
        wanted, after = listener.wanted, listener.after
        news = self._pieces.get((wanted, after))
        if news is None:
            news = self._ring.read(wanted, after, self._seen)
            if news.piece and wanted.job is None and len(self._pieces) < PIECES:
                self._pieces[wanted, after] = news
        return news


def _gone(listener: Next) -> bool:
    return listener.reply.abandoned


def _one(message: Message) -> int:  # noqa: ARG001 - every message weighs the same
    return 1
