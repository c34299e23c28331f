"""What a disk may hold after the power went: crash images out of a recording of what a program asked of the kernel.

The recorder is strace, so the program under test is the real engine on the real file system, its threads included.
The model of the disk is the strict reading of POSIX:

- what was written and then synced with success is there, whatever comes;
- of what was not synced yet each 512-byte sector is there or not, by itself, in any combination: writes are dropped,
  kept out of order, torn within; a file may have grown without its new content (zeros there);
- a truncation is there or not; a new or removed name is there or not until its folder was synced;
- bytes that no write touched stay (SQLite's powersafe overwrite, the default of its unix VFS).

`-shm` is no part of an image: it is shared memory, rebuilt at the next opening.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
SYSCALLS = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fdatasync,fsync"
NAMES = "unlink,unlinkat,rename,renameat,renameat2,link,linkat,copy_file_range,sendfile,sync_file_range"
STRACE = ("strace", "--follow-forks", "--seccomp-bpf", "--decode-fds=path", "--string-limit=1048576")

_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+)(?:<.*>)?(?: .*)?$")
_FD = re.compile(r"\d+<(?P<path>[^>]*)>")
_WRITE = re.compile(
    r'\d+<(?P<path>[^>]*)>, "(?P<data>(?:[^"\\]|\\.)*)"(?P<cut>\.*), (?P<size>\d+)(?:, (?P<offset>\d+))?'
)
_PATH = re.compile(r'(?:[^,]*, )?"(?P<path>(?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the program asked of the disk, or (kind "answer") that it told its caller.

    kind: write, truncate, sync, create, remove, sync-folder, answer. at: offset of a write, size of a truncation.
    """

    kind: str
    name: str = ""
    at: int = 0
    data: bytes = b""


def record(program: Sequence[str], folder: Path, answers: Path) -> list[Event]:
    """Run a program under strace; what it did in `folder`, and its standard output, which goes to `answers`."""
    log = answers.with_suffix(".strace")
    with answers.open("wb") as output:
        subprocess.run(
            [*STRACE, f"--trace={SYSCALLS},{NAMES}", f"--output={log}", *program],
            stdout=output,
            check=True,
            timeout=120,
        )
    return list(_events(log.read_text("ascii"), folder, answers))


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module of ours."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def _events(log: str, folder: Path, answers: Path) -> Iterator[Event]:
    here: set[str] = set()
    for name, arguments, result in calls(log):
        if result < 0:
            continue
        for event in _read(name, arguments, folder, answers):
            if event.kind == "create":
                if event.name in here:
                    continue
                here.add(event.name)
            elif event.kind == "remove":
                here.discard(event.name)
            yield event


