"""What an author waits for: passages as they arrive, and when there are enough of them to begin."""

from __future__ import annotations

import asyncio

from answermesh.agents import Run
from answermesh.agents.sources import Sources
from answermesh.v1.finding_pb2 import Finding, Relation


class Gathering:
    """Takes in findings; what is there already never waits for what may come."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.sources = Sources()
        self.relations: list[Relation] = []
        # Whether all producers have ended.
        self.ended = False
        # Whether a search has brought passages. The graph's come first and are few: alone they are no reason to begin.
        self.searched = False

    async def more(self, wait_s: float | None) -> bool:
        """Take in the next finding and all that are ready behind it; False if none came within `wait_s` (None: no
        limit).
        """
        came = await self._take(wait_s)
        while came and await self._take(0):
            pass
        return came

    async def _take(self, wait_s: float | None) -> bool:
        if self.ended:
            return False
        try:
            async with asyncio.timeout(wait_s):
                finding = await anext(self._run.findings)
        except StopAsyncIteration:
            self.ended = True
            return False
        except TimeoutError:
            return False
        self._add(finding)
        return True

    def _add(self, finding: Finding) -> None:
        if finding.HasField("relation"):
            self.relations.append(finding.relation)
        elif finding.HasField("passage"):
            self.sources.add(finding.passage)
            scores = finding.passage.scores
            self.searched |= bool(scores.fused or scores.lexical or scores.vector)
