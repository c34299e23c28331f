"""The settings of a server: where each comes from, which wins, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobqueue.config import CHECKS, NAMES, Config, load
from jobqueue.errors import StartupError


def faults(
    flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, file: str | None = None
) -> list[str]:
    with pytest.raises(StartupError) as caught:
        load(flags or {}, environ or {}, file)
    assert caught.value.exit_code == 2
    assert all("\n" not in line for line in caught.value.lines)
    return list(caught.value.lines)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_the_defaults_are_those_of_the_table() -> None:
    """127.0.0.1:8080, sqlite:jobqueue.db, five workers on `default`, 8 s of grace, 1 MiB, 2,000 connections."""
    assert load({}, {}) == Config()
    config = Config()
    assert (config.host, config.port, config.store, config.workers) == ("127.0.0.1", 8080, "sqlite:jobqueue.db", 5)
    assert (config.queues, config.handlers, config.hosts) == (("default",), (), ())
    assert (config.grace, config.drain_delay, config.auth) == (8, 0, None)
    assert (config.max_queued, config.max_body, config.max_connections) == (2_000_000, 1 << 20, 2_000)
    assert (config.log_format, config.log_level, config.clock) == ("auto", "info", "system")


def test_every_setting_has_its_check() -> None:
    """None is taken unseen."""
    assert CHECKS.keys() == set(NAMES)


def test_a_flag_beats_the_environment_beats_port_beats_the_file(file: Path) -> None:
    """Flag beats environment beats the platform's PORT beats file."""
    file.write_text("port = 1\nworkers = 1\n")
    named = str(file)
    assert load({}, {}, named).port == 1
    assert load({}, {"PORT": "2"}, named).port == 2
    assert load({}, {"PORT": "2", "JOBQUEUE_PORT": "3"}, named).port == 3
    assert load({"port": "4"}, {"PORT": "2", "JOBQUEUE_PORT": "3"}, named).port == 4
    assert load({}, {"PORT": ""}, named).port == 1
    assert load({"port": None, "queues": ()}, {"JOBQUEUE_WORKERS": "7"}, named).workers == 7


def test_the_file_may_be_named_by_the_environment(file: Path) -> None:
    """`--config` is an option like any other; the flag beats it."""
    file.write_text("workers = 3")
    assert load({}, {"JOBQUEUE_CONFIG": str(file)}).workers == 3
    assert "nowhere" in faults({}, {"JOBQUEUE_CONFIG": str(file)}, "/nowhere")[0]


SAID: dict[str, tuple[str, Any]] = {
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "unix": ("/run/jobqueue.sock", "/run/jobqueue.sock"),
    "store": ("memory:", "memory:"),
    "workers": ("0", 0),
    "queues": ("a, b,a,", ("a", "b")),
    "handlers": ("a.b:c,d:e", ("a.b:c", "d:e")),
    "grace": ("0.5", 0.5),
    "drain_delay": ("3600", 3600),
    "auth": ("open", "open"),
    "hosts": ("A.example,b.example", ("a.example", "b.example")),
    "max_queued": ("1", 1),
    "max_body": ("1024", 1024),
    "max_connections": ("1", 1),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "clock": ("manual", "manual"),
}


@pytest.mark.parametrize("name", SAID)
def test_each_setting_comes_from_a_flag_the_environment_or_the_file(file: Path, name: str) -> None:
    """Flag `--x-y` = environment `JOBQUEUE_X_Y` = key `x_y` of the file."""
    said, value = SAID[name]
    file.write_text(f'{name} = "{said}"')
    for config in (load({name: said}, {}), load({}, {f"JOBQUEUE_{name.upper()}": said}), load({}, {}, str(file))):
        assert getattr(config, name) == value


def test_the_file_may_hold_numbers_and_arrays(file: Path) -> None:
    """Lists by commas, in TOML arrays."""
    file.write_text('port = 9\ngrace = 1.5\nqueues = ["a", "b,c"]\nhandlers = ["x:y"]\n')
    config = load({}, {}, str(file))
    assert (config.port, config.grace, config.queues, config.handlers) == (9, 1.5, ("a", "b", "c"), ("x:y",))


def test_a_star_is_all_queues() -> None:
    """`*` = all, whatever stands beside it."""
    assert load({"queues": ("a", "*")}, {}).queues == ("*",)


