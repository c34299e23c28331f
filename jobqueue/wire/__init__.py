"""A job as JSON, both ways. Shared by `api/` and clients.

submission  what a submission may say, and where it is at fault
shown       how a job is shown
"""

from jobqueue.wire.shown import FIELDS, attempt, chosen, encode, fields, job_json, line
from jobqueue.wire.submission import (
    LONGEST_SECONDS,
    NAME,
    NO_TRACE,
    UNKNOWN_MOST,
    Defaults,
    Moment,
    Submission,
    Trace,
    draft,
    draft_line,
    moment,
    no_fields,
)

__all__ = [
    "FIELDS",
    "LONGEST_SECONDS",
    "NAME",
    "NO_TRACE",
    "UNKNOWN_MOST",
    "Defaults",
    "Moment",
    "Submission",
    "Trace",
    "attempt",
    "chosen",
    "draft",
    "draft_line",
    "encode",
    "fields",
    "job_json",
    "line",
    "moment",
    "no_fields",
]
