"""The load: wrk, one thread on a core of its own, told what to send by a small script."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PAYLOAD = "x" * 200
JSON = "application/json"
NDJSON = "application/x-ndjson"

DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %.3f, "p99": %.3f, "bad": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
POST = """
wrk.method = "POST"
wrk.path = "/jobs"
wrk.headers["Content-Type"] = "{media_type}"
wrk.body = [==[{body}]==]
"""
STATUS = """
local ids = {{{ids}}}
local requests, turn = {{}}, 0
init = function() for i, id in ipairs(ids) do requests[i] = wrk.format("GET", "/status/" .. id) end end
request = function() turn = turn % #requests + 1; return requests[turn] end
"""


class Unmeasured(Exception):
    """A figure could not be had; the text says why."""


def installed() -> bool:
    """Whether this machine has wrk."""
    return shutil.which("wrk") is not None


def job(kind: str = "noop", queue: str = "default") -> dict[str, str]:
    """The job that is submitted everywhere: 200 bytes of payload."""
    return {"kind": kind, "queue": queue, "payload": PAYLOAD}


def posting(folder: Path, body: str, media_type: str = JSON) -> Path:
    """A script that posts one body over and over."""
    return _written(folder / "post.lua", POST.format(media_type=media_type, body=body))


def asking(folder: Path, ids: Sequence[str]) -> Path:
    """A script that asks for the status of one job after the other."""
    return _written(folder / "status.lua", STATUS.format(ids=", ".join(f'"{id}"' for id in ids)))


def _written(path: Path, script: str) -> Path:
    path.write_text(script + DONE)
    return path


def wrk(port: int, script: Path, connections: int, seconds: int) -> Mapping[str, float]:
    """Load the server: requests, their rate, p50 and p99 in milliseconds. Raises Unmeasured if any request failed."""
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout=20s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    except subprocess.TimeoutExpired:
        raise Unmeasured("the load came to no end") from None
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode or not lines:
        raise Unmeasured(f"wrk failed: {ended.stderr.strip()[-300:]} {ended.stdout.strip()[-300:]}")
    said: dict[str, float] = json.loads(lines[-1])
    if said["bad"] or not said["requests"]:
        raise Unmeasured(f"{said['bad']:.0f} of {said['requests']:.0f} requests failed")
    return {**said, "rate": 1e6 * said["requests"] / said["microseconds"]}
