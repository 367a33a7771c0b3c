"""A database of synthetic passages: words by Zipf's law, and vectors between those of texts that the embedder has read.

It is written past the mesh, so that a million takes minutes: rows first, then all indexes at once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from numpy.typing import NDArray

from answermesh.store import EmbeddedPostgres, Store, vector
from bench.embedded_models import EmbeddedModels

_WORDS = 40
_VOCABULARY = 60_000
_QUERY_WORDS = 9
_PASSAGES_PER_DOCUMENT = 10
_BATCH = 5000
_MODEL = "bge-small-en-v1.5"
# Texts whose vectors span the passages'.
_TEXTS = 2000
# Of what the search asks the index for.
_NEAREST = 30
_RECALLED = 40
# Two more processes and enough memory for the whole graph, which else is built on disk, many times slower.
_SETTINGS = """SET search_path = answermesh, public; SET app.tenant = 'default'; SET synchronous_commit = off;
    SET maintenance_work_mem = '3GB'; SET max_parallel_maintenance_workers = 2; SET statement_timeout = 0"""
_WITHOUT_INDEXES = """DROP INDEX passages_embedding, postings_passage;
    ALTER TABLE postings DROP CONSTRAINT postings_pkey;
    ALTER TABLE passages DROP CONSTRAINT passages_tenant_id_document_id_fkey"""
_POSTINGS_INDEXES = """CREATE UNIQUE INDEX postings_pkey
        ON postings (tenant_id, term, passage_id) INCLUDE (frequency, length);
    ALTER TABLE postings ADD PRIMARY KEY USING INDEX postings_pkey;
    CREATE INDEX postings_passage ON postings (tenant_id, passage_id)"""
_GRAPH = "CREATE INDEX passages_embedding ON passages USING hnsw (embedding halfvec_cosine_ops)"
_COUNTS = """INSERT INTO terms (term, passages) SELECT term, count(*) FROM postings GROUP BY term;
    INSERT INTO corpora (passages, length) SELECT count(*), sum(length) FROM passages;
    ALTER TABLE passages ADD CONSTRAINT passages_tenant_id_document_id_fkey
        FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE NOT VALID"""
# See get_candidates in knowledge/search.sql.
_AS_BROAD_AS_THE_SEARCH = """SELECT set_config('hnsw.ef_search',
    least(greatest(round(0.45 * sqrt(passages)), 40), 1000)::text, false) FROM corpora"""
_FIND = """SELECT passage_id FROM passages WHERE embedding_model = $2
    ORDER BY embedding <=> $1::vector::halfvec(384) LIMIT $3"""

Vectors = NDArray[np.float32]


class Corpus:
    """What passages are made of, and the queries."""

    def __init__(self) -> None:
        self._models = EmbeddedModels()
        self._rng = np.random.default_rng(1)
        self._texts = np.array(asyncio.run(self._models.vectors(_queries(3, _TEXTS))), dtype=np.float32)

    def queries(self, count: int) -> list[str]:
        """Questions whose words are of the middle of the vocabulary, as those that questions are about."""
        return _queries(7, count)

    async def query_vectors(self, count: int) -> list[Vectors]:
        """Vectors of the first queries."""
        return [np.array(one, dtype=np.float32) for one in await self._models.vectors(self.queries(count))]

    def vectors(self, count: int) -> Vectors:
        """Each between three of the texts', the first the nearest, and a little beside."""
        chosen = self._texts[self._rng.integers(0, _TEXTS, (count, 3))]
        shares = self._rng.dirichlet((4.0, 2.0, 1.0), count).astype(np.float32)
        mixed = np.einsum("pt,ptd->pd", shares, chosen) + self._rng.normal(0, 0.01, (count, 384)).astype(np.float32)
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)

    def words(self, count: int) -> list[NDArray[np.int64]]:
        """Ranks of the words of passages, each word once."""
        return [np.unique(_zipf(self._rng, _WORDS)) for _ in range(count)]


async def fill(data: Path, corpus: Corpus, size: int) -> dict[str, Any]:
    """Make a database of `size` passages in a new data folder; what it took and how large it is."""
    with _folders(data) as run:
        async with EmbeddedPostgres(data, run / "run") as postgres:
            async with Store.open(postgres.dsn):
                pass
            connection = await asyncpg.connect(postgres.dsn)
            await connection.execute(_SETTINGS)
            await vector.add_codec(connection, await vector.schema(connection))
            try:
                return await _filled(connection, corpus, size)
            finally:
                await connection.close()


