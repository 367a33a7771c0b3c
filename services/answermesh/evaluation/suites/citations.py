"""Citations: whether each sentence of an answer is carried by what it cites, and each citation carries it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from answermesh.client import Client
from answermesh.evaluation.sets import corpus, items, sets, unseen
from answermesh.evaluation.suite import Item, Outcome, Record, Task
from answermesh.evaluation.suites.qa import ask
from answermesh.evaluation.suites.retrieval import grades
from answermesh.typed.answermesh import v1


class Citations:
    """Sets with questions that name the documents which answer them."""

    name = "citations"
    about = (
        "Answers' citations: precision and recall as in ALCE (Gao et al. 2023) by the check of the cited texts "
        "alone, and by the documents that the set names; `exact` is the share whose text stands at its offsets."
    )
    headline = ("precision", "recall", "exact", "precision_by_documents", "recall_by_documents")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "corpus", "queries"):
            judged = [item for item in unseen(items(one, "queries")) if grades(item.row) and "answers" in item.row]
            if judged:
                yield Task(one.name, judged, corpus(one))

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        answer = await ask(mesh, item.row["text"])
        if not answer.answered:
            return Outcome({"answered": 0.0}, {"question": item.row["text"]})
        relevant = grades(item.row)
        carried = [await _carried(mesh, sentence) for sentence in answer.sentences]
        cited = [citation for sentence in answer.sentences for citation in sentence.citations]
        needed = [one for _, each in carried for one in each]
        metrics = {
            "answered": 1.0,
            "recall": _mean([whole for whole, _ in carried]),
            "recall_by_documents": _mean(
                [float(any(one.uri in relevant for one in sentence.citations)) for sentence in answer.sentences]
            ),
        }
        if cited:
            metrics["precision"] = _mean(needed)
            metrics["precision_by_documents"] = _mean([float(one.uri in relevant) for one in cited])
            metrics["exact"] = _mean([await _exact(mesh, one) for one in cited])
        details = {
            "question": item.row["text"],
            "sentences": [
                {"text": sentence.text, "cited": [one.text for one in sentence.citations]}
                for sentence in answer.sentences
            ],
        }
        return Outcome(metrics, details)

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        return {}


async def _carried(mesh: Client, sentence: v1.AnswerSentence) -> tuple[float, list[float]]:
    """Whether all that a sentence cites supports it together, and for each citation whether it does its part.

    A citation does where it supports the sentence alone, or where the others without it do not.
    """
    texts = [citation.text for citation in sentence.citations]
    if not texts:
        return 0.0, []
    whole = await _supported(mesh, sentence.text, texts)
    if not whole:
        return 0.0, [0.0] * len(texts)
    if len(texts) == 1:
        return 1.0, [1.0]
    parts = []
    for index, text in enumerate(texts):
        rest = texts[:index] + texts[index + 1 :]
        parts.append(
            float(await _supported(mesh, sentence.text, [text]) or not await _supported(mesh, sentence.text, rest))
        )
    return 1.0, parts


async def _supported(mesh: Client, text: str, evidence: Sequence[str]) -> bool:
    [told] = await mesh.verify_claims([text], evidence=evidence)
    return told.verdict.value == v1.VerdictValue.VALUE_SUPPORTED


async def _exact(mesh: Client, citation: v1.Citation) -> float:
    document = await mesh.get_document(citation.document, full=True)
    return float(document.text[citation.span.start : citation.span.end] == citation.text)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
