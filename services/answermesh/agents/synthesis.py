"""Synthesis: writes the answer from the passages, or says that they do not answer.

Without a language model the answer is composed of source sentences, unchanged. With one it is written from the
passages, and where every model fails before the first character, composed after all. An answer that says that the
documents do not answer has no SENTENCE findings: it states nothing that a source could carry, so nothing about it
is cited or checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from answermesh.agents import Run
from answermesh.agents.authoring.answerable import answers, signs
from answermesh.agents.authoring.extractive import (
    Scored,
    choose,
    in_context,
    joined,
    preselect,
    quotable,
    unanswered,
)
from answermesh.agents.authoring.gathering import Gathering
from answermesh.agents.authoring.generative import generate
from answermesh.agents.authoring.reading import Readings, lifted, short_answer, to_read
from answermesh.agents.ids import identifier
from answermesh.agents.language.subquestions import subquestions
from answermesh.agents.language.suspicion import suspects
from answermesh.agents.models import open_llm
from answermesh.agents.scoring import ModelScorer, Scorer, cosine
from answermesh.agents.sources import Source
from answermesh.config import Settings
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Conclusion, Finding, Note, Passage, Sentence, Span, TextDelta
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

# Pairs of question and sentence that the cross-encoder reads in one go, and in all: 24 took 0.28 s on two cores, which
# leaves the search its share of the 1.5 s to the first text.
PAIRS_PER_ROUND = 24
PAIRS_IN_ALL = 60
# Passages that come later than this after the first sentences were read do not hold the answer back.
LAST_ROUND_S = 0.4
# A pause this long after a search's passages means that what is there is what there is: the passages of one search
# come together.
QUIET_S = 0.05
# How long to wait for a search while only the graph has brought passages.
PATIENCE_S = 2.0
# Probability that the documents answer below which the answer says that they do not, where nobody asks otherwise: of
# questions of SQuAD 2 that were not fitted on, three of four are answered that a passage answers, and a third of those
# written to look alike; on chats, where little is said outright, it halves what is told wrong.
MIN_CONFIDENCE = 0.4
# Passages that the reader is warned of, and what is shown of each.
MAX_SUSPICIONS = 5
MAX_SUSPECT_CHARS = 300
# A language model is asked once, with all there is, so it is worth waiting for the passages of subquestions.
SETTLING_S = 1.0


class Synthesis:
    """The author of the answer."""

    def __init__(self, scorer: Scorer, llm: LanguageModels | None) -> None:
        self._scorer = scorer
        self._llm = llm
        self.card = AgentCard(
            agent="synthesis",
            version="1",
            description="Writes the answer from the passages, or says that they do not answer.",
            consumes=[
                AgentCard.Consumption(kind=Finding.KIND_PASSAGE),
                AgentCard.Consumption(kind=Finding.KIND_RELATION, optional=True),
            ],
            produces=[Finding.KIND_TEXT_DELTA, Finding.KIND_SENTENCE, Finding.KIND_CONCLUSION, Finding.KIND_NOTE],
            # A composed answer is told in one go once it is chosen; a written one may differ when it is written again.
            idempotent=llm is None,
            resumable=True,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Synthesis]:
        async with open_channel(settings.target("models")) as models, open_llm(settings) as llm:
            yield cls(ModelScorer(ModelServiceStub(models)), llm)

    async def run(self, run: Run) -> None:
        gathering = Gathering(run)
        await gathering.more(None)
        await self._answer(run, gathering)
        await run.emit(*_suspicions(gathering.sources.passages.values()))

    async def _answer(self, run: Run, gathering: Gathering) -> None:
        if self._llm is not None:
            await _settled(gathering)
            if await generate(run, self._llm, gathering, self._scorer):
                return
        await self._compose(run, gathering)

    async def _compose(self, run: Run, gathering: Gathering) -> None:
        """Choose and tell source sentences."""
        # A compound question is answered part by part: as a whole, its sentences would compete for one part.
        questions = subquestions(run.question) or [run.question]
        scored = await self._score(questions, gathering)
        readings = await self._read(questions, scored)
        ranked = sorted(lifted(scored, readings), key=lambda one: -one.worth)
        confidence = await self._confidence(questions, ranked[0], readings) if ranked else 0.0
        sources = gathering.sources
        places = {(source.passage.name, source.index): source for source in sources.sentences()}
        least = MIN_CONFIDENCE if run.min_confidence is None else run.min_confidence
        chosen = choose(run.question, ranked, places) if confidence >= least else []
        conclusion = Conclusion(mode=Conclusion.MODE_EXTRACTIVE, answered=bool(chosen), confidence=confidence)
        if chosen:
            told = _told(chosen)
            best = ranked[0]
            if short := short_answer(best.source, readings.get((best.part, best.source.passage.name)), confidence):
                conclusion.short_answer.CopyFrom(short)
        else:
            told = [Finding(id="delta-0", text_delta=TextDelta(text=unanswered([*sources.passages.values()])))]
        await run.emit(*told, Finding(id="conclusion", conclusion=conclusion))

    async def _confidence(self, questions: Sequence[str], best: Scored, readings: Readings) -> float:
        """The probability that the best sentence answers."""
        # Of a compound question, the part that the sentence answers: it cannot go along with the others.
        question, source = questions[best.part], best.source
        asked, *said = await self._scorer.vectors([question, source.text, in_context(source)])
        alike = max(cosine(asked, one) for one in said)
        reading = readings[best.part, source.passage.name]
        return answers(signs(question, source.text, best.worth, reading.logit, alike))

    async def _read(self, questions: Sequence[str], scored: Sequence[Scored]) -> Readings:
        """Read the passages of the best sentences for the piece that answers."""
        passages = to_read(scored, len(questions))
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(self._scorer.read(question, [passage.text for passage in mine])) if mine else None
                for question, mine in zip(questions, passages, strict=True)
            ]
        return {
            (part, passage.name): reading
            for part, (task, mine) in enumerate(zip(asked, passages, strict=True))
            if task is not None
            for passage, reading in zip(mine, task.result(), strict=True)
        }

    async def _score(self, questions: Sequence[str], gathering: Gathering) -> list[Scored]:
        """Score sentences while passages come, until no more come for a moment, or enough have been read.

        Reading takes longer than most passages take to come, so the rounds are the waiting: nothing sits idle.
        """
        scored: dict[tuple[str, int, int], Scored] = {}
        loop = asyncio.get_running_loop()
        limit_s: float | None = None
        while True:
            candidates = [one for one in gathering.sources.sentences() if one.key not in scored and quotable(one)]
            room = min(PAIRS_PER_ROUND // len(questions), PAIRS_IN_ALL // len(questions) - len(scored))
            chosen = preselect(questions, candidates, gathering.relations, room)
            if gathering.searched and limit_s is None:
                limit_s = loop.time() + LAST_ROUND_S
            for one in await self._logits(questions, chosen):
                scored[one.source.key] = one
            known = len(gathering.sources.passages)
            while await gathering.more(QUIET_S if gathering.searched else PATIENCE_S):
                if len(gathering.sources.passages) > known:
                    break
            nothing_new = len(gathering.sources.passages) == known
            late = limit_s is not None and loop.time() > limit_s
            if nothing_new or late or len(scored) >= PAIRS_IN_ALL // len(questions):
                return list(scored.values())

    async def _logits(self, questions: Sequence[str], sources: Sequence[Source]) -> list[Scored]:
        """Each sentence with its logit against the question, or against the part of it that it answers best."""
        if not sources:
            return []
        # Sentences of one turn are read as one.
        texts = list(dict.fromkeys(map(in_context, sources)))
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._scorer.score(question, texts)) for question in questions]
        by_text = dict(zip(texts, zip(*(task.result() for task in asked), strict=True), strict=True))
        found: list[Scored] = []
        for source in sources:
            logits = by_text[in_context(source)]
            part = max(range(len(logits)), key=lambda n: logits[n])
            found.append(Scored(source, logits[part], part))
        return found


async def _settled(gathering: Gathering) -> None:
    """Wait until all passages are there, but not long for the last."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + (SETTLING_S if gathering.searched else PATIENCE_S)
    while (left_s := limit - loop.time()) > 0 and await gathering.more(left_s):
        pass


def _suspicions(passages: Iterable[Passage]) -> list[Finding]:
    """What the reader is told of passages that speak to a language model."""
    found: list[Finding] = []
    for passage in passages:
        for span in suspects(passage.text)[:1]:
            said = " ".join(passage.text[span.start : span.end].split())[:MAX_SUSPECT_CHARS]
            title = " ".join((passage.document_title or passage.uri).split())
            text = f"“{title}” holds text that speaks to a language model, and it was left out: “{said}”"
            found.append(Finding(id=identifier("suspect", passage.name), note=Note(label="injection", text=text)))
    return found[:MAX_SUSPICIONS]


def _told(chosen: Sequence[Source]) -> list[Finding]:
    """The findings that tell a composed answer."""
    found: list[Finding] = []
    offset = 0
    for index, (source, piece) in enumerate(zip(chosen, joined(chosen), strict=True)):
        end = offset + len(piece)
        span = Span(start=end - len(source.text), end=end)
        sentence = Sentence(index=index, text=source.text, span=span, passages=[source.passage.name], verbatim=True)
        found.append(Finding(id=f"delta-{index}", text_delta=TextDelta(text=piece, offset=offset)))
        found.append(Finding(id=f"sentence-{index}", sentence=sentence))
        offset = end
    return found
