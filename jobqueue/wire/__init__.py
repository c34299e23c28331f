"""A job as JSON, both ways. Shared by `api/` and clients.

amendments  what a change of a job may say
queues      how a queue is shown, and what a change of its settings may say
schedules   what a schedule may say, and how it is shown
submission  what a submission may say, and where it is at fault
shown       how a job is shown
ties        what both say of its unique key and of those it waits for
"""

from jobqueue.wire.amendments import amendment
from jobqueue.wire.queues import queue_change, queue_fields
from jobqueue.wire.schedules import schedule, schedule_fields
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
    convert,
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
    "amendment",
    "attempt",
    "chosen",
    "convert",
    "draft",
    "draft_line",
    "encode",
    "fields",
    "job_json",
    "line",
    "moment",
    "no_fields",
    "queue_change",
    "queue_fields",
    "schedule",
    "schedule_fields",
]
