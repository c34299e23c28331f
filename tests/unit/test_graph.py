"""The shape of the program: asks go only downward, channels are opened in one place and bounded, and nobody locks.

Each check is tried on a made-up module first: one that cannot fail proves nothing.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping

import pytest

from tests.unit.sources import Sources, made_up, ours, uses

RANKS = {
    "store": 0,
    "state": 1,
    "reader": 1,
    "events": 1,
    "dispatcher": 2,
    "worker": 3,
    "scheduler": 3,
    "timekeeper": 3,
    "api": 4,
    "server": 5,
}
MODULES = {  # which of them a module belongs to; the first that fits
    "actors/reader.py": "reader",
    "actors/events.py": "events",
    "actors/herald.py": "events",
    "actors/dispatcher.py": "dispatcher",
    "actors/timekeeper.py": "timekeeper",
    "actors/worker.py": "worker",
    "actors/parents.py": "worker",
    "actors/scheduler.py": "scheduler",
    "actors/": "state",
    "stores/": "store",
    "crew.py": "worker",
    "api/": "api",
    "server.py": "server",
}
HANDLES = {
    "State": "state",
    "StateActor": "state",
    "Reads": "reader",
    "Reader": "reader",
    "Events": "events",
    "Herald": "events",
    "Dispatch": "dispatcher",
    "Dispatcher": "dispatcher",
    "Time": "timekeeper",
    "Timekeeper": "timekeeper",
    "Worker": "worker",
    "Crew": "worker",
    "Scheduler": "scheduler",
    "Store": "store",
    "MemoryStore": "store",
    "SqliteStore": "store",
}
LOCKS = {
    f"{module}.{name}"
    for module in ("trio", "threading", "asyncio", "multiprocessing")
    for name in ("Lock", "RLock", "StrictFIFOLock", "Semaphore", "BoundedSemaphore", "Condition", "CapacityLimiter")
}
THREADS = ("trio.to_thread", "trio.from_thread", "threading.Thread", "concurrent.futures")
ALLOWED = {
    ("child/__main__.py", "threading.Lock"): "another process: a plain Python one, where any thread may report",
    ("child/__main__.py", "threading.Thread"): "it reads the socket to the server while the main thread works",
    ("stores/sqlite/thread.py", "threading.Thread"): "the one thread that a connection lives on",
}


# -- who holds whose handle


def holdings(sources: Sources) -> Iterator[tuple[str, str, str]]:
    """(module, its actor, the actor whose handle it holds), by what parameters and fields are annotated with."""
    for path, tree in sources.items():
        owner = next((actor for prefix, actor in MODULES.items() if path.startswith(prefix)), path)
        for node in ast.walk(tree):
            annotation = node.annotation if isinstance(node, ast.arg | ast.AnnAssign) else None
            for name in ast.walk(annotation) if annotation is not None else ():
                word = name.id if isinstance(name, ast.Name) else name.attr if isinstance(name, ast.Attribute) else ""
                if word in HANDLES:
                    yield path, owner, HANDLES[word]


def faults_of_graph(sources: Sources) -> list[str]:
    """Handles that are held by whom they must not be."""
    faults = []
    graph: dict[str, set[str]] = {}
    for path, owner, held in holdings(sources):
        if owner == held:
            continue  # an actor's own module, or a part of it
        graph.setdefault(owner, set()).add(held)
        if owner not in RANKS:
            faults.append(f"{path} holds {held}, and has no rank")
        elif RANKS[held] >= RANKS[owner]:
            faults.append(f"{path} ({owner}) holds {held}: upward")
        elif (owner, held) == ("api", "store"):
            faults.append(f"{path} holds the store: only its actors may")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        faults.append(f"a cycle: {' -> '.join(error.args[1])}")
    return faults


def test_asks_go_only_downward() -> None:
    """From the api to the store: no handle of one's equal or better, and no cycle."""
    assert faults_of_graph(ours()) == []


def test_the_graph_is_seen() -> None:
    """The edges of the README's picture are found where they are."""
    edges = {(owner, held) for _, owner, held in holdings(ours())}
    assert edges >= {
        ("api", "state"),
        ("api", "reader"),
        ("api", "timekeeper"),
        ("timekeeper", "dispatcher"),
        ("timekeeper", "state"),
        ("api", "events"),
        ("worker", "dispatcher"),
        ("worker", "state"),
        ("scheduler", "state"),
        ("dispatcher", "state"),
        ("state", "store"),
        ("reader", "store"),
    }


@pytest.mark.parametrize(
    "path, text, fault",
    [
        ("actors/state.py", "class A:\n def __init__(self, up: Dispatch) -> None: ...", "upward"),
        ("actors/state.py", "class A:\n def __init__(self, listeners: Events) -> None: ...", "upward"),
        ("actors/herald.py", "class A:\n def __init__(self, beside: State) -> None: ...", "upward"),
        ("actors/dispatcher.py", "class A:\n def __init__(self, workers: Sequence[Worker]) -> None: ...", "upward"),
        ("actors/dispatcher.py", "class A:\n worker: worker.Worker | None", "upward"),
        ("actors/reader.py", "class A:\n def __init__(self, beside: State) -> None: ...", "upward"),
        ("stores/memory.py", "class A:\n def __init__(self, state: 'Any', up: State) -> None: ...", "upward"),
        ("api/parts.py", "class Parts:\n store: Store", "only its actors"),
        ("metrics.py", "def serve(state: State) -> None: ...", "no rank"),
    ],
)
def test_a_handle_held_upward_is_noticed(path: str, text: str, fault: str) -> None:
    """Parameters and fields are looked at, in whatever their types are wrapped."""
    assert any(fault in found for found in faults_of_graph(made_up(path, text)))


