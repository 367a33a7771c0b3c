"""Chunking: how much of the evidence the first five passages hold, and how little else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from answermesh.client import Client
from answermesh.evaluation.sets import corpus, items, sets
from answermesh.evaluation.spans import measures
from answermesh.evaluation.suite import Item, Outcome, Record, Task

_PASSAGES = 5


class Chunking:
    """Sets whose queries give the evidence as spans of a document's text."""

    name = "chunking"
    about = "Characters of the evidence among the first five passages of SearchPassages, and other characters there."
    headline = ("recall", "precision", "IoU", "exact spans")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "corpus", "queries"):
            spanned = [item for item in items(one, "queries") if item.row.get("spans") and item.row.get("corpus")]
            if spanned:
                yield Task(one.name, spanned, corpus(one))

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        document = str(item.row["corpus"])
        evidence = [(document, int(start), int(end)) for start, end in item.row["spans"]]
        passages = await mesh.search(item.row["text"], limit=_PASSAGES)
        retrieved = [(passage.uri, passage.span.start, passage.span.end) for passage in passages]
        texts = {
            name: (await mesh.get_document(name, full=True)).text for name in {passage.document for passage in passages}
        }
        exact = [texts[one.document][one.span.start : one.span.end] == one.text for one in passages]
        return Outcome(
            measures(retrieved, evidence) | {"exact spans": sum(exact) / len(exact) if exact else 1.0},
            {"query": item.row["text"], "evidence": item.row["spans"], "found": retrieved},
        )

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        return {}
