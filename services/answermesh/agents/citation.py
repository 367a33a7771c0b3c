"""Citation: from each sentence of the answer to the exact source spans that carry it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from answermesh.agents import Run
from answermesh.agents.comparison import Relation, numbers_missing
from answermesh.agents.ids import identifier
from answermesh.agents.matching import Match, nearest
from answermesh.agents.models import open_llm
from answermesh.agents.prompting import grounded
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.agents.sources import Sources
from answermesh.config import Settings
from answermesh.errors import Failure
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Citation as CitationFinding
from answermesh.v1.finding_pb2 import Finding, Sentence
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

CITATIONS_PER_SENTENCE = 2
# Strength (see matching) from which a source sentence in other words carries a sentence.
CARRYING_STRENGTH = 0.75
# Confidence of a span that states the sentence in the same words, and of one that a language model pointed out.
SAME_WORDS_CONFIDENCE = 0.95
POINTED_OUT_CONFIDENCE = 0.7

_SCHEMA = {
    "type": "object",
    "properties": {"sources": {"type": "array", "items": {"type": "integer"}, "maxItems": CITATIONS_PER_SENTENCE}},
    "required": ["sources"],
    "additionalProperties": False,
}


class Citation:
    """Finds what carries a sentence, and cites nothing where nothing does."""

    card = AgentCard(
        agent="citation",
        version="1",
        description="Leads each sentence of the answer back to the spans of the documents that carry it.",
        consumes=[
            AgentCard.Consumption(kind=Finding.KIND_PASSAGE),
            AgentCard.Consumption(kind=Finding.KIND_SENTENCE),
        ],
        produces=[Finding.KIND_CITATION],
        idempotent=True,
    )

    def __init__(self, scorer: Scorer, llm: LanguageModels | None) -> None:
        self._scorer = scorer
        self._llm = llm

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Citation]:
        async with open_channel(settings.target("models")) as models, open_llm(settings) as llm:
            yield cls(ModelScorer(ModelServiceStub(models)), llm)

    async def run(self, run: Run) -> None:
        sources = Sources()
        uncited: list[Sentence] = []
        async for finding in run.findings:
            if finding.HasField("sentence"):
                if not await self._cite(run, finding.sentence, sources, sources.passages):
                    uncited.append(finding.sentence)
            elif sources.add(finding.passage):
                # What came late may carry a sentence that nothing carried before.
                name = [finding.passage.name]
                uncited = [sentence for sentence in uncited if not await self._cite(run, sentence, sources, name)]
        if self._llm is not None:
            async with asyncio.TaskGroup() as group:
                for sentence in uncited:
                    group.create_task(self._ask(run, self._llm, sentence, sources))

    async def _cite(self, run: Run, sentence: Sentence, sources: Sources, names: Iterable[str]) -> bool:
        """Emit the citations found in the named passages; False if there are none."""
        names = list(names)
        if (source := sources.verbatim(sentence.text, sentence.passages)) and source.passage.name in names:
            found = [source.citation(sentence.index, 1.0)]
        else:
            matches = await nearest(sentence.text, sources.windows(names), self._scorer)
            found = _distinct(
                match.source.citation(sentence.index, _confidence(match))
                for match in matches
                if _carries(sentence.text, match)
            )
        await run.emit(*map(_finding, found))
        return bool(found)

    async def _ask(self, run: Run, llm: LanguageModels, sentence: Sentence, sources: Sources) -> None:
        """Let a language model point out what carries a sentence in quite other words."""
        matches = await nearest(sentence.text, sources.windows(), self._scorer)
        if not matches:
            return
        messages = grounded("citation", f"Sentence: {sentence.text}", [match.source.text for match in matches])
        try:
            answer = await llm.complete_json("citation", messages, _SCHEMA, max_tokens=60, ledger=run.ledger)
        except Failure:
            return  # no citation is what stands without a language model, too
        pointed = [matches[n - 1] for n in answer["sources"] if 1 <= n <= len(matches)]
        found = _distinct(
            match.source.citation(sentence.index, POINTED_OUT_CONFIDENCE)
            for match in pointed
            if _may_carry(sentence.text, match)
        )
        await run.emit(*map(_finding, found))


def _finding(citation: CitationFinding) -> Finding:
    place = (citation.sentence_index, citation.passage, citation.span.start, citation.span.end)
    return Finding(id=identifier("citation", *place), citation=citation)


def _may_carry(sentence: str, match: Match) -> bool:
    """Whether nothing speaks against it: no contrary, no number that the source does not give."""
    contrary = match.comparison.relation is Relation.CONTRADICTED
    return not contrary and not numbers_missing(sentence, match.source.text)


def _carries(sentence: str, match: Match) -> bool:
    if match.comparison.relation is Relation.ENTAILED:
        return True
    return match.strength >= CARRYING_STRENGTH and _may_carry(sentence, match)


def _confidence(match: Match) -> float:
    entailed = match.comparison.relation is Relation.ENTAILED
    return SAME_WORDS_CONFIDENCE if entailed else min(match.strength, SAME_WORDS_CONFIDENCE)


def _distinct(citations: Iterable[CitationFinding]) -> list[CitationFinding]:
    """The first few that do not overlap."""
    kept: list[CitationFinding] = []
    for one in citations:
        if not any(_overlap(one, other) for other in kept):
            kept.append(one)
    return kept[:CITATIONS_PER_SENTENCE]


def _overlap(one: CitationFinding, other: CitationFinding) -> bool:
    same = one.document == other.document
    return same and one.span.start < other.span.end and other.span.start < one.span.end