def calls(log: str) -> Iterator[tuple[str, str, int]]:
    """(name, arguments, result) of every call in a log of strace; a call that others interrupted is put together."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match["rest"].startswith(("+++", "---")):
            continue
        pid, rest = match["pid"], match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<..."):
            rest = begun.pop(pid) + rest.partition("resumed>")[2]
        call = _CALL.fullmatch(rest)
        if call is not None:
            yield call["name"], call["args"], int(call["result"])


def _read(name: str, arguments: str, folder: Path, answers: Path) -> Iterator[Event]:
    """The event that a call is, if it is one."""
    match name:
        case "write" | "pwrite64":
            yield from _written(arguments, folder, answers)
        case "ftruncate" if _inside(path := _of_fd(arguments), folder):
            yield Event("truncate", _name(path), int(arguments.rpartition(", ")[2]))
        case "fdatasync" | "fsync":
            path = _of_fd(arguments)
            if path == str(folder):
                yield Event("sync-folder")
            elif _inside(path, folder):
                yield Event("sync", _name(path))
        case "openat" if "O_CREAT" in arguments and _inside(path := _path(arguments), folder):
            yield Event("create", _name(path))
        case "unlink" if _inside(path := _path(arguments), folder):
            yield Event("remove", _name(path))
        case "openat" | "unlink" | "ftruncate":
            pass
        case _:  # nothing that would escape the model
            assert str(folder) not in arguments, f"a call that is not understood: {name}({arguments[:200]})"


def _written(arguments: str, folder: Path, answers: Path) -> Iterator[Event]:
    call = _WRITE.fullmatch(arguments)
    path = call["path"] if call else _of_fd(arguments)
    if call and path == str(answers):
        yield Event("answer", data=_bytes(call["data"]))
    elif _inside(path, folder):
        assert call, f"a write that is not understood: {arguments[:200]}"
        assert not call["cut"], "strace cut a write short"
        assert call["offset"], "a write to where the file stands"
        yield Event("write", _name(path), int(call["offset"]), _bytes(call["data"]))


def _of_fd(arguments: str) -> str:
    match = _FD.match(arguments)
    return match["path"] if match else ""


def _path(arguments: str) -> str:
    match = _PATH.match(arguments)
    return match["path"] if match else ""


def _inside(path: str, folder: Path) -> bool:
    return path.startswith(f"{folder}/") and not path.endswith("-shm")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _bytes(escaped: str) -> bytes:
    """A string as strace prints it."""
    return escaped.encode("ascii").decode("unicode_escape").encode("latin-1")


# -- the disk


@dataclass(slots=True)
class File:
    """A file: what is safe of it, and what was asked of it since."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        """All that was asked is now safe."""
        for event in self.pending:
            _apply(self.safe, event)
        self.pending.clear()

    def image(self, fate: Fate) -> bytes:
        """What may be found after the power went."""
        content = bytearray(self.safe)
        for event in fate.order(self.pending):
            if event.kind == "truncate":
                if fate.kept():
                    _apply(content, event)
            else:
                self._write(content, event, fate)
        return bytes(content)

    def _write(self, content: bytearray, event: Event, fate: Fate) -> None:
        if fate.whole:
            if fate.kept():
                _apply(content, event)
            return
        end = event.at + len(event.data)
        start = event.at
        while start < end:  # sector by sector
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            if fate.kept():
                _apply(content, Event("write", at=start, data=event.data[start - event.at : stop - event.at]))
            elif fate.grown and len(content) < stop:
                content.extend(bytes(stop - len(content)))
            start = stop


def _apply(content: bytearray, event: Event) -> None:
    size = event.at if event.kind == "truncate" else event.at + len(event.data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if event.kind == "truncate":
        del content[size:]
    else:
        content[event.at : size] = event.data


@dataclass(slots=True)
class Fate:
    """How one power cut treats what was not synced.

    keep: the chance of each piece. whole: writes are kept or lost whole, else each sector by itself. grown: a file
    shows its new length though its content is lost. newest_only: all but the last few are lost.
    """

    chance: random.Random
    keep: float
    whole: bool
    grown: bool
    newest_only: bool

    def kept(self) -> bool:
        """Draw for one piece."""
        return self.chance.random() < self.keep

    def order(self, pending: Sequence[Event]) -> Sequence[Event]:
        """What is considered at all: all, or only the last few, as if the disk had done the newest first."""
        if self.newest_only and pending:
            return pending[-self.chance.randint(1, len(pending)) :]
        return pending


def draw_fate(chance: random.Random) -> Fate:
    """One of many kinds of power cut; the extremes among them."""
    return Fate(
        chance,
        keep=chance.choice((0.0, 0.1, 0.5, 0.5, 0.9, 0.97, 1.0)),
        whole=chance.random() < 0.4,
        grown=chance.random() < 0.5,
        newest_only=chance.random() < 0.3,
    )


class Disk:
    """A folder on a disk that is fed with events in their order."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}  # as the program sees them
        self.safe_names: dict[str, File] = {}  # as the folder was when it was synced last
        self.told = b""

    def feed(self, event: Event) -> None:
        """The program did this."""
        match event.kind:
            case "answer":
                self.told += event.data
            case "create":
                self.files[event.name] = File()
            case "remove":
                del self.files[event.name]
            case "sync-folder":
                self.safe_names = dict(self.files)
            case "sync":
                self.files[event.name].sync()
            case _:
                self.files[event.name].pending.append(event)

    def images(self, fate: Fate) -> Iterator[tuple[str, bytes]]:
        """Names and contents after the power went now."""
        for name in sorted({*self.files, *self.safe_names}):
            now, before = self.files.get(name), self.safe_names.get(name)
            file = now if now is before or fate.kept() else before
            if file is not None:
                yield name, file.image(fate)
