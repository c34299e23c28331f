"""The peer of all ratios: stock Hypercorn with stock Quart-Trio, which reads a JSON body and answers a constant.

`python -m tests.benchmarks.stock PORT`. No queue, no disk, nothing of ours.
"""

from __future__ import annotations

import sys

import hypercorn.trio
import trio
from hypercorn.config import Config
from quart import request
from quart_trio import QuartTrio

ANSWER = {"job_id": "123e4567-e89b-12d3-a456-426614174000"}


def app() -> QuartTrio:
    """One route each way."""
    made = QuartTrio("stock")

    @made.post("/jobs")
    async def submit() -> tuple[dict[str, str], int]:
        await request.get_json()
        return ANSWER, 201

    @made.get("/status/<_id>")
    async def status(_id: str) -> dict[str, str]:
        return ANSWER

    return made


async def main(port: int) -> None:
    """Serve until killed."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = None
    config.loglevel = "warning"
    await hypercorn.trio.serve(app(), config)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