@pytest.mark.parametrize(
    "name, said",
    [
        *(("port", said) for said in ("", "x", "-1", "65536", "8080.5", "1e3", "٣x")),
        *(("workers", said) for said in ("-1", "1001", "two")),
        *(("queues", said) for said in ("", ",", "a b", "a/b", "x" * 65)),
        *(("handlers", said) for said in ("a", "a:", ":b")),
        *(("grace", said) for said in ("-1", "nan", "inf", "1e9", "x")),
        *(("drain_delay", said) for said in ("-0.1", "3601")),
        *(("auth", said) for said in ("", "closed", "OPEN")),
        *(("store", said) for said in ("", "memory", "sqlite:", "redis://x", "x.db", "mysql:x")),
        *(("max_body", said) for said in ("0", "1023", "1MiB")),
        *(("max_queued", said) for said in ("0", "x")),
        *(("max_connections", said) for said in ("0", "x")),
        *(("log_format", said) for said in ("", "xml")),
        *(("log_level", said) for said in ("", "trace", "INFO")),
        *(("clock", said) for said in ("", "MANUAL", "virtual")),
        *(("host", said) for said in ("",)),
        *(("unix", said) for said in ("", "a\0b")),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_that_says_what_and_where(name: str, said: str) -> None:
    """One line each, naming the flag, or the variable, that it came from."""
    flag = f"--{name.replace('_', '-')}"
    (line,) = faults({name: (said,) if name in ("queues", "handlers") else said})
    assert line.startswith(f"{flag}: ")
    (line,) = faults({}, {f"JOBQUEUE_{name.upper()}": said})
    assert line.startswith(f"JOBQUEUE_{name.upper()}: ")


def test_all_faults_are_told_together(file: Path) -> None:
    """Of flags, environment and file, and those of settings that do not go together."""
    file.write_text('grace = true\nport = 1\ncolour = "red"\n')
    lines = faults({"workers": "x", "host": "0.0.0.0", "tls_key": str(file)}, {"JOBQUEUE_STORE": "x"}, str(file))
    starts = [line.split(": ")[0] for line in lines]
    assert sorted(starts) == sorted(
        [
            f"--config {file}",
            "grace in the file",
            "JOBQUEUE_STORE",
            "--workers",
            "--host 0.0.0.0",
            "--tls-cert and --tls-key",
        ]
    )
    assert "unknown key colour" in lines[0]


@pytest.mark.parametrize(
    "text, told",
    [
        ("port = \n", "line 1"),
        ("port = 1\nport = 2\n", "line 2"),
        ("\x00", "line 1"),
        ("[server]\nport = 1", "unknown key server"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(file: Path, text: str, told: str) -> None:
    """It says in which file, and where in it."""
    file.write_text(text)
    (line,) = faults({}, {}, str(file))
    assert line.startswith(f"--config {file}: ")
    assert told in line


def test_a_file_that_is_not_there_or_no_text_is_one_line(file: Path) -> None:
    """The same of the file itself."""
    assert faults({}, {}, str(file)) == [f"--config {file}: No such file or directory"]
    file.write_bytes(b"\xff\xfe")
    assert len(faults({}, {}, str(file))) == 1
    assert len(faults({}, {}, str(file.parent))) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "jobs.example.org", "jobs"])
def test_a_bind_that_others_reach_must_be_meant(host: str) -> None:
    """Neither keys nor `--auth open`: only a loopback bind is allowed."""
    (line,) = faults({"host": host})
    assert line.startswith(f"--host {host}: ")
    assert "--auth open" in line
    assert load({"host": host, "auth": "open"}, {}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_bind_needs_no_more(host: str) -> None:
    """Nor does a socket file, which has permissions of its own."""
    assert load({"host": host}, {}).host == host
    assert load({"host": "0.0.0.0", "unix": "/tmp/x"}, {}).unix == "/tmp/x"


@pytest.mark.parametrize(
    "flags, binds",
    [
        ({}, ("127.0.0.1:8080",)),
        ({"host": "::1", "port": "0"}, ("[::1]:0",)),
        ({"unix": "/run/x.sock", "port": "1"}, ("unix:/run/x.sock",)),
    ],
)
def test_where_to_listen_follows(flags: dict[str, str], binds: tuple[str, ...]) -> None:
    """A socket file instead of an address."""
    assert load(flags, {}).binds == binds


def test_a_certificate_needs_its_key(file: Path) -> None:
    """Both or neither, and both readable."""
    file.write_text("")
    pair = {"tls_cert": str(file), "tls_key": str(file)}
    assert load(pair, {}).tls_cert == str(file)
    for name in pair:
        assert faults({name: str(file)}) == ["--tls-cert and --tls-key: give both or neither"]
    assert faults(pair | {"tls_key": "/nowhere"}) == ["--tls-key: /nowhere cannot be read"]
