"""Handlers: the functions that do the work, from their registration to the verdict on how they ended.

registry  kinds and their functions; how a worker runs one
loading   registries by their names, `package.module:registry`
context   what a handler is given beside its payload
verdict   what an exception of a handler means; results as JSON
"""

from jobqueue.handlers.context import Context, ProcessContext
from jobqueue.handlers.registry import Handlers, Processes, Registration, attempt, builtins, call
from jobqueue.handlers.verdict import Fatal, RetryIn

__all__ = [
    "Context",
    "Fatal",
    "Handlers",
    "ProcessContext",
    "Processes",
    "Registration",
    "RetryIn",
    "attempt",
    "builtins",
    "call",
]
