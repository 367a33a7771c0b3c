"""Questions: whether answers are right, told in few words or within the text, and withheld where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from answermesh.client import Client
from answermesh.client.members import chosen, is_set
from answermesh.errors import Failure, Reason
from answermesh.evaluation.answers import contains, exact_match, token_f1, token_recall
from answermesh.evaluation.sets import corpus, items, sets, unseen
from answermesh.evaluation.statistics import area_under_curve
from answermesh.evaluation.suite import Item, Outcome, Record, Task
from answermesh.knowledge.ids import document_id
from answermesh.typed.answermesh import v1

_READER = "-reader"
_TIMEOUT_S = 120.0


class Questions:
    """Sets whose questions have answers: over the whole corpus, and where they name their passage, over that alone."""

    name = "qa"
    about = (
        "Questions answered; `-reader` sets are answered from the passage that the question was written for. `right`: "
        "a right answer stands in the text word for word; `recall`: the share of its words that do."
    )
    headline = ("F1", "EM", "right", "wrong", "silent", "AUC_answerable")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "corpus", "queries"):
            asked = [item for item in unseen(items(one, "queries")) if "answers" in item.row]
            if asked:
                yield Task(one.name, asked, corpus(one))
            reading = [item for item in asked if item.row.get("context_id")]
            if reading:
                yield Task(one.name + _READER, reading, corpus(one))

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        documents: list[str] = []
        if task.name.endswith(_READER):
            documents = [f"documents/{document_id(item.row['context_id'])}"]
        answer = await ask(mesh, item.row["text"], documents)
        short = answer.short_answer.text if is_set(answer.short_answer) else ""
        right = gold(item.row)
        said = answer.text if answer.answered else ""
        told_right = contains(said, right) if right else float(not answer.answered)
        metrics = {
            "EM": max(exact_match(short, one) for one in right or [""]),
            "F1": max(token_f1(short, one) for one in right or [""]),
            "right": told_right,
            "wrong": float(answer.answered and not told_right),
            "silent": float(not answer.answered),
        }
        if right:
            metrics |= {f"{name}_answerable": metrics[name] for name in ("EM", "F1", "right")}
            metrics["recall_answerable"] = max(token_recall(said, one) for one in right)
        details = {
            "question": item.row["text"],
            "right": right,
            "short": short,
            "text": answer.text,
            "confidence": answer.confidence,
            "answerable": bool(right),
        }
        return Outcome(metrics, details)

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        scored = [(bool(one.details["answerable"]), float(one.details["confidence"])) for one in records]
        return {"AUC_answerable": area_under_curve(scored)} if len({truth for truth, _ in scored}) == 2 else {}


def gold(row: Mapping[str, Any]) -> list[str]:
    """The right answers of a question; none for one that the corpus does not answer."""
    return [one for one in row["answers"] if one.strip()] if row.get("answerable", True) else []


async def ask(mesh: Client, question: str, documents: Sequence[str] = (), **options: Any) -> v1.Answer:
    """The answer to a question. Raises Failure where there is none."""
    async with aclosing(mesh.ask(question, documents=documents, timeout_s=_TIMEOUT_S, **options)) as events:
        async for event in events:
            kind, ended = chosen(event, "event")
            if kind == "query_ended" and is_set(ended.answer):
                answer: v1.Answer = ended.answer
                return answer
    raise Failure(Reason.AGENT_FAILED, "The query ended without an answer.")
