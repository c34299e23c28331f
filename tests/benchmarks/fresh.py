"""A measure in an interpreter of its own, so that what one leaves behind does not touch the next."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.benchmarks.load import Unmeasured
from tests.benchmarks.servers import ROOT

MOST_SECONDS = 600


def measured(module: str, *arguments: object) -> dict[str, float]:
    """What the module prints, a line of JSON at the end. Raises Unmeasured."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"{module}: not done in {MOST_SECONDS} s") from None
    if ended.returncode:
        raise Unmeasured(f"{module}: {ended.stderr.strip()[-500:]}")
    said: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return said
