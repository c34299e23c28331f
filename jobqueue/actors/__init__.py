"""The actors, from the store up: each a task with one inbox, and a handle that callers see.

state       the one owner of the job table: gathers, decides, commits, answers (commands.py: what it can be asked)
reader      reads that decide nothing
dispatcher  pairs takers with claimed jobs
worker      runs handlers
"""
