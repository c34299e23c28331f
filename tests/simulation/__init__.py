"""The whole program under a virtual clock and a seeded scheduler: it is crashed, drained and lied to, and judged.

One seed is one schedule. It decides the order of all tasks, every random number and id, what the clients ask, how long
each commit takes and what goes wrong; so a failure is replayed by its seed: `python -m tests.simulation SEED`.

plan      what a seed draws before the start: the faults, when they strike, how large the world is
world     seeded run, step counter, trace, wall clock
disk      what outlives the node: memory tables or an SQLite file; and what goes wrong with them
medium    the disk as the store of one life, with commits in flight
node      lives of the program: boot, crash, drain
wire      requests, which enter by the ASGI front
handlers  what jobs do, and the ledger of what really ran
clients   what is asked, with keys that are repeated after an unknown outcome
oracle    outside of it all: judges every move of a job as it is committed, and every answer
lanes     its part that judges order and fairness
endings   its part that judges how attempts ended
runs      its part that knows what the handlers did
bugs      planted bugs, so that the harness is proven able to fail
run       one seed from its start to its verdict
"""
