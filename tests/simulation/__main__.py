"""Replays seeds: python -m tests.simulation SEED... [--store sqlite] [--tail N] [--only crash,full]."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.run import DISKS, Verdict, simulate


def main() -> int:
    """The exit code: 1 if a seed shows a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Replay simulated schedules.")
    parser.add_argument("seeds", type=int, nargs="+", metavar="SEED")
    parser.add_argument("--store", choices=sorted(DISKS), default="memory")
    parser.add_argument("--tail", type=int, default=60, help="lines of the trace to show")
    parser.add_argument("--only", help="these faults instead of the drawn ones, by commas")
    parser.add_argument("--using", help="these features instead of the drawn ones, by commas")
    said = parser.parse_args()
    only, using = (None if names is None else list(filter(None, names.split(","))) for names in (said.only, said.using))
    verdicts = [simulate(seed, said.store, only=only, using=using, keep=said.tail) for seed in said.seeds]
    sys.stdout.write("".join(map(report, verdicts)))
    return int(any(verdict.violations for verdict in verdicts))


def report(verdict: Verdict) -> str:
    """A verdict for people."""
    lines = [
        *verdict.tail,
        f"seed {verdict.plan.seed} on {verdict.store}, faults: {', '.join(sorted(verdict.plan.faults)) or 'none'}",
        f"features: {', '.join(sorted(verdict.plan.features)) or 'none'}",
        f"{verdict.steps} steps, {verdict.seconds:.0f} virtual seconds, digest {verdict.digest}",
        *(f"VIOLATION: {violation}" for violation in verdict.violations),
        f"replay: {verdict.replay}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
