"""Power loss, by crash images: what a disk may hold after the power went in the middle of real batches (promise 1).

CRASH_IMAGES is how many are judged (2,000), CRASH_SEED where their seeds begin (1). A failure prints how to see it
again.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import power_loss
from tests.e2e.power_loss import Disk, Event
from tests.e2e.store_history import Answer, read_answers
from tests.e2e.store_judge import Findings, judge

IMAGES = int(os.environ.get("CRASH_IMAGES", "2000"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = 8
BATCHES = 40
FILE = "jobs.db"


class Recording:
    """One history as the kernel saw it."""

    def __init__(self, seed: int, synchronous: str, folder: Path) -> None:
        here = folder / "store"
        here.mkdir()
        answers = folder / "answers"
        options = ("--seed", seed, "--batches", BATCHES, "--checkpoint", (12, 40, 120)[seed % 3])
        program = power_loss.python("tests.e2e.store_history", here / FILE, *options, "--synchronous", synchronous)
        self.seed = seed
        self.events = power_loss.record(program, here, answers)
        self.answers = read_answers(answers.read_bytes())
        self.left = {path.name: path.read_bytes() for path in here.iterdir()}
        assert len(self.answers) == BATCHES

    async def judge_images(self, count: int, events: Sequence[Event] | None = None) -> dict[int, Findings]:
        """What was wrong, by the image's number."""
        events = self.events if events is None else events
        found: dict[int, Findings] = {}
        disk = Disk()
        fed = 0
        for point, number, chance in sorted(self._points(count, len(events)), key=lambda drawn: drawn[:2]):
            for event in events[fed:point]:
                disk.feed(event)
            fed = point
            findings = await judge_image(disk, chance, self.answers)
            if findings:
                found[number] = findings
        return found

    def _points(self, count: int, length: int) -> Iterator[tuple[int, int, random.Random]]:
        """After how many events the power goes, for each image, and the generator of its fate."""
        for number in range(count):
            chance = random.Random(f"{self.seed} {number}")
            yield chance.randint(0, length), number, chance


async def judge_image(disk: Disk, chance: random.Random, undisturbed: Sequence[Answer]) -> Findings:
    """Make an image and open it with the engine as it is."""
    with ram() as folder:
        for name, content in disk.images(power_loss.draw_fate(chance)):
            (folder / name).write_bytes(content)
        try:
            return await judge(folder / FILE, read_answers(disk.told), undisturbed)
        except Exception as error:  # noqa: BLE001 - any is a finding: it would not have booted
            return Findings(broken=(repr(error),))


@contextmanager
def ram() -> Iterator[Path]:
    """A folder that is not on a disk, where there is such a place: the images sync often."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="jobqueue-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


Record = Callable[[int, str], Recording]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Recordings by seed and setting, each made once."""

    @functools.cache
    def record(seed: int, synchronous: str) -> Recording:
        return Recording(seed, synchronous, tmp_path_factory.mktemp("history"))

    return record


def report(seed: int, count: int, found: dict[int, Findings]) -> str:
    """What to print when an image was bad."""
    command = f"CRASH_SEED={seed} CRASH_IMAGES={count * HISTORIES} pytest {__file__} -k answered"
    return f"seed {seed}: {len(found)} of {count} images; see again: {command}\n" + "\n".join(
        f"  image {number}: {findings}" for number, findings in list(found.items())[:5]
    )


@pytest.mark.parametrize("history", range(HISTORIES))
async def test_what_was_answered_survives_power_loss(recording: Record, history: int) -> None:
    """With synchronous=FULL any crash image holds the table as of one batch, no older than the last one answered."""
    count = -(-IMAGES // HISTORIES)
    found = await recording(SEED + history, "FULL").judge_images(count)
    assert not found, report(SEED + history, count, found)


@pytest.mark.soak
@pytest.mark.parametrize("history", range(80))
async def test_what_was_answered_survives_power_loss_in_fresh_histories(recording: Record, history: int) -> None:
    """The same for 100,000 images of histories that nobody has seen before."""
    seed = random.SystemRandom().randrange(1 << 32)
    found = await recording(seed, "FULL").judge_images(1_250)
    assert not found, report(seed, 1_250, found)


async def test_the_images_show_what_the_weaker_setting_loses(recording: Record) -> None:
    """With synchronous=NORMAL answered batches are lost, and nothing else happens: so a loss would be seen."""
    found = await recording(1, "NORMAL").judge_images(100)
    assert sum(bool(findings.lost) for findings in found.values()) > 10
    assert not any(findings.broken for findings in found.values())


async def test_the_images_show_a_checkpoint_that_did_not_sync(recording: Record) -> None:
    """Were a checkpoint not synced before the log is written anew, images would be broken: so that would be seen."""
    history = recording(3, "FULL")
    unsynced = [event for event in history.events if (event.kind, event.name) != ("sync", FILE)]
    assert len(unsynced) < len(history.events) - 3
    assert await history.judge_images(100, unsynced)


def test_the_recording_is_complete(recording: Record) -> None:
    """All that was recorded, applied, is byte for byte the file that the engine left."""
    history = recording(SEED, "FULL")
    disk = Disk()
    for event in history.events:
        disk.feed(event)
    for file in disk.files.values():
        file.sync()
    assert {name: bytes(file.safe) for name, file in disk.files.items()} == history.left


def test_every_answer_came_after_its_sync(recording: Record) -> None:
    """When an answer is given nothing is pending in the log, so its batch is safe already."""
    disk = Disk()
    answers = 0
    for event in recording(SEED, "FULL").events:
        if event.kind == "answer":
            answers += 1
            assert not disk.files[f"{FILE}-wal"].pending
        disk.feed(event)
    assert answers == BATCHES
