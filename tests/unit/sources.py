"""Our sources as syntax trees, for the tests that hold them against the design."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import jobqueue

Sources = Mapping[str, ast.Module]


def ours() -> Sources:
    """Every module of the package, by its path in it."""
    root = Path(jobqueue.__file__).parent
    paths = sorted(root.rglob("*.py"))
    return {path.relative_to(root).as_posix(): ast.parse(path.read_text()) for path in paths}


def made_up(path: str, text: str) -> Sources:
    """A module that is not there."""
    return {path: ast.parse(text)}


def uses(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """What a module refers to outside of itself, by its whole name: `trio.Lock`, however it was imported."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                origin[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                origin[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            whole = _dotted(node, origin)
            if whole is not None:
                yield whole, node


def _dotted(node: ast.expr, origin: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return origin.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, origin)
        return None if base is None else f"{base}.{node.attr}"
    return None
