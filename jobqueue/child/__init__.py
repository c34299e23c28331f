"""The process in which a worker runs blocking handlers, so that they can be killed.

A worker owns one `Child` (`parent.py`): a slot in which a process is started when it is first needed, `python -m
jobqueue.child` (`__main__.py`), which imports the registries by their names and then runs one job after the other. The
two speak over a socket pair of their own (`frames.py`), so what a handler prints goes to the server's stderr and
disturbs nothing. A kill, or the process's own death, costs the attempt it ran; the next job gets a new process.

It never outlives the server, even one killed by SIGKILL: the kernel kills it with its parent where it can (Linux), and
a thread in it waits for the end of the socket, and then kills its process group.
"""

from jobqueue.child.parent import Child, ChildDied

__all__ = ["Child", "ChildDied"]
