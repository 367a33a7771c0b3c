"""The agents that are hurt: `python -m bench.chaos.team NAME ADDRESS`.

The author writes all of an answer anew when it is asked again, or, as "resuming-author", only what is not told yet.

Slow enough to be killed in the middle, and deterministic: what a question is answered with follows from the question
alone, so the checker knows each answer to the letter.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from answermesh.agents import Run
from answermesh.agents.serving.service import mount_agent
from answermesh.config import Settings
from answermesh.rpc.server import Server
from answermesh.serve.stopping import stop_signals
from answermesh.v1.finding_pb2 import Conclusion, Finding, Passage, Sentence, Span, TextDelta, Verdict
from answermesh.v1.mesh_pb2 import AgentCard

SENTENCES, WORDS = 6, 6
# Between two words: an answer takes about a second.
WORD_S = 0.03


def sentences_of(question: str) -> list[str]:
    """The answer to a question; each word of it names the question."""
    return [
        " ".join(f"{question}.{number}.{word}" for word in range(WORDS)).capitalize() + "."
        for number in range(SENTENCES)
    ]


def text_of(question: str) -> str:
    """The whole text of the answer to a question."""
    return " ".join(sentences_of(question))


class Finder:
    """Finds one passage for each sentence of the answer."""

    card = AgentCard(agent="finder", produces=[Finding.KIND_PASSAGE], idempotent=True)

    async def run(self, run: Run) -> None:
        for number, sentence in enumerate(sentences_of(run.question)):
            await asyncio.sleep(WORD_S)
            await run.emit(
                Finding(id=f"p{number}", passage=Passage(name=f"documents/d/passages/{number}", text=sentence))
            )


class Author:
    """Writes word by word what was found."""

    card = AgentCard(
        agent="author",
        consumes=[AgentCard.Consumption(kind=Finding.KIND_PASSAGE)],
        produces=[Finding.KIND_TEXT_DELTA, Finding.KIND_SENTENCE, Finding.KIND_CONCLUSION],
        idempotent=True,
    )

    def __init__(self, *, resumes: bool = False) -> None:
        self.card = AgentCard(resumable=resumes)
        self.card.MergeFrom(Author.card)

    async def run(self, run: Run) -> None:
        found = [finding.passage.text async for finding in run.findings]
        offset = 0
        for index, sentence in enumerate(found):
            text = f" {sentence}" if index else sentence
            start = offset + len(text) - len(sentence)
            while text:
                piece, text = _first_word(text)
                if offset >= len(run.text):
                    await asyncio.sleep(WORD_S)
                await run.emit(Finding(id=f"t{offset}", text_delta=TextDelta(text=piece, offset=offset)))
                offset += len(piece)
            span = Span(start=start, end=offset)
            await run.emit(Finding(id=f"s{index}", sentence=Sentence(index=index, text=sentence, span=span)))
        conclusion = Conclusion(mode=Conclusion.MODE_EXTRACTIVE, answered=True, confidence=1)
        await run.emit(Finding(id="c", conclusion=conclusion))


class Judge:
    """Supports every sentence."""

    card = AgentCard(
        agent="judge",
        consumes=[AgentCard.Consumption(kind=Finding.KIND_SENTENCE)],
        produces=[Finding.KIND_VERDICT],
        idempotent=True,
    )

    async def run(self, run: Run) -> None:
        async for finding in run.findings:
            index = finding.sentence.index
            verdict = Verdict(sentence_index=index, value=Verdict.VALUE_SUPPORTED, confidence=1)
            await run.emit(Finding(id=f"v{index}", verdict=verdict))


TEAM = {one.card.agent: one for one in (Finder(), Author(), Judge())}
PLAN = """
[plans.default]
timeout_s = 60
join = false
[plans.default.agents.finder]
required = true
timeout_s = 60
max_attempts = 10
[plans.default.agents.author]
required = true
timeout_s = 60
max_attempts = 10
[plans.default.agents.judge]
timeout_s = 60
max_attempts = 10
"""


def _first_word(text: str) -> tuple[str, str]:
    end = text.find(" ", 1)
    return (text, "") if end < 0 else (text[:end], text[end:])


async def main(name: str, listen: str) -> None:
    """Serve one of the team until SIGTERM, then drain it."""
    agent = Author(resumes=True) if name == "resuming-author" else TEAM[name]
    with stop_signals() as stop:
        server = Server(listen)
        async with mount_agent(server, Settings(), agent):
            print(await server.start(), flush=True)
            await stop.wait()
            await server.drain()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
