"""The rules: what may happen to jobs, and when. Pure functions over a `Table`, with `now` passed in; no I/O, no Trio.

table      the rows that a store loaded, plus the changes made so far; it keeps the counters
changes    those changes, as a store commits them
lifecycle  the transition table: accept, settle, cancel, retry, recover
ripening   what time alone does: due, expired, past retention
retry      how long to wait between two attempts
bounds     how much may wait
defaults   what a job gets that nobody says
admission  which queued jobs are claimed, over lanes
caps       how much may run at once, and how often something may start
configuring  new settings of queues, and what they do to jobs that ended before
amending   what an operator changes of a job, or removes
explaining  why a job is not running, and when it may
isolation  the quarantine of jobs under which the process died
idempotency  the same key, the same jobs
uniqueness  one job of a unique key at a time, and what a second one meets
dependencies  who waits for whom, and how the end of one reaches the others
arrivals   how drafts come in for which one of these two matters
"""
