"""Retrieval: whether SearchPassages brings the documents that are relevant to a query, and how far up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from answermesh.client import Client
from answermesh.evaluation.rankings import measures
from answermesh.evaluation.sets import corpus, items, sets
from answermesh.evaluation.suite import Item, Outcome, Record, Task

# Passages asked for: several may be of one document, and ten documents are ranked.
_PASSAGES = 20
_SHOWN = 10


class Retrieval:
    """Sets with a corpus and queries that name what is relevant."""

    name = "retrieval"
    about = "Documents relevant to a query, found by SearchPassages."
    headline = ("R@1", "R@5", "nDCG@10", "MRR@10", "all@5")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "corpus", "queries"):
            judged = [item for item in items(one, "queries") if grades(item.row)]
            if judged:
                yield Task(one.name, judged, corpus(one))

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        passages = await mesh.search(item.row["text"], limit=_PASSAGES)
        ranked = list(dict.fromkeys(passage.uri for passage in passages))
        relevant = grades(item.row)
        return Outcome(
            measures(ranked, relevant),
            {"query": item.row["text"], "relevant": sorted(relevant), "found": ranked[:_SHOWN]},
        )

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        return {}


def grades(row: Mapping[str, Any]) -> dict[str, float]:
    """The relevant documents of a query with their grades; {} for one that nothing answers."""
    if not row.get("answerable", True):
        return {}
    judged = row.get("qrels") or dict.fromkeys(row.get("gold_ids", ()), 1)
    return {str(one): float(grade) for one, grade in judged.items() if grade > 0}
