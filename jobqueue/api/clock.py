"""POST /clock/advance: let job time pass on a server whose clock is manual, so that tests need not wait for it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import Parts
from jobqueue.clock import iso, micros
from jobqueue.errors import NotFound


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """How much time is to pass."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=wire.LONGEST_SECONDS)]


async def advance(request: Request, parts: Parts) -> Response:
    """Pass the due moments on the way, in order; answered once they are committed."""
    if parts.time is None:
        raise NotFound("the clock is the system's: only a server with --clock manual has one that can be moved")
    said, _ = await request.json(parts.max_body)
    now = await parts.time.advance(micros(wire.convert(said, Advance).seconds))
    return json_response(wire.encode({"now": iso(now)}))
