"""jobqueue: a job server in one process, driven by plain HTTP."""

__version__ = "0.1.0"
