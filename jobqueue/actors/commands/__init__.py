"""What the state actor can be asked to do to the job table: one frozen class a command.

Each says what it reads (`needs`) and what it does (`decide`, by the rules). The actor folds the commands of a batch
into one `store.apply`; it knows none of them by name but `Turn`, whose claims are decided after the rest of its batch.
"""

from jobqueue.actors.commands.amend import Amend, ChangeEach, Remove, What
from jobqueue.actors.commands.explain import Explain
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
from jobqueue.actors.commands.moment import Now
from jobqueue.actors.commands.queues import Configure
from jobqueue.actors.commands.schedules import DropSchedule, Fire, PutSchedule, Trigger

SUBMISSIONS = (Submit, SubmitEach, Trigger, Fire)  # refused by a server that takes nothing new
HEAVY = (Submit, SubmitEach, Turn, Report, PutSchedule, Fire, ChangeEach, Explain)  # more than a row: they are weighed

__all__ = [
    "CANCEL",
    "DRAIN",
    "HEAVY",
    "ROW_BYTES",
    "SUBMISSIONS",
    "TIMEOUT",
    "Amend",
    "Cancel",
    "ChangeEach",
    "Command",
    "Configure",
    "DropSchedule",
    "Explain",
    "Fire",
    "Now",
    "Order",
    "PutSchedule",
    "Remove",
    "Report",
    "Retry",
    "Settled",
    "Submit",
    "SubmitEach",
    "Trigger",
    "Turn",
    "What",
    "draining",
    "settle",
]
