"""Argv, environment and file become one frozen, checked `Config`: the only place that reads the environment.

A flag beats its environment variable, that beats the platform's PORT, that beats the file. All faults are reported
together, one line each, with what and where.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobqueue.errors import StartupError

LISTS = frozenset({"queues", "handlers", "hosts"})


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a server (README, "Configuration"); seconds and bytes where numbers stand."""

    host: str = "127.0.0.1"
    port: int = 8080
    unix: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    store: str = "sqlite:jobqueue.db"
    workers: int = 5
    queues: tuple[str, ...] = ("default",)
    handlers: tuple[str, ...] = ()
    grace: float = 8.0
    drain_delay: float = 0.0
    auth: str | None = None
    hosts: tuple[str, ...] = ()
    max_queued: int = 2_000_000
    max_body: int = 1 << 20
    max_connections: int = 2_000
    log_format: str = "auto"
    log_level: str = "info"
    clock: str = "system"

    @property
    def binds(self) -> tuple[str, ...]:
        """Where to listen."""
        if self.unix is not None:
            return (f"unix:{self.unix}",)
        return (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}",)


NAMES = tuple(field.name for field in fields(Config))


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: str | None = None) -> Config:
    """The settings of this start. `flags` holds those that were given. Raises StartupError with a line per fault."""
    faults: list[str] = []
    said: dict[str, tuple[Any, str]] = {}
    for name, value in _read_file(file or environ.get("JOBQUEUE_CONFIG"), faults).items():
        said[name] = (value, f"{name} in the file")
    if environ.get("PORT"):
        said["port"] = (environ["PORT"], "PORT")
    for name in NAMES:
        variable = f"JOBQUEUE_{name.upper()}"
        if variable in environ:
            said[name] = (environ[variable], variable)
        if flags.get(name) not in (None, ()):
            said[name] = (flags[name], f"--{name.replace('_', '-')}")
    checked: dict[str, Any] = {}
    for name, (value, where) in said.items():
        try:
            checked[name] = CHECKS[name](value)
        except ValueError as fault:
            faults.append(f"{where}: {fault}")
    config = Config(**checked)
    faults += _together(config, faulty=said.keys() - checked.keys())
    if faults:
        raise StartupError(*faults)
    return config


def _read_file(path: str | None, faults: list[str]) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        said = tomllib.loads(Path(path).read_text())
    except OSError as error:
        faults.append(f"--config {path}: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"--config {path}: {error}")
        return {}
    faults += [f"--config {path}: unknown key {name}" for name in said if name not in NAMES]
    return {name: value for name, value in said.items() if name in NAMES}


def _together(config: Config, faulty: AbstractSet[str]) -> list[str]:
    """Faults of settings that do not go together. The `faulty` ones stand at their defaults, and are told already."""
    faults = []
    if (config.tls_cert is None) != (config.tls_key is None) and not faulty & {"tls_cert", "tls_key"}:
        faults.append("--tls-cert and --tls-key: give both or neither")
    for flag, path in (("--tls-cert", config.tls_cert), ("--tls-key", config.tls_key)):
        if path is not None and not os.access(path, os.R_OK):
            faults.append(f"{flag}: {path} cannot be read")
    closed = config.auth != "open" and "auth" not in faulty
    if closed and config.unix is None and "unix" not in faulty and not _loopback(config.host):
        faults.append(
            f"--host {config.host}: anybody who reaches it could submit and read jobs; "
            "bind 127.0.0.1, or say --auth open"
        )
    return faults


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- one check a setting: from what was said to its value; ValueError says what must be


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be text, not {value!r}")
    return value


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        fault = f"must be a whole number from {least:,} to {most:,}, not {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(fault)  # noqa: TRY004 - every fault here is one
        try:
            number = int(value)
        except ValueError:
            raise ValueError(fault) from None
        if not least <= number <= most:
            raise ValueError(fault)
        return number

    return check


def _seconds(most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        fault = f"must be seconds from 0 to {most:g}, not {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(fault)  # noqa: TRY004 - every fault here is one
        try:
            number = float(value)
        except ValueError:
            raise ValueError(fault) from None
        if not 0 <= number <= most:
            raise ValueError(fault)
        return number

    return check


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}, not {value!r}")
        return str(value)

    return check


def _list(item: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"must be a list of texts, not {value!r}")
        return tuple(item(word.strip()) for part in parts for word in part.split(",") if word.strip())

    return check


def _queue(word: str) -> str:
    allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
    if word != "*" and not (len(word) <= 64 and set(word) <= set(allowed)):
        raise ValueError(f"{word!r} is no name of a queue: 1 to 64 of A-Z a-z 0-9 . _ : - (or * for all)")
    return word


def _queues(value: Any) -> tuple[str, ...]:
    queues = _list(_queue)(value)
    if not queues:
        raise ValueError("must name at least one queue (for no local workers use --workers 0)")
    return ("*",) if "*" in queues else tuple(dict.fromkeys(queues))


def _registry(word: str) -> str:
    module, _, name = word.partition(":")
    if not module or not name:
        raise ValueError(f"{word!r} must be of the form package.module:registry")
    return word


def _store(value: Any) -> str:
    text = _text(value)
    scheme, colon, path = text.partition(":")
    if text == "memory:" or (scheme == "sqlite" and colon and path):
        return text
    raise ValueError(f"must be memory: or sqlite:PATH, not {text!r}")


CHECKS: dict[str, Callable[[Any], Any]] = {
    "host": _text,
    "port": _whole(0, 65_535),
    "unix": _text,
    "tls_cert": _text,
    "tls_key": _text,
    "store": _store,
    "workers": _whole(0, 1_000),
    "queues": _queues,
    "handlers": _list(_registry),
    "grace": _seconds(86_400),
    "drain_delay": _seconds(3_600),
    "auth": _one_of("open"),
    "hosts": _list(str.lower),
    "max_queued": _whole(1, 1_000_000_000),
    "max_body": _whole(1_024, 64 << 20),
    "max_connections": _whole(1, 1_000_000),
    "log_format": _one_of("auto", "json", "text"),
    "log_level": _one_of("debug", "info", "warning", "error"),
    "clock": _one_of("system", "manual"),
}
