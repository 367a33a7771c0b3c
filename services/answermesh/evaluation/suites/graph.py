"""Graph: whether following links finds all documents that a question in several steps needs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from answermesh.client import Client
from answermesh.evaluation.rankings import measures
from answermesh.evaluation.sets import corpus, items, pools, sets
from answermesh.evaluation.suite import Item, Outcome, Record, Task
from answermesh.evaluation.suites.retrieval import grades
from answermesh.typed.answermesh.v1 import SearchPassagesRequestLinks as Links

_PASSAGES = 20
_SHOWN = 10
_SAID = ("all@5", "all@8", "R@5")
_WITHOUT = " without"


class Graph:
    """Sets of which most queries need two documents or more, each searched with links and without."""

    name = "graph"
    about = "All documents that a question in several steps needs, found by SearchPassages with links and without."
    headline = ("all@8", "all@8 without", "all@5", "all@5 without", "R@5", "R@5 without")

    def tasks(self, folder: Path) -> Iterable[Task]:
        for one in sets(folder, "corpus", "queries"):
            judged = [item for item in items(one, "queries") if grades(item.row)]
            if sum(len(grades(item.row)) > 1 for item in judged) * 2 <= len(judged):
                continue
            yield Task(one.name, judged, corpus(one))
            for field, ids in pools(one).items():
                within = [item for item in judged if grades(item.row).keys() <= ids]
                if within:
                    yield Task(f"{one.name}:{field}", within, corpus(one, name=f"{one.name}-{field}", keep=ids))

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        relevant = grades(item.row)
        metrics: dict[str, float] = {}
        found: dict[str, list[str]] = {}
        for links, suffix in (
            ("LINKS_FOLLOW", ""),
            ("LINKS_IGNORE", _WITHOUT),
        ):
            started_s = time.perf_counter()
            passages = await mesh.search(item.row["text"], limit=_PASSAGES, links=Links.from_string(links))
            metrics["search s" + suffix] = time.perf_counter() - started_s
            ranked = list(dict.fromkeys(passage.uri for passage in passages))
            measured = measures(ranked, relevant)
            metrics |= {name + suffix: measured[name] for name in _SAID}
            found["found" + suffix] = ranked[:_SHOWN]
        return Outcome(metrics, {"query": item.row["text"], "relevant": sorted(relevant), **found})

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        return {}
