"""The rules: what may happen to jobs, and when. Pure functions over a `Table`, with `now` passed in; no I/O, no Trio.

table      the rows that a store loaded, plus the changes made so far; it keeps the counters
changes    those changes, as a store commits them
lifecycle  the transition table: accept, settle, cancel, retry, recover
ripening   what time alone does: due, expired, past retention
retry      how long to wait between two attempts
admission  which queued jobs are claimed, over lanes
isolation  the quarantine of jobs under which the process died
idempotency  the same key, the same jobs
"""
