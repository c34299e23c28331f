"""The seam to time, chance and names: its arithmetic, and that nothing goes round it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.clock import SECOND, from_datetime, iso, micros, system_world
from tests.unit.sources import Sources, made_up, ours, uses

LAST_MICROS = 253_402_300_799_999_999  # of the year 9999

CLOCKS = (
    "time.",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
)
CHANCES = ("random.", "secrets.", "uuid.", "uuid_utils.", "os.urandom", "os.getrandom", "numpy.random")
OTHERS = (
    "email.utils.formatdate",
    "email.utils.localtime",
    "structlog.processors.TimeStamper",
    "asyncio.get_event_loop",
)
OUTSIDE = CLOCKS + CHANCES + OTHERS
ALLOWED = {
    ("logs.py", "structlog.processors.TimeStamper"): "a log tells when its line was written, and nothing depends on it",
    ("http/hub.py", "email.utils.formatdate"): "the Date header, which is the origin's real time",
    ("child/__main__.py", "time.sleep"): "another process: how long it gives its handler's atexit functions",
}


# -- arithmetic


@given(st.floats(0, 1e9))
def test_seconds_become_the_nearest_microsecond(seconds: float) -> None:
    """A duration is rounded, never cut."""
    assert abs(micros(seconds) - seconds * SECOND) <= 1


@pytest.mark.parametrize(
    "at, shown",
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (SECOND - 1, "1970-01-01T00:00:00.999999Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (LAST_MICROS, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_shown_as_rfc_3339(at: int, shown: str) -> None:
    """UTC, always with microseconds."""
    assert iso(at) == shown


@given(st.integers(0, LAST_MICROS))
def test_what_is_shown_is_read_back_exactly(at: int) -> None:
    """No microsecond is lost on the way out and in."""
    assert from_datetime(datetime.fromisoformat(iso(at))) == at


@given(st.integers(0, LAST_MICROS), st.integers(0, LAST_MICROS))
def test_times_sort_as_they_are_shown(one: int, two: int) -> None:
    """As text and as numbers alike."""
    assert (iso(one) < iso(two)) == (one < two)


@pytest.mark.parametrize("hours", [-11, 0, 5.5])
def test_a_time_of_another_zone_is_the_same_moment(hours: float) -> None:
    """An aware datetime is taken for the moment that it names."""
    zone = timezone(timedelta(hours=hours))
    moment = datetime(2027, 1, 15, 8, 0, 0, 123_456, tzinfo=UTC)
    assert from_datetime(moment.astimezone(zone)) == from_datetime(moment) == 1_800_000_000_123_456


# -- the real outside


async def test_the_real_outside() -> None:
    """Wall time in microseconds, monotonic seconds, a chance in [0, 1), ids that are UUIDv7, each a new one."""
    world = system_world()
    assert abs(world.now() - datetime.now(UTC).timestamp() * SECOND) < 60 * SECOND
    assert world.monotonic() == pytest.approx(trio.current_time(), abs=60)
    assert all(0 <= world.chance() < 1 for _ in range(1000))
    ids = [world.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id) for id in ids)


def test_every_life_has_a_name_of_its_own() -> None:
    """Two starts are two boot ids: a local attempt belongs to one of them."""
    assert system_world().boot_id != system_world().boot_id


# -- nothing goes round it


def faults_of_outside(sources: Sources, allowed: Mapping[tuple[str, str], str]) -> list[str]:
    """Clocks that are read, chances taken and names made elsewhere; and allowances that nothing needs."""
    faults = []
    needed = set()
    for path, tree in sources.items():
        for name, node in uses(tree) if path != "clock.py" else ():
            if name.startswith(OUTSIDE):
                needed.add((path, name))
                if (path, name) not in allowed:
                    faults.append(f"{path}:{node.lineno} uses {name}")
    return faults + [f"{path} no longer needs {name}" for path, name in sorted(set(allowed) - needed)]


def test_nobody_else_asks_the_outside() -> None:
    """The whole program runs under a virtual clock and a seeded generator: all else goes through `World`."""
    assert faults_of_outside(ours(), ALLOWED) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\nx = time.time()",
        "from time import time_ns\nx = time_ns()",
        "import time as t\nx = t.monotonic",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import datetime\nx = datetime.now(None)",
        "from datetime import date\nx = date.today()",
        "import random\nx = random.random()",
        "from random import choice\nx = choice('ab')",
        "import secrets\nx = secrets.token_hex()",
        "import uuid\nx = uuid.uuid4()",
        "from uuid_utils import uuid7\nx = uuid7()",
        "import os\nx = os.urandom(8)",
    ],
)
def test_whoever_goes_round_it_is_noticed(text: str) -> None:
    """However it is imported, and whether it is called or passed on."""
    assert faults_of_outside(made_up("actors/state.py", text), {})


def test_an_allowance_that_nothing_needs_is_noticed() -> None:
    """The list of exceptions can only shrink by itself."""
    assert faults_of_outside(made_up("logs.py", ""), {("logs.py", "time.time"): "gone"})


# -- nor does the order of a set


def iterated_sets(tree: ast.Module) -> Iterator[int]:
    """Lines where the order of a set matters: loops over one, lists made of one, `pop` from one.

    The order of objects in a set is that of their addresses, another one in each run: a replay would differ.
    """
    sets = {_key(name) for name in _named_sets(tree)}
    for node in ast.walk(tree):
        ordered: list[ast.expr] = []
        if isinstance(node, ast.For | ast.comprehension):
            ordered = [node.iter]
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in {"list", "tuple", "iter", "enumerate", "zip", "map", "join", "deque", "reversed"}:
                ordered = node.args
            elif name == "pop" and isinstance(node.func, ast.Attribute) and not node.args:
                ordered = [node.func.value]
        elif isinstance(node, ast.Starred) and isinstance(node.ctx, ast.Load):
            ordered = [node.value]
        yield from (inner.lineno for inner in ordered if _is_set(inner, sets))


def _named_sets(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and _says_set(node.annotation):
            yield node.target
        elif isinstance(node, ast.Assign) and _is_set(node.value, set()):
            yield from node.targets
        elif isinstance(node, ast.arg) and node.annotation is not None and _says_set(node.annotation):
            yield ast.Name(node.arg)


def _says_set(annotation: ast.expr) -> bool:
    return re.match(r"(typing\.)?(Abstract|Mutable|frozen)?[sS]et\b", ast.unparse(annotation)) is not None


def _key(node: ast.expr) -> str:
    return ast.unparse(node)


def _is_set(node: ast.expr, sets: set[str]) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_set(node.left, sets) or _is_set(node.right, sets)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return isinstance(node, ast.Set | ast.SetComp) or _key(node) in sets


def test_no_rule_and_no_actor_goes_by_the_order_of_a_set() -> None:
    """They sort, or keep a dict: its order is that of insertion."""
    found = {
        path: lines
        for path, tree in ours().items()
        if path.startswith(("actors/", "rules/")) and (lines := list(iterated_sets(tree)))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "for x in {a, b}: ...",
        "for x in set(things): ...",
        "y = [x for x in {a for a in things}]",
        "def f(names: set[str]):\n for name in names: ...",
        "class A:\n def __init__(self):\n  self.jobs: set[Job] = set()\n def f(self):\n  for job in self.jobs: ...",
        "seen = set()\ny = list(seen)",
        "seen = frozenset(x)\ny = ', '.join(seen - {1})",
        "seen = set()\ny = seen.pop()",
        "seen = set()\ny = [*seen]",
    ],
)
def test_a_loop_over_a_set_is_noticed(text: str) -> None:
    """Displays, calls, annotated names and attributes, and what is made of them."""
    assert list(iterated_sets(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    ["seen = set()\ny = sorted(seen)", "seen = {1}\ny = 1 in seen", "d = {}\nfor x in d: ...", "d = {}\nd.pop(1)"],
)
def test_what_has_an_order_or_needs_none_is_let_alone(text: str) -> None:
    """Sorting, membership and dicts are fine."""
    assert not list(iterated_sets(ast.parse(text)))
