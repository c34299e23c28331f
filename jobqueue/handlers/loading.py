"""Registries by their names, as `--handlers package.module:registry` gives them: imported, checked, made one.

The server does this once at its start, and every process for handlers does it again for itself (`child/__main__.py`).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from jobqueue.errors import StartupError
from jobqueue.handlers import Handlers
from jobqueue.handlers.verdict import text


def load(names: Sequence[str], base: Handlers | None = None) -> Handlers:
    """All handlers of the registries named, with those of `base`.

    The current directory is importable, as under `python -m`. Raises StartupError with a line for each fault.
    """
    _import_from_here()
    merged = base or Handlers()
    origin = dict.fromkeys(merged.kinds(), "jobqueue itself")
    faults = []
    for name in dict.fromkeys(names):
        try:
            registry = _registry(name)
        except ValueError as fault:
            faults.append(f"handlers {name!r}: {fault}")
            continue
        clashes = [entry.kind for entry in registry if merged.get(entry.kind) not in (None, entry)]
        faults += [f"handlers {name!r}: kind {kind!r} is defined by {origin[kind]} already" for kind in clashes]
        if not clashes:
            merged = merged.merge(registry)
            origin = dict.fromkeys(registry.kinds(), name) | origin
    if faults:
        raise StartupError(*faults)
    return merged


def _import_from_here() -> None:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)


def _registry(name: str) -> Handlers:
    """The registry called `name`. Raises ValueError saying in one line why there is none."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError("write package.module:registry")
    found = getattr(_module(module_name), attribute, None)
    if found is None:
        raise ValueError(f"module {module_name} has no {attribute!r}")
    if not isinstance(found, Handlers):
        raise ValueError(f"{attribute!r} is a {type(found).__name__}, not a jobqueue.Handlers")  # noqa: TRY004 - told as text
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and f"{name}.".startswith(f"{missing.name}."):
            raise ValueError(f"{_one_line(missing)} (from {os.getcwd()})") from None  # noqa: PTH109 - text
        raise ValueError(_import_fault(missing)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything while it is imported
        raise ValueError(_import_fault(error)) from None


def _import_fault(error: BaseException) -> str:
    told = f"its import raised {type(error).__name__}: {_one_line(error)}"
    if isinstance(error, SyntaxError):  # it names its place itself, and was raised by the import machinery
        return told
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told} ({last.filename}, line {last.lineno})"


def _one_line(error: BaseException) -> str:
    return text(" ".join(str(error).split()), 300)
