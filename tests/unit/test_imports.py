"""The shape of the source: who may import whom, and how large things may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobqueue

ROOT = Path(jobqueue.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}
TOPS = {file.relative_to(ROOT).parts[0].removesuffix(".py") for file in FILES} - {"__init__", "__main__"}

VALUES = {"errors", "clock", "job", "queue", "schedule"}
# part -> the parts it may know, from the bottom up. `jobqueue` itself (its public names) is for those outside.
MAY_KNOW: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "logs": set(),
    "signals": set(),
    "config": {"errors"},
    "mailbox": {"errors"},
    "job": {"clock"},
    "queue": {"clock", "job"},
    "schedule": {"clock", "job"},
    "strictjson": {"errors", "job"},
    "wire": VALUES | {"strictjson"},
    "http": {"errors"},
    "handlers": VALUES,
    "child": VALUES | {"handlers"},
    "rules": VALUES,
    "stores": VALUES | {"rules"},
    "metrics": VALUES,
    "actors": VALUES | {"mailbox", "wire", "handlers", "rules", "stores", "metrics"},
    "crew": VALUES | {"child", "handlers", "actors"},
    "dashboard": set(),
    "api": VALUES | {"mailbox", "strictjson", "wire", "rules", "actors", "stores", "http", "metrics", "dashboard"},
    "client": {"errors", "wire"},
    "work": VALUES | {"client", "child", "handlers", "wire"},
    "server": TOPS - {"server", "cli", "client", "work"},
    "cli": TOPS,
}
# of the parts below an engine or an actor only values may be known: the shapes of what is asked and answered
API_MAY_NAME = {"Engine", "Filter", "Page"}

MOST_LINES = 300
MOST_FUNCTION_LINES = 60


def part_of(file: Path) -> str:
    """The part of the program that a file belongs to."""
    top = file.relative_to(ROOT).parts[0].removesuffix(".py")
    return {"__main__": "cli"}.get(top, top)


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each import, wherever it stands in the file."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import hides who is meant"
            for alias in node.names:
                yield node.module or "", alias.name


def known_parts(file: Path) -> set[str]:
    """The parts of ours that a file imports."""
    parts = set()
    for module, name in imports(file):
        steps = [*module.split("."), name]
        if steps[0] == "jobqueue" and len(steps) > 1 and steps[1] in TOPS:
            parts.add(steps[1])
    return parts


def name_of(file: Path) -> str:
    """How a test is called."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("part", sorted(TOPS))
def test_every_part_has_its_place(part: str) -> None:
    """Each part of the program is placed in the arrow of imports."""
    assert part in MAY_KNOW


@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) != "__init__"], ids=name_of)
def test_imports_go_one_way(file: Path) -> None:
    """A file imports only from its own part and those below it; only from outside through `jobqueue` itself."""
    part = part_of(file)
    assert known_parts(file) - {part} <= MAY_KNOW[part]


def test_the_arrow_has_no_circle() -> None:
    """No part may know one that may know it."""
    below: dict[str, set[str]] = {}
    waiting = dict(MAY_KNOW)
    while waiting:
        ready = [part for part, known in waiting.items() if known - {part} <= below.keys() | (known - MAY_KNOW.keys())]
        assert ready, f"a circle among {sorted(waiting)}"
        for part in ready:
            below[part] = waiting.pop(part)


def in_parts(*parts: str) -> list[Path]:
    """The files of these parts."""
    return [file for file in FILES if part_of(file) in parts]


@pytest.mark.parametrize("file", in_parts("rules", "job", "wire", "strictjson", "errors", "config"), ids=name_of)
def test_rules_and_values_are_pure(file: Path) -> None:
    """Rules and values do no I/O and know no Trio: they can be tried without either."""
    modules = {module.split(".")[0] for module, _ in imports(file)}
    assert modules.isdisjoint({"trio", "apsw", "hypercorn", "quart", "quart_trio", "threading", "socket"})


@pytest.mark.parametrize("file", in_parts("api"), ids=name_of)
def test_the_api_sees_handles(file: Path) -> None:
    """The endpoints see handles: of the stores only the shapes of a question and its answer, of actors no loop."""
    for module, name in imports(file):
        if module.startswith("jobqueue.stores"):
            assert (module, name) in {("jobqueue.stores.contract", shape) for shape in API_MAY_NAME}
        assert name not in {"StateActor", "Dispatcher", "Reader", "Herald", "mailbox", "Inbox", "Address"}


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "mailbox.py"], ids=name_of)
def test_channels_are_opened_in_one_file(file: Path) -> None:
    """Every memory channel is opened in mailbox.py."""
    assert "open_memory_channel" not in file.read_text()


def test_channels_are_bounded() -> None:
    """No channel is opened without a bound: a number, or the size that was asked for."""
    calls = [
        node
        for node in ast.walk(TREES[ROOT / "mailbox.py"])
        if isinstance(node, ast.Call) and "open_memory_channel" in ast.unparse(node.func)
    ]
    assert calls
    assert {ast.unparse(call.args[0]) for call in calls} <= {"1", "size"}


@pytest.mark.parametrize("file", in_parts("rules", "stores", "actors", "api", "http", "crew", "server"), ids=name_of)
def test_the_outside_comes_through_one_seam(file: Path) -> None:
    """No module but clock.py reads a clock, draws a random number or makes an id."""
    modules = {module for module, _ in imports(file)}
    assert modules.isdisjoint({"time", "random", "secrets", "uuid", "uuid_utils"})


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_sizes(file: Path) -> None:
    """No file is longer than 300 lines, no function than 60."""
    lines = len(file.read_text().splitlines())
    assert lines <= MOST_LINES
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_FUNCTION_LINES, node.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_module_says_its_place(file: Path) -> None:
    """Each module that holds anything opens with a docstring: its place in the whole."""
    assert ast.get_docstring(TREES[file]) or not TREES[file].body
