"""jobqueue: a job server in one process, driven by plain HTTP.

errors clock strictjson    the seams: error vocabulary, time and chance, JSON
job wire                   values, and their JSON
rules/                     what may happen to jobs: pure, `now` passed in
stores/                    the job table on its engines; one contract
mailbox                    the actor kit: every channel is opened there
actors/                    state, reader, herald, dispatcher, worker
handlers/ child/           the functions that do the work; the process that runs a blocking one
api/                       the table of routes and its endpoints
http/                      Hypercorn's connection, ours
server crew signals logs   the supervision tree, and how it stops
config cli/                argv, environment, file -> one Config

Imports go one way, in that order (tests/unit/test_imports.py).
"""

from jobqueue.handlers import Context, Fatal, Handlers, ProcessContext, RetryIn
from jobqueue.job import Retry

__all__ = ["Context", "Fatal", "Handlers", "ProcessContext", "Retry", "RetryIn", "__version__"]

__version__ = "0.1.0"
