"""The few types of ASGI 3.0 that this package speaks (asgi.readthedocs.io, HTTP specification 2.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]  # scope, receive, send: a framework has types of its own for them