@contextmanager
def _folders(data: Path) -> Iterator[Path]:
    """Make the data folder, and one for the socket, which goes with the block."""
    data.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="answermesh-bench-") as run:
        # As root, Postgres runs as another user.
        Path(run).chmod(0o755)
        yield Path(run)


async def _filled(connection: asyncpg.Connection[asyncpg.Record], corpus: Corpus, size: int) -> dict[str, Any]:
    started_s = time.perf_counter()
    await connection.execute(_WITHOUT_INDEXES)
    for start in range(0, size, _BATCH):
        await _batch(connection, corpus, range(start, min(size, start + _BATCH)))
    rows_s = time.perf_counter() - started_s
    await connection.execute(_POSTINGS_INDEXES)
    before_s = time.perf_counter()
    await connection.execute(_GRAPH)
    graph_s = time.perf_counter() - before_s
    await connection.execute(_COUNTS)
    await connection.execute("VACUUM ANALYZE")
    took_s = time.perf_counter() - started_s
    recall = await _recall(connection, await corpus.query_vectors(_RECALLED))
    database, graph = await connection.fetchrow(
        "SELECT pg_database_size(current_database()), pg_relation_size('passages_embedding')"
    ) or (0, 0)
    return {
        "recall": round(recall, 3),
        "rows_s": round(rows_s),
        "graph_s": round(graph_s),
        "fill_s": round(took_s),
        "database_mib": database >> 20,
        "graph_mib": graph >> 20,
    }


async def _recall(connection: asyncpg.Connection[asyncpg.Record], vectors: Sequence[Vectors]) -> float:
    """Share of the nearest by exact search that the index finds, as the search asks it."""
    await connection.execute("SET hnsw.iterative_scan = strict_order")
    await connection.execute(_AS_BROAD_AS_THE_SEARCH)
    found = 0
    for one in vectors:
        by_index = await connection.fetch(_FIND, one, _MODEL, _NEAREST)
        await connection.execute("SET enable_indexscan = off")
        exact = await connection.fetch(_FIND, one, _MODEL, _NEAREST)
        await connection.execute("SET enable_indexscan = on")
        found += len({row[0] for row in by_index} & {row[0] for row in exact})
    return found / (_NEAREST * len(vectors))


async def _batch(connection: asyncpg.Connection[asyncpg.Record], corpus: Corpus, numbers: Sequence[int]) -> None:
    documents = sorted({number // _PASSAGES_PER_DOCUMENT for number in numbers})
    await connection.execute(
        """INSERT INTO documents (document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text,
               character_count, passage_count)
           SELECT 'd' || n, 'd' || n, 'Document ' || n, 'text/plain', 1, '', '', '', 0, $2 FROM unnest($1::int[]) AS n
           ON CONFLICT DO NOTHING""",
        documents,
        _PASSAGES_PER_DOCUMENT,
    )
    words = corpus.words(len(numbers))
    rows = await connection.fetch(
        """INSERT INTO passages (document_id, ordinal, span_start, span_end, text, headings, page, length,
               embedding_model, embedding)
           SELECT 'd' || n / 10, n % 10, 0, 100, t, '{}', 0, l, $5, e::halfvec(384)
           FROM unnest($1::int[], $2::text[], $3::int[], $4::vector[]) AS p(n, t, l, e) ORDER BY n
           RETURNING passage_id""",
        list(numbers),
        [" ".join(f"w{word}" for word in one) + " " + "x" * 500 for one in words],
        [len(one) for one in words],
        [vector.encode(one) for one in corpus.vectors(len(numbers))],
        _MODEL,
    )
    ids = [row["passage_id"] for row in rows]
    await connection.execute(
        """INSERT INTO postings (term, passage_id, frequency, length)
           SELECT 'w' || w, id, 1, l FROM unnest($1::int[], $2::bigint[], $3::int[]) AS p(w, id, l)""",
        np.concatenate(words).tolist(),
        [one for one, all_ in zip(ids, words, strict=True) for _ in all_],
        [len(all_) for all_ in words for _ in all_],
    )


def _queries(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["what is " + " ".join(f"w{word}" for word in _zipf(rng, _QUERY_WORDS, skip=20)) for _ in range(count)]


def _zipf(rng: np.random.Generator, count: int, skip: int = 0) -> NDArray[np.int64]:
    """Ranks of words: the share of each is inverse to its rank."""
    return np.floor(np.exp(rng.uniform(np.log(skip + 1), np.log(_VOCABULARY), count))).astype(np.int64)
