"""A run without a stream, and a scorer without a model: what agents are tested on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence

from answermesh.agents.language.words import content_stems, coverage
from answermesh.agents.scoring import Reading
from answermesh.agents.serving.run import checked
from answermesh.agents.sources import Sources
from answermesh.knowledge.sentences import split
from answermesh.llm import Ledger
from answermesh.v1.finding_pb2 import Finding, Passage, Sentence, Span
from answermesh.v1.mesh_pb2 import AgentCard


class FakeRun:
    """A `Run` that is fed and read by the test; emitted findings are checked as the wrapper checks them."""

    def __init__(self, card: AgentCard, question: str = "What is it?", documents: Sequence[str] = ()) -> None:
        self.question = question
        self.query = "queries/test"
        self.documents = documents
        self.text = ""
        self.min_confidence: float | None = None
        self.drops_unsupported = False
        self.ledger = Ledger()
        self.emitted: list[Finding] = []
        self._card = card
        self._inbound: asyncio.Queue[Finding | None] = asyncio.Queue()
        self._grown = asyncio.Condition()

    def feed(self, *values: Finding | Passage | Sentence) -> None:
        """Let findings arrive."""
        for value in values:
            if isinstance(value, Passage):
                value = Finding(passage=value)
            elif isinstance(value, Sentence):
                value = Finding(sentence=value)
            self._inbound.put_nowait(value)

    def end(self) -> None:
        """Let the input end."""
        self._inbound.put_nowait(None)

    @property
    def findings(self) -> AsyncIterator[Finding]:
        return self

    def __aiter__(self) -> FakeRun:
        return self

    async def __anext__(self) -> Finding:
        finding = await self._inbound.get()
        if finding is None:
            self.end()
            raise StopAsyncIteration
        return finding

    async def emit(self, *findings: Finding) -> None:
        async with self._grown:
            for finding in findings:
                checked(finding, self._card.agent, frozenset(self._card.produces))
                self.emitted.append(finding)
            self._grown.notify_all()

    async def emitted_at_least(self, count: int) -> list[Finding]:
        """What was emitted, once it is this many."""
        async with asyncio.timeout(10), self._grown:
            await self._grown.wait_for(lambda: len(self.emitted) >= count)
        return self.emitted


class WordScorer:
    """A Scorer that counts shared words: 8 for all of the query's, -8 for none. Its calls are recorded."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        self.calls.append((query, list(texts)))
        wanted = content_stems(query)
        return [16.0 * coverage(wanted, content_stems(text)) - 8.0 for text in texts]

    async def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Counts of words, of length 1: the more words two texts share, the nearer they are.

        As with a real embedder, texts without any are not far apart.
        """
        known = sorted({stem for text in texts for stem in content_stems(text)})
        found: list[Sequence[float]] = []
        for text in texts:
            stems = content_stems(text)
            length = math.sqrt(2 * len(stems)) or 1.0
            found.append([math.sqrt(0.5), *(float(stem in stems) / length for stem in known)])
        return found

    async def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        """The sentence of each text that shares most words with the question."""
        found: list[Reading] = []
        for text in texts:
            spans = split(text)
            scores = await self.score(question, [text[span.start : span.end] for span in spans])
            best = scores.index(max(scores))
            found.append(Reading(scores[best], spans[best].start, spans[best].end))
        return found


def passage(text: str, *, name: str = "a", start: int = 0, title: str = "", searched: bool = True) -> Passage:
    """A passage of the document `documents/<name>`, at `start` of its text."""
    found = Passage(
        name=f"documents/{name}/passages/{start}",
        document=f"documents/{name}",
        document_title=title or name,
        uri=f"{name}.md",
        text=text,
        span=Span(start=start, end=start + len(text)),
    )
    if searched:
        found.scores.fused = 0.5
    return found


def sentence(text: str, index: int = 0) -> Sentence:
    """A sentence of an answer that is only it."""
    return Sentence(index=index, text=text, span=Span(start=0, end=len(text)))


def sources_of(*passages: Passage) -> Sources:
    """Passages, cut into sentences."""
    sources = Sources()
    for one in passages:
        sources.add(one)
    return sources
