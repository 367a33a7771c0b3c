"""A language model as judge of sentences, several at a time, and never alone: what can be compared is compared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from answermesh.agents.checking.check import Check
from answermesh.agents.checking.vetoes import veto
from answermesh.agents.language.comparison import Relation, compare, negation_differs, numbers_missing
from answermesh.agents.models import Bill
from answermesh.agents.prompting import grounded
from answermesh.errors import Failure
from answermesh.llm import LanguageModels, Ledger
from answermesh.v1.finding_pb2 import Verdict

SENTENCES_PER_CALL = 8
SOURCES_PER_SENTENCE = 4
MAX_REASON_CHARS = 200
# A model's word counts less than a comparison's: it cannot be verified further.
JUDGED_CONFIDENCE = 0.8
# Share of words in common from which a negation on one side only cannot be a matter of wording.
_SAME_WORDS = 0.6

_VALUES = {
    "SUPPORTED": Verdict.VALUE_SUPPORTED,
    "REFUTED": Verdict.VALUE_REFUTED,
    "NOT_ENOUGH_EVIDENCE": Verdict.VALUE_NOT_ENOUGH_EVIDENCE,
}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "verdicts": {
            "type": "array",
            "maxItems": SENTENCES_PER_CALL,
            "items": {
                "type": "object",
                "properties": {
                    "sentence": {"type": "integer"},
                    "verdict": {"enum": list(_VALUES)},
                    "source": {"type": "integer"},
                    "reason": {"type": "string", "maxLength": MAX_REASON_CHARS},
                },
                "required": ["sentence", "verdict", "source", "reason"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["verdicts"],
    "additionalProperties": False,
}


class Judge:
    """Judges the sentences it is given; those that come while a call is under way go into the next one."""

    def __init__(self, llm: LanguageModels, ledger: Ledger) -> None:
        self._llm = llm
        self._ledger = ledger
        self._waiting: list[Check] = []
        self._working = False

    def take(self, group: asyncio.TaskGroup, check: Check) -> None:
        """Judge a sentence in the background of `group`; its check then holds the verdict."""
        if not check.sources:
            return  # with nothing to show it, a model could only guess
        self._waiting.append(check)
        if not self._working:
            self._working = True
            group.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:SENTENCES_PER_CALL], self._waiting[SENTENCES_PER_CALL:]
                await self._judge(batch)
        finally:
            self._working = False

    async def _judge(self, batch: Sequence[Check]) -> None:
        near = [source for check in batch for source in check.sources[:SOURCES_PER_SENTENCE]]
        shown = list({source.key: source for source in near}.values())
        numbered = "\n".join(f"Sentence {n}: {check.text}" for n, check in enumerate(batch, start=1))
        messages = grounded("factcheck", numbered, [source.text for source in shown])
        bill = Bill(self._ledger)
        try:
            answer = await self._llm.complete_json(
                "factcheck", messages, _SCHEMA, max_tokens=120 * len(batch), ledger=bill
            )
        except Failure:
            return  # the embedded verdict stands, and says by its method that no model judged
        for judged in answer["verdicts"]:
            if 1 <= judged["sentence"] <= len(batch) and 0 <= judged["source"] <= len(shown):
                check = batch[judged["sentence"] - 1]
                source = shown[judged["source"] - 1] if judged["source"] else None
                value = _VALUES[judged["verdict"]]
                reason = judged["reason"].strip()
                if source is None and value != Verdict.VALUE_NOT_ENOUGH_EVIDENCE:
                    continue  # a verdict without evidence is none
                evidence = source.citation(check.index, JUDGED_CONFIDENCE) if source else None
                value, reason = guarded(value, reason, check.text, source.text if source else "")
                check.verdict = Verdict(
                    sentence_index=check.index,
                    value=value,
                    confidence=JUDGED_CONFIDENCE,
                    evidence=evidence,
                    rationale=reason,
                    method=bill.model,
                )


def guarded(
    value: Verdict.Value.ValueType, reason: str, sentence: str, source: str
) -> tuple[Verdict.Value.ValueType, str]:
    """The verdict after what a model must not overlook: numbers, names, negations and opposites, one by one."""
    compared = compare(sentence, source)
    if compared.relation is Relation.CONTRADICTED:
        return Verdict.VALUE_REFUTED, compared.rationale
    if value != Verdict.VALUE_SUPPORTED:
        return value, reason
    if missing := numbers_missing(sentence, source):
        return Verdict.VALUE_NOT_ENOUGH_EVIDENCE, f"the source does not give {', '.join(missing)}"
    if speaks := veto(sentence, source):
        return Verdict.VALUE_NOT_ENOUGH_EVIDENCE, speaks.reason
    if negation_differs(sentence, source) and compared.matched >= _SAME_WORDS:
        return Verdict.VALUE_NOT_ENOUGH_EVIDENCE, "only one of the source and the sentence negates"
    return value, reason
