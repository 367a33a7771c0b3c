"""Citation: from each sentence of the answer to the exact source spans that carry it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from answermesh.agents import Run
from answermesh.agents.checking.check import check
from answermesh.agents.checking.vetoes import veto
from answermesh.agents.ids import identifier
from answermesh.agents.language.comparison import numbers_missing
from answermesh.agents.models import open_llm
from answermesh.agents.prompting import grounded
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.agents.sources import Source, Sources
from answermesh.config import Settings
from answermesh.errors import Failure
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Citation as CitationFinding
from answermesh.v1.finding_pb2 import Finding, Sentence
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

CITATIONS_PER_SENTENCE = 2
# Source sentences that a language model chooses from.
SHOWN = 6
# Confidence of a span that a language model pointed out.
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
            checked = await check(sentence.text, sources, self._scorer, names)
            found = [source.citation(sentence.index, checked.odds.supported) for source in checked.carrying]
        await run.emit(*map(_finding, found))
        return bool(found)

    async def _ask(self, run: Run, llm: LanguageModels, sentence: Sentence, sources: Sources) -> None:
        """Let a language model point out what carries a sentence in quite other words."""
        near = (await check(sentence.text, sources, self._scorer)).sources[:SHOWN]
        if not near:
            return
        messages = grounded("citation", f"Sentence: {sentence.text}", [source.text for source in near])
        try:
            answer = await llm.complete_json("citation", messages, _SCHEMA, max_tokens=60, ledger=run.ledger)
        except Failure:
            return  # no citation is what stands without a language model, too
        pointed = [near[n - 1] for n in dict.fromkeys(answer["sources"]) if 1 <= n <= len(near)]
        found = [
            source.citation(sentence.index, POINTED_OUT_CONFIDENCE)
            for source in pointed
            if _may_carry(sentence.text, source)
        ]
        await run.emit(*map(_finding, found))


def _finding(citation: CitationFinding) -> Finding:
    place = (citation.sentence_index, citation.passage, citation.span.start, citation.span.end)
    return Finding(id=identifier("citation", *place), citation=citation)


def _may_carry(sentence: str, source: Source) -> bool:
    """Whether nothing speaks against it: no other number, name or negation, no number that the source does not give."""
    return veto(sentence, source.text) is None and not numbers_missing(sentence, source.text)
