"""Factcheck: whether the passages support each sentence of the answer, with the span that settles it.

A sentence that a source states is SUPPORTED at once. Any other verdict waits for the end of the passages, since a later
one may settle it; by then the work is done, and telling it takes no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from answermesh.agents import Run
from answermesh.agents.checking.check import Check, check
from answermesh.agents.checking.judging import Judge
from answermesh.agents.ids import identifier
from answermesh.agents.models import open_llm
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.agents.sources import Sources
from answermesh.config import Settings
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Finding, Verdict
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub


@dataclass(slots=True)
class _Waiting:
    """A check whose verdict may still change."""

    check: Check
    # Passages that had arrived when it was made.
    seen: int


class Factcheck:
    """Checks sentences as they are written."""

    card = AgentCard(
        agent="factcheck",
        version="2",
        description="Checks each sentence of the answer against the passages.",
        consumes=[
            AgentCard.Consumption(kind=Finding.KIND_PASSAGE),
            AgentCard.Consumption(kind=Finding.KIND_SENTENCE),
        ],
        produces=[Finding.KIND_VERDICT],
        idempotent=True,
    )

    def __init__(self, scorer: Scorer, llm: LanguageModels | None) -> None:
        self._scorer = scorer
        self._llm = llm

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Factcheck]:
        async with open_channel(settings.target("models")) as models, open_llm(settings) as llm:
            yield cls(ModelScorer(ModelServiceStub(models)), llm)

    async def run(self, run: Run) -> None:
        sources = Sources()
        judge = Judge(self._llm, run.ledger) if self._llm is not None else None
        waiting: list[_Waiting] = []
        async with asyncio.TaskGroup() as group:
            async for finding in run.findings:
                if finding.HasField("passage"):
                    sources.add(finding.passage)
                    continue
                sentence = finding.sentence
                made = Check.of(sentence.index, sentence.text, await check(sentence.text, sources, self._scorer))
                if made.verdict.value == Verdict.VALUE_SUPPORTED and (made.plain or judge is None):
                    await run.emit(_finding(made.verdict))
                    continue
                waiting.append(_Waiting(made, len(sources.passages)))
                if judge is not None:
                    judge.take(group, made)
        await self._finish(run, waiting, sources)

    async def _finish(self, run: Run, waiting: Sequence[_Waiting], sources: Sources) -> None:
        """Tell the verdicts that waited, after a look at the passages that came meanwhile."""
        for one in waiting:
            told = one.check.verdict
            if told.value != Verdict.VALUE_SUPPORTED and (late := list(sources.passages)[one.seen :]):
                again = await check(one.check.text, sources, self._scorer, late)
                if _weight(again.value) > _weight(told.value):
                    told = again.verdict(one.check.index)
            await run.emit(_finding(told))


def _finding(verdict: Verdict) -> Finding:
    return Finding(id=identifier("verdict", verdict.sentence_index), verdict=verdict)


def _weight(value: Verdict.Value.ValueType) -> int:
    """A source that states the sentence outweighs one that states the contrary: the documents then differ."""
    return [Verdict.VALUE_NOT_ENOUGH_EVIDENCE, Verdict.VALUE_REFUTED, Verdict.VALUE_SUPPORTED].index(value)
