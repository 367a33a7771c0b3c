"""An answer written by a language model from the passages, told sentence by sentence as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from answermesh.agents import Run
from answermesh.agents.authoring.extractive import unanswered
from answermesh.agents.authoring.gathering import Gathering
from answermesh.agents.authoring.writing import Writing, Written
from answermesh.agents.checking.check import check
from answermesh.agents.language.suspicion import without_suspects
from answermesh.agents.models import Bill
from answermesh.agents.prompting import grounded, prompt
from answermesh.agents.scoring import Scorer
from answermesh.agents.sources import Sources
from answermesh.errors import Failure, Reason
from answermesh.knowledge.sentences import split
from answermesh.llm import LanguageModels, Message
from answermesh.v1.finding_pb2 import Conclusion, Finding, Passage, Sentence, Span, TextDelta, Verdict

# What a model is shown: enough for an answer, little enough for a small model's window and for a CPU's patience.
MAX_PASSAGES = 6
MAX_PASSAGE_CHARS = 6000
MAX_ANSWER_TOKENS = 400
# A model's own belief is not measured; the checks of its sentences scale this down.
WRITTEN_CONFIDENCE = 0.8
UNANSWERED_CONFIDENCE = 0.2


async def generate(run: Run, llm: LanguageModels, gathering: Gathering, scorer: Scorer) -> bool:
    """Write the answer, or the rest of one that broke off; False if there is nothing to write from, or no model did.

    Raises Failure(MODEL_UNAVAILABLE) where the models fail in mid-answer: what was told stays told.
    """
    passages = shown([*gathering.sources.passages.values()])
    if not passages:
        return False
    writing = Writing(run.text, " ".join(passage.text for passage in passages))
    bill = Bill(run.ledger)
    told = _Told(run, passages) if not run.drops_unsupported else _Supported(run, passages, gathering.sources, scorer)
    messages = grounded("synthesis", f"Question: {run.question}", [_source(passage) for passage in passages])
    if run.text:
        messages += [Message("assistant", run.text), Message("user", prompt("going_on"))]
    try:
        async with llm.complete("synthesis", messages, max_tokens=MAX_ANSWER_TOKENS, ledger=bill) as pieces:
            async for piece in pieces:
                await told.tell(writing.feed(piece), writing.sentences())
                if writing.not_found:
                    break
    except Failure as failure:
        if writing.text or failure.reason in (Reason.CANCELLED, Reason.DEADLINE_EXCEEDED):
            raise
        return False
    await told.tell(writing.finish(), writing.sentences(final=True))
    if not writing.text and not writing.not_found:
        return False
    answered = not writing.not_found and bool(told.offset)
    if not answered:
        # After all that was dropped there may be nothing, and an answer has a text.
        message = unanswered([*gathering.sources.passages.values()])
        await run.emit(Finding(id="delta-0", text_delta=TextDelta(text=message)))
    await run.emit(
        Finding(
            id="conclusion",
            conclusion=Conclusion(
                mode=Conclusion.MODE_GENERATIVE,
                answered=answered,
                confidence=WRITTEN_CONFIDENCE if answered else UNANSWERED_CONFIDENCE,
                model=bill.model,
            ),
        )
    )
    return True


def shown(passages: Sequence[Passage]) -> list[Passage]:
    """The passages a model is shown: the first that came, which the search ranked best, within bounds."""
    kept: list[Passage] = []
    room = MAX_PASSAGE_CHARS
    for passage in passages[:MAX_PASSAGES]:
        if len(passage.text) <= room:
            kept.append(passage)
            room -= len(passage.text)
    return kept


def _source(passage: Passage) -> str:
    text = without_suspects(passage.text)
    return "\n".join([" > ".join([passage.document_title, *passage.headings]), text]).strip()


class _Told:
    """Tells text and sentences, and remembers how far it has come."""

    def __init__(self, run: Run, passages: Sequence[Passage]) -> None:
        self._run = run
        self._passages = passages
        self.offset = len(run.text)

    async def tell(self, text: str, sentences: Iterable[Written]) -> None:
        found: list[Finding] = []
        if text:
            found.append(Finding(id=f"delta-{self.offset}", text_delta=TextDelta(text=text, offset=self.offset)))
            self.offset += len(text)
        found.extend(Finding(id=f"sentence-{one.index}", sentence=self._sentence(one)) for one in sentences)
        await self._run.emit(*found)

    def _sentence(self, written: Written) -> Sentence:
        span = Span(start=written.start, end=written.end)
        return Sentence(index=written.index, text=written.text, span=span, passages=_named(written, self._passages))


class _Supported:
    """Tells only sentences that the passages support, each with its text when it is checked."""

    def __init__(self, run: Run, passages: Sequence[Passage], sources: Sources, scorer: Scorer) -> None:
        self._run = run
        self._passages = passages
        self._sources = sources
        self._scorer = scorer
        self._count = len(split(run.text))
        self.offset = len(run.text)

    async def tell(self, text: str, sentences: Iterable[Written]) -> None:
        for written in sentences:
            checked = await check(written.text, self._sources, self._scorer)
            if checked.value != Verdict.VALUE_SUPPORTED:
                continue
            piece = f" {written.text}" if self.offset else written.text
            delta = TextDelta(text=piece, offset=self.offset)
            self.offset += len(piece)
            sentence = Sentence(
                index=self._count,
                text=written.text,
                span=Span(start=self.offset - len(written.text), end=self.offset),
                passages=_named(written, self._passages),
            )
            await self._run.emit(
                Finding(id=f"delta-{delta.offset}", text_delta=delta),
                Finding(id=f"sentence-{self._count}", sentence=sentence),
            )
            self._count += 1


def _named(written: Written, passages: Sequence[Passage]) -> list[str]:
    """The passages that the model named for a sentence."""
    return [passages[n - 1].name for n in written.sources if 1 <= n <= len(passages)]
