"""Entities: what the question speaks of, and the questions within it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from answermesh.agents import Run
from answermesh.agents.ids import identifier
from answermesh.agents.language.subquestions import MAX_SUBQUESTIONS, subquestions
from answermesh.agents.models import open_llm
from answermesh.agents.prompting import prompt
from answermesh.config import Settings
from answermesh.errors import Failure
from answermesh.knowledge.entities import extract, salience
from answermesh.llm import LanguageModels, Message
from answermesh.v1.finding_pb2 import Entity, Finding, Subquestion
from answermesh.v1.mesh_pb2 import AgentCard

# A question speaks of few things; a longer list comes from pasted text.
MAX_ENTITIES = 16
# A language model is asked to split a question only from this many words on: a shorter one is simple.
MIN_WORDS_TO_SPLIT = 8
MAX_SUBQUESTION_CHARS = 200

_SCHEMA = {
    "type": "object",
    "properties": {
        "questions": {
            "type": "array",
            "maxItems": MAX_SUBQUESTIONS,
            "items": {"type": "string", "maxLength": MAX_SUBQUESTION_CHARS},
        }
    },
    "required": ["questions"],
    "additionalProperties": False,
}


class Entities:
    """Reads the question as import reads documents, so that both name the same things."""

    card = AgentCard(
        agent="entities",
        version="1",
        description="Finds what the question speaks of, and the questions within it.",
        produces=[Finding.KIND_ENTITY, Finding.KIND_SUBQUESTION],
        idempotent=True,
    )

    def __init__(self, llm: LanguageModels | None) -> None:
        self._llm = llm

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Entities]:
        async with open_llm(settings) as llm:
            yield cls(llm)

    async def run(self, run: Run) -> None:
        by_rule = subquestions(run.question)
        await run.emit(
            *(Finding(id=identifier("entity", one.display_name), entity=one) for one in entities_of(run.question)),
            *map(_finding, by_rule),
        )
        if self._llm is not None and not by_rule and len(run.question.split()) >= MIN_WORDS_TO_SPLIT:
            await run.emit(*map(_finding, await self._split(run, self._llm)))

    async def _split(self, run: Run, llm: LanguageModels) -> list[str]:
        """The questions that a language model sees in the question; none where it fails, since they only help."""
        messages = [Message("system", prompt("subquestions")), Message("user", run.question)]
        try:
            answer = await llm.complete_json("subquestions", messages, _SCHEMA, max_tokens=200, ledger=run.ledger)
        except Failure:
            return []
        questions = dict.fromkeys(" ".join(question.split()) for question in answer["questions"])
        return [question for question in questions if question and question.casefold() != run.question.casefold()]


def entities_of(question: str) -> list[Entity]:
    """The entities of a question, the most salient first, each once."""
    mentions = extract(question)
    weights = salience(mentions)
    first = {mention.key: mention for mention in reversed(mentions)}
    ranked = sorted(first.values(), key=lambda mention: (-weights[mention.key], mention.start))
    return [Entity(display_name=one.text, type=one.type, salience=weights[one.key]) for one in ranked[:MAX_ENTITIES]]


def _finding(question: str) -> Finding:
    return Finding(id=identifier("subquestion", question), subquestion=Subquestion(text=question))
