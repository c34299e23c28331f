"""What the drafts of a submission read and weigh because of their unique keys and of those they depend on."""

from __future__ import annotations

from collections.abc import Iterable

from jobqueue.job import DEFAULT_OPTIONS, Draft
from jobqueue.stores.contract import Needs

LINK_BYTES = 64  # what a dependency weighs


def declare(needs: Needs, drafts: Iterable[Draft]) -> None:
    """Add the holders of their keys, and their parents; "#n" names a draft, which is there already."""
    for draft in drafts:
        options = draft.options
        if options is not DEFAULT_OPTIONS:
            if options.unique is not None:
                needs.uniques.add((draft.queue, options.unique.key))
            if options.depends_on:
                needs.jobs.update(id for id in options.depends_on if not id.startswith("#"))


def weigh(drafts: Iterable[Draft]) -> int:
    """Their share of a batch, in bytes."""
    return LINK_BYTES * sum(len(draft.options.depends_on) for draft in drafts)
