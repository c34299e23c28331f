"""Defaults: what a job gets where neither its submission nor its handler says anything.

From the job, then the handler's registration, then the queue, then the server. The first two are known when a draft is
made (`Draft.unsaid` tells what they left open), the queue's present settings at the commit.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobqueue.job import Draft, Options
from jobqueue.queue import Queue


def options(draft: Draft, queue: Queue) -> Options:
    """The options of the draft in that queue."""
    if not queue.defaults or not draft.unsaid:
        return draft.options
    said: dict[str, Any] = {name: getattr(queue.defaults, name) for name in draft.unsaid}
    known = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(draft.options, **known) if known else draft.options
