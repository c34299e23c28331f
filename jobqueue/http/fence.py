"""What keeps one bad connection from ending the server: no exception passes, save those that belong to the caller."""

from __future__ import annotations

import structlog
import trio

from jobqueue.http.limits import Counters

_log = structlog.get_logger("jobqueue.http")
_FOREIGN = (trio.Cancelled, KeyboardInterrupt)


def keep_inside(error: BaseException, counters: Counters, event: str, **about: object) -> None:
    """Log `error` as `event`, once and with its traceback, and count it; SystemExit is an error like any other.

    Raises what of it is Cancelled or KeyboardInterrupt, alone or within a group, since that is meant for others.
    """
    foreign, own = _part(error)
    if own is not None:
        counters.errors += 1
        _log.error(event, exc_info=own, **about)
    if foreign is not None:
        raise foreign


def _part(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    if isinstance(error, BaseExceptionGroup):
        return error.split(_FOREIGN)
    return (error, None) if isinstance(error, _FOREIGN) else (None, error)
