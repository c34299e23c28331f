"""What the state actor can be asked to do to the job table: one frozen class a command.

Each says what it reads (`needs`) and what it does (`decide`, by the rules). The actor folds the commands of a batch
into one `store.apply`; it knows none of them by name but `Turn`, whose claims are decided after the rest of its batch.
"""

from jobqueue.actors.commands.jobs import (
    CANCEL,
    DRAIN,
    ROW_BYTES,
    TIMEOUT,
    Cancel,
    Command,
    Order,
    Report,
    Retry,
    Settled,
    Submit,
    SubmitEach,
    Turn,
    draining,
    settle,
)

__all__ = [
    "CANCEL",
    "DRAIN",
    "ROW_BYTES",
    "TIMEOUT",
    "Cancel",
    "Command",
    "Order",
    "Report",
    "Retry",
    "Settled",
    "Submit",
    "SubmitEach",
    "Turn",
    "draining",
    "settle",
]
