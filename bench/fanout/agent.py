"""An agent of the workload on answermesh's wrapper: `python -m bench.fanout.agent NAME [WORKERS]`, prints its address.

The number of its parts is the question's first word. One of the five is the author, since an answer needs a text. With
WORKERS, it works on so many runs at once, and the others wait.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from answermesh.agents import Run
from answermesh.agents.serving.service import mount_agent
from answermesh.config import Settings
from answermesh.rpc.server import Server
from answermesh.v1.finding_pb2 import Finding, Note, TextDelta
from answermesh.v1.mesh_pb2 import AgentCard
from bench.fanout.workload import AGENTS, TEXT, WAIT_S

AUTHOR = AGENTS[-1]


class Part:
    """Waits, then tells its parts."""

    def __init__(self, name: str, workers: int = 1_000_000) -> None:
        self._workers = asyncio.Semaphore(workers)
        kind = Finding.KIND_TEXT_DELTA if name == AUTHOR else Finding.KIND_NOTE
        self.card = AgentCard(agent=name, produces=[kind], idempotent=True)

    async def run(self, run: Run) -> None:
        async with self._workers:
            await asyncio.sleep(WAIT_S)
        for number in range(int(run.question.partition(" ")[0])):
            await run.emit(self._part(number))

    def _part(self, number: int) -> Finding:
        if self.card.agent == AUTHOR:
            return Finding(id=f"part-{number}", text_delta=TextDelta(text=TEXT, offset=number * len(TEXT)))
        return Finding(id=f"part-{number}", note=Note(label="part", text=TEXT))


async def main(name: str, *workers: str) -> None:
    """Serve until the process is ended."""
    server = Server("127.0.0.1:0")
    async with mount_agent(server, Settings(), Part(name, *map(int, workers))):
        print(await server.start(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
