"""What a submission may say of other jobs: its unique key, and whom it waits for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jobqueue.errors import Fault, Invalid, InvalidText
from jobqueue.job import Unique

KEY_MOST = 255
PARENTS_MOST = 1_000
PARENT = re.compile(r"#(?:0|[1-9][0-9]{0,3})|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

Parents = Annotated[tuple[str, ...], Meta(max_length=PARENTS_MOST)]
OnFailure = Literal["cancel", "run"]


class UniqueBody(msgspec.Struct, forbid_unknown_fields=True, rename={"until": "while"}):
    """A unique key."""

    key: Annotated[str, Meta(min_length=1, max_length=KEY_MOST)]
    until: Literal["queued", "active", "exists"] = "active"
    on_conflict: Literal["reject", "return", "replace"] = "reject"


def unique_of(said: UniqueBody | None) -> Unique | None:
    """The key as the rules have it. Raises InvalidText."""
    if said is None:
        return None
    if "\0" in said.key:
        raise InvalidText("a unique key holds a NUL", faults=(Fault("/unique/key", "holds a NUL"),))
    return Unique(said.key, said.until, said.on_conflict)


def parents_of(said: Sequence[str]) -> tuple[str, ...]:
    """Whom a job waits for: ids in their canonical form, or "#n". Raises Invalid."""
    for index, parent in enumerate(said):
        if not PARENT.fullmatch(parent):
            fault = Fault(f"/depends_on/{index}", 'must be the id of a job, or "#0" for the first of the same array')
            raise Invalid(f"{fault.pointer}: {fault.detail}", faults=(fault,))
    return tuple(parent.lower() for parent in said)


def shown(unique: Unique | None) -> dict[str, Any] | None:
    """A unique key as it is shown."""
    if unique is None:
        return None
    return {"key": unique.key, "while": unique.until, "on_conflict": unique.on_conflict}