def test_a_cycle_is_noticed() -> None:
    """Two that hold each other."""
    sources = {
        **made_up("actors/state.py", "def f(dispatch: Dispatch) -> None: ..."),
        **made_up("actors/dispatcher.py", "def f(state: State) -> None: ..."),
    }
    assert any("cycle" in found for found in faults_of_graph(sources))


# -- channels


def faults_of_channels(sources: Sources) -> list[str]:
    """Channels opened outside `mailbox.py`, and sizes that are not finite."""
    faults = []
    for path, tree in sources.items():
        for name, node in uses(tree):
            if name.endswith("open_memory_channel") and path != "mailbox.py":
                faults.append(f"{path}:{node.lineno} opens a channel")
        faults += [f"{path}:{line} has no finite size" for line in _unbounded(tree)]
    return faults


def _unbounded(tree: ast.Module) -> Iterator[int]:
    constants = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    yield from _unbounded_in(tree, constants)


def _unbounded_in(node: ast.AST, finite: set[str]) -> Iterator[int]:
    """Calls whose size is neither a number, nor a constant of the module, nor a parameter that is an `int`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        whole = {
            arg.arg for arg in node.args.args if isinstance(arg.annotation, ast.Name) and arg.annotation.id == "int"
        }
        finite = finite | whole
    if isinstance(node, ast.Call) and _called(node) in {"open_memory_channel", "mailbox"}:
        size = node.args[0] if node.args else None
        literal = isinstance(size, ast.Constant) and isinstance(size.value, int)
        if not literal and not (isinstance(size, ast.Name) and size.id in finite):
            yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _unbounded_in(child, finite)


def _called(call: ast.Call) -> str:
    function = call.func.value if isinstance(call.func, ast.Subscript) else call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_channels_are_opened_in_one_place_and_bounded() -> None:
    """`mailbox.py` opens them all, each with a finite size; every actor's inbox has one too."""
    assert faults_of_channels(ours()) == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("actors/worker.py", "import trio\na, b = trio.open_memory_channel(1)"),
        ("actors/worker.py", "from trio import open_memory_channel as channel\na, b = channel[int](1)"),
        ("mailbox.py", "import trio, math\na, b = trio.open_memory_channel(math.inf)"),
        ("mailbox.py", "import trio, math\nSIZE = math.inf\na, b = trio.open_memory_channel[int](SIZE)"),
        ("mailbox.py", "import trio\ndef f(size: float):\n return trio.open_memory_channel(size)"),
        ("actors/state.py", "import math\nfrom jobqueue.mailbox import mailbox\na, b = mailbox(math.inf)"),
        ("actors/state.py", "from jobqueue.mailbox import mailbox\na, b = mailbox(float('inf'))"),
    ],
)
def test_a_channel_elsewhere_or_without_bound_is_noticed(path: str, text: str) -> None:
    """However it is imported, subscripted or sized."""
    assert faults_of_channels(made_up(path, text))


# -- locks and threads


def faults_of_locks(sources: Sources, allowed: Mapping[tuple[str, str], str]) -> list[str]:
    """Locks anywhere, threads outside the stores; and allowances that nothing needs."""
    faults = []
    needed = set()
    for path, tree in sources.items():
        for name, node in uses(tree):
            threads = name.startswith(THREADS) and not (
                name.startswith("trio.to_thread") and path.startswith("stores/")
            )
            if name in LOCKS or threads:
                needed.add((path, name))
                if (path, name) not in allowed:
                    faults.append(f"{path}:{node.lineno} uses {name}")
    return faults + [f"{path} no longer needs {name}" for path, name in sorted(set(allowed) - needed)]


def test_nobody_locks() -> None:
    """A single owner instead of a lock; and no thread outside the stores, but for the reasons given."""
    assert faults_of_locks(ours(), ALLOWED) == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("actors/state.py", "import trio\nlock = trio.Lock()"),
        ("actors/state.py", "from trio import Semaphore\ns = Semaphore(1)"),
        ("api/jobs.py", "import trio as t\nlimit = t.CapacityLimiter(1)"),
        ("stores/sqlite/thread.py", "import threading\nlock = threading.RLock()"),
        ("actors/worker.py", "import trio\nasync def f():\n await trio.to_thread.run_sync(print)"),
        ("actors/worker.py", "from trio import to_thread\nasync def f():\n await to_thread.run_sync(print)"),
        ("handlers/registry.py", "import threading\nthreading.Thread(target=print).start()"),
    ],
)
def test_a_lock_or_a_thread_is_noticed(path: str, text: str) -> None:
    """However it is imported."""
    assert faults_of_locks(made_up(path, text), {})


def test_an_allowance_that_nothing_needs_is_noticed() -> None:
    """The list of exceptions can only shrink by itself."""
    assert faults_of_locks(made_up("child/__main__.py", ""), {("child/__main__.py", "threading.Lock"): "gone"})
