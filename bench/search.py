"""How long a search takes as the corpus grows: `make bench-search`, one JSON line per size.

    python -m bench.search [--passages 1000 10000 100000] [--queries 200]

For each size a mesh of its own: its database is filled with synthetic passages (bench.synthetic), then `answermesh up`
is started on it and asked through its public address, one search after the other, without reranking and then with the
default. Postgres, the index, the models and the way through the mesh are the real ones; only what stands in the
passages is not. `recall` is the share of the nearest passages by exact search that the index finds. Figures of one run
are comparable with each other, those of two machines are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from answermesh.client import Client
from answermesh.evaluation.meshes import Meshes
from answermesh.evaluation.suite import NO_DOCUMENTS
from answermesh.typed.answermesh.v1 import SearchPassagesRequestRerank as Rerank
from bench.mesh import memory_mib
from bench.synthetic import Corpus, fill

_WARM_UP = 30
_RERANKED = 40


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where the databases are made, and stay")
    options = parser.parse_args()
    corpus = Corpus()
    for size in options.passages:
        with tempfile.TemporaryDirectory(prefix="answermesh-bench-") as scratch:
            folder = options.folder / str(size) if options.folder else Path(scratch)
            print(json.dumps(asyncio.run(_measured(folder, corpus, size, options.queries))), flush=True)


async def _measured(folder: Path, corpus: Corpus, size: int, queries: int) -> dict[str, Any]:
    data = folder / NO_DOCUMENTS.key / "mesh"
    kept = folder / "filled.json"
    if not kept.exists():
        filled = await fill(data, corpus, size)
        kept.write_text(json.dumps(filled))
    # All different, since the models remember what they said lately.
    asked = corpus.queries(_WARM_UP + queries + _RERANKED)
    async with Meshes(folder).open(NO_DOCUMENTS, lambda _: None) as mesh:
        postmaster = int((data / "postgres/data/postmaster.pid").read_text().split()[0])
        plain = (await _times_ms(mesh, asked[:-_RERANKED], Rerank.RERANK_NEVER))[_WARM_UP:]
        reranked = await _times_ms(mesh, asked[-_RERANKED:], Rerank.RERANK_UNSPECIFIED)
        return {
            "passages": size,
            "p50_ms": round(statistics.median(plain), 2),
            "p95_ms": round(statistics.quantiles(plain, n=20)[18], 2),
            "least_ms": round(min(plain), 2),
            "reranked_p50_ms": round(statistics.median(reranked), 1),
            "postgres_mib": memory_mib(postmaster),
            **json.loads(kept.read_text()),
        }


async def _times_ms(mesh: Client, queries: list[str], rerank: Rerank) -> list[float]:
    took_ms = []
    for query in queries:
        started_s = time.perf_counter()
        found = await mesh.search(query, rerank=rerank)
        took_ms.append((time.perf_counter() - started_s) * 1e3)
        assert found, query
    return took_ms


if __name__ == "__main__":
    main()
