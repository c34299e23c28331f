"""The actors, from the store up: each a task with one inbox, and a handle that callers see.

state       the one owner of the job table: gathers, decides, commits, answers. `state_handle` is what others hold
            of it, `commands` and `notes` what it can be asked, `batch` the decision, `memory` what it remembers,
            `alarm` its deadline, `recovery` what it does first
reader      reads that decide nothing
herald      tells what happens to jobs (`events` is its handle): what `bulletin` brings from state goes into the `ring`,
            and is told to the `audience`
dispatcher  pairs takers with claimed jobs
worker      runs handlers
timekeeper  moves a manual clock (`--clock manual`), and lets what is due on the way be done
"""
