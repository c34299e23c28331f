"""The rows, as they are promised. A ratio is to what was measured beside it in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.table import Check, Results, Row, plain


def _post(results: Results) -> Sequence[Check]:
    rate, peer = results.of("post", "rate"), results.of("stock", "rate")
    cpu, peer_cpu = results.of("post", "cpu"), results.of("stock", "cpu")
    told = (
        f"{plain(rate)}/s to {plain(peer)}/s; by CPU {plain(peer_cpu / cpu)} x: {plain(cpu)} us a job to"
        f" {plain(peer_cpu)} us; {results.of('post', 'run'):.0f} % had run"
    )
    p50 = plain(results.of("post", "p50"))
    return (
        Check("durable POST /jobs, 32 connections, jobs run; to the stock peer", rate / peer, 4, 6, told=told),
        Check("the same: p99", results.of("post", "p99"), 8, None, "ms", at_most=True, told=f"p50 {p50}"),
    )


def _status(results: Results) -> Sequence[Check]:
    rate, peer, get = results.of("status", "rate"), results.of("stock", "rate"), results.of("stock", "get")
    by_cpu = results.of("stock", "cpu") / results.of("status", "cpu")
    told = f"{plain(rate)}/s to {plain(peer)}/s; by CPU {plain(by_cpu)} x; {plain(rate / get)} x its own GET"
    return (Check("GET /status/{id}, 32 connections; to the stock peer's POST", rate / peer, 6, 10, told=told),)


def _bulk(results: Results) -> Sequence[Check]:
    return [
        Check(
            f"bulk of 1,000, durable, {what}",
            results.of(measure, "jobs"),
            40_000,
            100_000,
            "jobs/s",
            told=f"{plain(results.of(measure, 'cpu'))} us CPU a job, p99 {plain(results.of(measure, 'p99'))} ms a call",
        )
        for what, measure in (("array", "bulk-array"), ("NDJSON", "bulk-lines"))
    ]


def _e2e(results: Results) -> Sequence[Check]:
    rate, raw = results.of("e2e", "rate"), results.of("raw", "rate")
    cpu, raw_cpu = results.of("e2e", "cpu"), results.of("raw", "cpu")
    told = f"{plain(cpu)} us CPU a job, answer p99 {plain(results.of('e2e', 'p99'))} ms"
    raw_told = f"raw {plain(raw)} jobs/s; by CPU {plain(raw_cpu / cpu)} x: {plain(raw_cpu)} us a job"
    what = "inside: submit to done, 64 submitters, 32 workers"
    return (
        Check(what, rate, 12_000, 20_000, "jobs/s", told=told),
        Check("the same, to raw SQLite in groups of 100", rate / raw, 0.25, 0.4, told=raw_told),
    )


def _drain(results: Results) -> Sequence[Check]:
    queued = f"{results.plan.drain_jobs:,}"
    few, many = results.of("drain-32", "rate"), results.of("drain-128", "rate")
    tolds = [f"{plain(results.of(measure, 'cpu'))} us CPU a job" for measure in ("drain-32", "drain-128")]
    return (
        Check(f"drain of {queued} queued, 32 workers", few, 20_000, None, "jobs/s", told=tolds[0]),
        Check(f"drain of {queued} queued, 128 workers", many, None, 40_000, "jobs/s", told=tolds[1]),
    )


def _idle(results: Results) -> Sequence[Check]:
    return (
        Check("idle: submitted to started, over HTTP, p50", results.of("idle", "p50"), 3, 1.5, "ms", at_most=True),
        Check("the same: p99", results.of("idle", "p99"), 10, 4, "ms", at_most=True),
    )


def _slow_disk(results: Results) -> Sequence[Check]:
    slow, fast = results.of("post-slow-disk", "rate"), results.of("post-128", "rate")
    told = f"{plain(slow)}/s to {plain(fast)}/s; p99 {plain(results.of('post-slow-disk', 'p99'))} ms"
    what = "durable POST, every fsync 5 ms slower, 128 connections and workers; to undelayed"
    return (Check(what, slow / fast, 0.5, 0.8, told=told),)


def _depth(results: Results) -> Sequence[Check]:
    plan = results.plan
    cases = [(what, "depth", f"{plan.many:,} queued; to {plan.few:,}") for what in ("submit", "claim", "status")]
    cases.append(("claim", "depth-in-groups", f"{plan.groups:,} groups; to 100"))
    checks = []
    for what, measure, than in cases:
        large, small = results.of(measure, f"{what} large"), results.of(measure, f"{what} small")
        told = f"{plain(large)} us to {plain(small)} us"
        checks.append(Check(f"{what}, {than}", large / small, 1.3, 1.1, at_most=True, told=told))
    return checks


def _memory(results: Results) -> Sequence[Check]:
    more = f"memory: more with {results.plan.memory_jobs:,} queued 200-byte jobs"
    return (
        Check("memory: idle", results.of("memory", "idle"), 80, 60, "MB", at_most=True),
        Check(more, results.of("memory", "more"), 20, 5, "MB", at_most=True),
    )


def _start(results: Results) -> Sequence[Check]:
    told = f"{plain(results.of('start', 'empty'))} s with an empty file"
    what = f"start with {results.plan.many:,} jobs in the file, until ready"
    return (Check(what, results.of("start", "full"), 2, 0.5, "s", at_most=True, told=told),)


def _list(results: Results) -> Sequence[Check]:
    (figures,) = results.figures["list"]
    jobs = f"{results.plan.many:,} jobs"
    pages = {name: ms for name, ms in figures.items() if not name.startswith("ids: ")}
    ids = {name: ms for name, ms in figures.items() if name.startswith("ids: ")}
    slowest = max(ids, key=lambda name: ids[name])
    told = slowest.removeprefix("ids: ")
    return (
        *(Check(f"list of {jobs}, {name}", ms, 50, None, "ms", at_most=True) for name, ms in pages.items()),
        Check(
            f"1,000 ids of {jobs}, the slowest of all filters", ids[slowest], 50, None, "ms", at_most=True, told=told
        ),
    )


ROWS = (
    Row("post", ("stock", "post"), _post),
    Row("status", ("stock", "status"), _status),
    Row("bulk", ("bulk-array", "bulk-lines"), _bulk),
    Row("e2e", ("raw", "e2e"), _e2e),
    Row("drain", ("drain-32", "drain-128"), _drain),
    Row("idle", ("idle",), _idle),
    Row("slow-disk", ("post-128", "post-slow-disk"), _slow_disk),
    Row("depth", ("depth", "depth-in-groups"), _depth),
    Row("memory", ("memory",), _memory),
    Row("start", ("start",), _start),
    Row("list", ("list",), _list),
)
