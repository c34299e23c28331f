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

asks      how a client asks
clients   what is asked, with keys that are repeated after an unknown outcome
drafts    what a submission says
amenders  clients that change and delete jobs, and ask why one does not run
sweepers  clients that change many by a filter, and list what matches one
tuners    operators of queues
planners  operators of schedules
listeners those who are told what happens

oracle    outside of it all: judges every move of a job as it is committed
book      what all its parts write in and read
answers   its part that judges what clients are told
requests  its part that knows what was asked to be done to jobs
lanes     its part that judges order and fairness
bounds    its part that judges pauses, caps and rates
keys      its part that judges unique keys
ties      its part that judges dependencies
timetable its part that judges schedules
stream    its part that judges events
endings   its part that judges how attempts ended
runs      its part that knows what the handlers did

bugs      planted bugs, so that the harness is proven able to fail; feature_bugs has more of them
planting  how they are planted
run       one seed from its start to its verdict
"""
