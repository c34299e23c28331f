"""HTTP/1.1 for an ASGI app: the connection that stands in Hypercorn's slot, so that no client can harm the server.

In the order in which a request meets them:

    server.py      Hypercorn's `serve`, with ours where it would run its own connection
    binding.py     the sockets it listens on
    hub.py         what the connections of one server share; who may connect
    connection.py  one connection, one task
    parser.py      bytes -> requests (request.py), by llhttp, the rules of framing.py and sizes
    exchange.py    the app's receive and send
    answer.py      answers -> bytes; problem.py writes those that are errors
    reaper.py      the one task that ends what takes too long (limits.py)
    fence.py       what keeps errors inside a connection

It knows nothing of jobs: it imports `jobqueue.errors` only.
"""

from jobqueue.http.limits import Cause, Counters, Limits, allow_files
from jobqueue.http.problem import problem_body, problem_headers
from jobqueue.http.server import serve

__all__ = ["Cause", "Counters", "Limits", "allow_files", "problem_body", "problem_headers", "serve"]
