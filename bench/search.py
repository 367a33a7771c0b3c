"""How long a search takes as the corpus grows: `make bench-search`, one JSON line per size.

    python -m bench.search [--passages 1000 10000 100000] [--queries 200]

For each size a mesh of its own: its database is filled with synthetic passages (words by Zipf's law, vectors around
random centres), then `answermesh up` is started on it and asked through its public address, one search after the other,
without reranking. Postgres, the index, the models and the way through the mesh are the real ones; only what stands in
the passages is not. Figures of one run are comparable with each other, those of two machines are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import numpy as np

from answermesh.evaluation.meshes import Meshes
from answermesh.evaluation.suite import NO_DOCUMENTS
from answermesh.store import EmbeddedPostgres, Store
from answermesh.typed.answermesh.v1 import SearchPassagesRequestRerank as Rerank

_WORDS = 40
_VOCABULARY = 60_000
_CENTRES = 3000
_QUERY_WORDS = 9
_PASSAGES_PER_DOCUMENT = 10
_BATCH = 5000
_MODEL = "bge-small-en-v1.5"
_WARM_UP = 30
_SETTINGS = "SET search_path = answermesh, public; SET app.tenant = 'default'; SET maintenance_work_mem = '1GB'"
_INDEX = "CREATE INDEX passages_embedding ON passages USING hnsw (embedding halfvec_cosine_ops)"


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    for size in options.passages:
        with tempfile.TemporaryDirectory(prefix="answermesh-bench-") as folder:
            print(json.dumps(asyncio.run(_measured(Path(folder), size, options.queries))), flush=True)


async def _measured(folder: Path, size: int, queries: int) -> dict[str, float]:
    started_s = time.perf_counter()
    await _fill(folder / NO_DOCUMENTS.key / "mesh", size)
    filled_s = time.perf_counter() - started_s
    rng = np.random.default_rng(7)
    took_ms: list[float] = []
    async with Meshes(folder).open(NO_DOCUMENTS, lambda _: None) as mesh:
        for number in range(_WARM_UP + queries):
            # Words of the middle of the vocabulary, as those that questions are about.
            words = _zipf(rng, _QUERY_WORDS, skip=20)
            query = "what is " + " ".join(f"w{word}" for word in words)
            started_s = time.perf_counter()
            found = await mesh.search(query, rerank=Rerank.RERANK_NEVER)
            if number >= _WARM_UP:
                took_ms.append((time.perf_counter() - started_s) * 1e3)
            assert found, query
    quantiles = statistics.quantiles(took_ms, n=20)
    return {
        "passages": size,
        "p50_ms": round(statistics.median(took_ms), 2),
        "p95_ms": round(quantiles[18], 2),
        "least_ms": round(min(took_ms), 2),
        "fill_s": round(filled_s, 1),
    }


async def _fill(data: Path, size: int) -> None:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((_CENTRES, 384), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="answermesh-bench-") as run:
        _prepare(data, Path(run))
        async with EmbeddedPostgres(data, Path(run) / "run") as postgres:
            async with Store.open(postgres.dsn):
                pass
            connection = await asyncpg.connect(postgres.dsn)
            await connection.execute(_SETTINGS)
            await connection.execute("DROP INDEX passages_embedding")
            for start in range(0, size, _BATCH):
                await _batch(connection, rng, centres, range(start, min(size, start + _BATCH)))
            await connection.execute(_INDEX)
            await connection.execute(
                """INSERT INTO terms (term, passages) SELECT term, count(*) FROM postings GROUP BY term;
                   INSERT INTO corpora (passages, length) SELECT count(*), sum(length) FROM passages;
                   UPDATE documents d SET passage_count = 10;"""
            )
            await connection.execute("VACUUM ANALYZE")
            await connection.close()


def _prepare(data: Path, run: Path) -> None:
    data.mkdir(parents=True)
    # As root, Postgres runs as another user.
    run.chmod(0o755)


async def _batch(
    connection: asyncpg.Connection[asyncpg.Record],
    rng: np.random.Generator,
    centres: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    numbers: Sequence[int],
) -> None:
    documents = sorted({number // _PASSAGES_PER_DOCUMENT for number in numbers})
    await connection.execute(
        """INSERT INTO documents (document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text,
               character_count, passage_count)
           SELECT 'd' || n, 'd' || n, 'Document ' || n, 'text/plain', 1, '', '', '', 0, 0 FROM unnest($1::int[]) AS n
           ON CONFLICT DO NOTHING""",
        documents,
    )
    near = centres[rng.integers(0, _CENTRES, len(numbers))]
    vectors = near + 0.7 * rng.standard_normal((len(numbers), 384), dtype=np.float32)
    words = [np.unique(_zipf(rng, _WORDS)) for _ in numbers]
    rows = await connection.fetch(
        """INSERT INTO passages (document_id, ordinal, span_start, span_end, text, headings, page, length,
               embedding_model, embedding)
           SELECT 'd' || n / 10, n % 10, 0, 100, t, '{}', 0, l, $5, e::text::halfvec(384)
           FROM unnest($1::int[], $2::text[], $3::int[], $4::text[]) AS p(n, t, l, e) ORDER BY n
           RETURNING passage_id""",
        list(numbers),
        [" ".join(f"w{word}" for word in one) + " " + "x" * 500 for one in words],
        [len(one) for one in words],
        ["[" + ",".join(f"{value:.3f}" for value in vector) + "]" for vector in vectors],
        _MODEL,
    )
    ids = [row["passage_id"] for row in rows]
    await connection.execute(
        """INSERT INTO postings (term, passage_id, frequency, length)
           SELECT 'w' || w, id, 1, l FROM unnest($1::int[], $2::bigint[], $3::int[]) AS p(w, id, l) ORDER BY 1, 2""",
        [int(word) for one in words for word in one],
        [one for one, all_ in zip(ids, words, strict=True) for _ in all_],
        [len(all_) for all_ in words for _ in all_],
    )


def _zipf(rng: np.random.Generator, count: int, skip: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Ranks of words: the share of each is inverse to its rank."""
    return np.floor(np.exp(rng.uniform(np.log(skip + 1), np.log(_VOCABULARY), count))).astype(np.int64)


if __name__ == "__main__":
    main()
