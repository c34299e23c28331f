"""What all lists have in common: their query, how much of them is shown, their cursor, and the names in a path.

Jobs go by number and have cursors of their own (`filters.py`); queues and schedules go by name.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from jobqueue import wire
from jobqueue.api.exchange import Request, Response, json_response
from jobqueue.api.parts import ANSWER_MOST_BYTES
from jobqueue.errors import BadCursor, BadRequest, Fault, Invalid, InvalidText, NotFound

NAME = re.compile(wire.NAME)
BY_NAME = frozenset({"limit", "cursor"})  # what a list by name may be asked
CHECK_BYTES = 7


class Items:
    """The items of a page as JSON: as many as 8 MiB hold, and at least one."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self._size = 0

    def add(self, item: bytes) -> bool:
        """Put one more in; False where it has no room."""
        self._size += len(item)
        if self.all and self._size > ANSWER_MOST_BYTES:
            return False
        self.all.append(item)
        return True


def page(request: Request, items: Sequence[bytes], cursor: str | None) -> Response:
    """A page: its items, and where the next one is found."""
    body = b'{"items":[' + b",".join(items) + b'],"next":' + msgspec.json.encode(cursor) + b"}"
    if cursor is None:
        return json_response(body)
    asked = [(name, value) for name, value in request.queries() if name != "cursor"]
    link = f'<{request.path}?{urlencode([*asked, ("cursor", cursor)])}>; rel="next"'
    return json_response(body, headers=((b"link", link.encode("latin-1")),))


def cursor_of(request: Request) -> str | None:
    """The cursor that was handed in, if one was."""
    cursors = [value for name, value in request.queries() if name == "cursor"]
    return cursors[-1] if cursors else None


def after_name(request: Request) -> str:
    """The name after which a list by name is to go on. Raises BadRequest for what no such list is asked, BadCursor."""
    unknown = sorted({name for name, _ in request.queries()} - BY_NAME)
    if unknown:
        raise BadRequest(f"unknown filters: {', '.join(unknown)}; known: {', '.join(sorted(BY_NAME))}")
    cursor = cursor_of(request)
    return decode_name(cursor) if cursor is not None else ""


def encode_name(name: str) -> str:
    """An opaque cursor: a name, and a check that it is one of ours."""
    raw = name.encode()
    return base64.urlsafe_b64encode(_check(raw) + raw).decode().rstrip("=")


def decode_name(cursor: str) -> str:
    """The name. Raises BadCursor."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadCursor("this cursor is none of this server's") from None
    check, name = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
    if check != _check(name):
        raise BadCursor("this cursor is none of this server's")
    return name.decode("ascii")


def _check(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=CHECK_BYTES, person=b"jobqueue names").digest()


def known_name(request: Request, what: str) -> str:
    """The name in the path, of something that is to be there. Raises NotFound for what can be none."""
    name = request.params["name"]
    if not NAME.match(name):
        raise NotFound(f"no {what} has such a name")
    return name


def new_name(request: Request) -> str:
    """The name in the path, of something that may be new. Raises Invalid, InvalidText."""
    name = request.params["name"]
    if "\0" in name:
        raise InvalidText("the name holds a NUL", faults=(Fault("/name", "holds a NUL"),))
    if not NAME.match(name):
        detail = "must be 1 to 64 of the characters A-Z a-z 0-9 . _ : -"
        raise Invalid(f"/name: {detail}", faults=(Fault("/name", detail),))
    return name
