"""The table: what each row promises, and whether the figures of this run keep it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.plan import Plan

HEAD = ("row", "what", "floor", "goal", "measured", "")


@dataclass
class Results:
    """The figures of each measure, one mapping a round; or why there are none."""

    plan: Plan
    figures: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def of(self, measure: str, figure: str) -> float:
        """The median over the rounds. Raises KeyError if it was not measured."""
        return statistics.median(round_[figure] for round_ in self.figures[measure])


@dataclass(frozen=True)
class Check:
    """One figure against its floor and its goal; `told` says what it comes from."""

    what: str
    value: float
    floor: float | None
    goal: float | None
    unit: str = "x"
    at_most: bool = False
    told: str = ""

    def verdict(self) -> str:
        """goal, pass or MISS; short of a goal that has no floor."""
        if self.goal is not None and self._keeps(self.goal):
            return "goal"
        if self.floor is None:
            return "short"
        return "pass" if self._keeps(self.floor) else "MISS"

    def _keeps(self, bound: float) -> bool:
        return self.value <= bound if self.at_most else self.value >= bound

    def cells(self, row: str) -> tuple[str, ...]:
        """Its line of the table."""
        sign = "<= " if self.at_most else ""
        bounds = ["" if bound is None else f"{sign}{plain(bound)} {self.unit}" for bound in (self.floor, self.goal)]
        measured = f"{plain(self.value)} {self.unit}" + (f" ({self.told})" if self.told else "")
        return (row, self.what, *bounds, measured, self.verdict())


@dataclass(frozen=True)
class Row:
    """A row of the promise: the measures that it needs, and how they are judged."""

    name: str
    measures: Sequence[str]
    judge: Callable[[Results], Sequence[Check]]


def plain(value: float) -> str:
    """A figure with three digits that matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def lines(rows: Sequence[Row], results: Results) -> list[str]:
    """The table in Markdown."""
    cells: list[tuple[str, ...]] = []
    for row in rows:
        missing = next((results.failures[name] for name in row.measures if name in results.failures), None)
        if missing is None:
            cells += [check.cells(row.name) for check in row.judge(results)]
        else:
            cells.append((row.name, "not measured", "", "", " ".join(missing.split()), "MISS"))
    widths = [max(len(line[column]) for line in (HEAD, *cells)) for column in range(len(HEAD))]

    def drawn(line: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"

    return [drawn(HEAD), f"|{'|'.join('-' * (width + 2) for width in widths)}|", *map(drawn, cells)]
