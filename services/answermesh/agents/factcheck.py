"""Factcheck: whether the passages support each sentence of the answer, with the span that settles it.

A sentence that a source states is SUPPORTED at once. Any other verdict waits for the end of the passages, since a later
one may settle it; by then the work is done, and telling it takes no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from answermesh.agents import Run
from answermesh.agents.comparison import Relation
from answermesh.agents.ids import identifier
from answermesh.agents.judging import Judge
from answermesh.agents.matching import Match, nearest, word_for_word
from answermesh.agents.models import open_llm
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.agents.sources import Sources
from answermesh.config import Settings
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Finding, Sentence, Verdict
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

# What checked, where no language model did.
EMBEDDED = "embedded"
# Strength (see matching) from which a span that settles nothing is still worth showing.
NEAR_STRENGTH = 0.4


@dataclass(slots=True)
class Check:
    """Where the check of one sentence stands."""

    sentence: Sentence
    verdict: Verdict
    matches: list[Match]
    # Passages that had arrived when it was made.
    seen: int


class Factcheck:
    """Checks sentences as they are written."""

    card = AgentCard(
        agent="factcheck",
        version="1",
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
        open_checks: list[Check] = []
        async with asyncio.TaskGroup() as group:
            async for finding in run.findings:
                if finding.HasField("passage"):
                    sources.add(finding.passage)
                    continue
                check = await self._check(finding.sentence, sources, sources.passages)
                if not await _settled(run, check):
                    open_checks.append(check)
                    if judge is not None:
                        judge.take(group, check)
        await self._finish(run, open_checks, sources)

    async def _check(self, sentence: Sentence, sources: Sources, names: Iterable[str]) -> Check:
        """Check a sentence against the named passages."""
        windows = sources.windows(names)
        if source := word_for_word(sentence.text, windows):
            verdict = Verdict(
                sentence_index=sentence.index,
                value=Verdict.VALUE_SUPPORTED,
                confidence=1.0,
                evidence=source.citation(sentence.index, 1.0),
                rationale="the source says it word for word",
                method=EMBEDDED,
            )
            return Check(sentence, verdict, [], len(sources.passages))
        matches = await nearest(sentence.text, windows, self._scorer)
        return Check(sentence, verdict_of(sentence.index, matches), matches, len(sources.passages))

    async def _finish(self, run: Run, checks: Sequence[Check], sources: Sources) -> None:
        """Tell the verdicts that waited, after a look at the passages that came meanwhile."""
        for check in checks:
            if check.verdict.value != Verdict.VALUE_SUPPORTED and (late := list(sources.passages)[check.seen :]):
                again = await self._check(check.sentence, sources, late)
                if _weight(again.verdict) > _weight(check.verdict):
                    check.verdict = again.verdict
            await run.emit(_finding(check.verdict))


def verdict_of(sentence_index: int, matches: Sequence[Match]) -> Verdict:
    """The verdict that the nearest source sentences give by comparison alone.

    A source that states the sentence outweighs one that states the contrary: the documents then differ among
    themselves.
    """
    verdict = Verdict(sentence_index=sentence_index, value=Verdict.VALUE_NOT_ENOUGH_EVIDENCE, method=EMBEDDED)
    if not matches:
        verdict.rationale = "no passage speaks of it"
        verdict.confidence = 0.5
        return verdict
    best = matches[0]
    verdict.rationale = best.comparison.rationale
    match best.comparison.relation:
        case Relation.ENTAILED:
            verdict.value = Verdict.VALUE_SUPPORTED
            verdict.confidence = 0.9
        case Relation.CONTRADICTED:
            verdict.value = Verdict.VALUE_REFUTED
            verdict.confidence = 0.5 + 0.4 * best.comparison.matched
        case Relation.NEUTRAL:
            # The nearer a source comes without stating it, the less sure it is that nothing supports it.
            verdict.confidence = 1.0 - 0.6 * best.strength
    if verdict.value != Verdict.VALUE_NOT_ENOUGH_EVIDENCE or best.strength >= NEAR_STRENGTH:
        verdict.evidence.CopyFrom(best.source.citation(sentence_index, best.strength))
    return verdict


async def _settled(run: Run, check: Check) -> bool:
    """Tell a verdict that no later passage can change."""
    if check.verdict.value != Verdict.VALUE_SUPPORTED:
        return False
    await run.emit(_finding(check.verdict))
    return True


def _finding(verdict: Verdict) -> Finding:
    return Finding(id=identifier("verdict", verdict.sentence_index), verdict=verdict)


def _weight(verdict: Verdict) -> int:
    order = [Verdict.VALUE_NOT_ENOUGH_EVIDENCE, Verdict.VALUE_REFUTED, Verdict.VALUE_SUPPORTED]
    return order.index(verdict.value)
