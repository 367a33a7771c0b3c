"""The embedded models in this process, with a memory on disk: fitting asks them the same things again and again."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from answermesh.agents.scoring import Reading
from answermesh.config import Settings
from answermesh.models import fetch
from answermesh.models.encoder import Embedder, Scorer, as_row, processors
from answermesh.models.manifest import EMBEDDED, EMBEDDER, RERANKER, TOKENIZER
from answermesh.models.reader import Reader, reading


class EmbeddedModels:
    """A Scorer of agents without a service between; `memory` is a file that answers are kept in."""

    def __init__(self, memory: Path | None = None) -> None:
        paths = fetch.ensure(Settings().cache_dir, EMBEDDED, lambda package, done, total: None)
        self._embedder = Embedder(paths[EMBEDDER], paths[TOKENIZER])
        self._scorer = Scorer(paths[RERANKER], paths[TOKENIZER])
        self._reader = Reader(self._scorer)
        self._threads = ThreadPoolExecutor(processors())
        self._memory = memory
        self._scores: dict[tuple[str, str], float] = {}
        self._vectors: dict[str, np.ndarray] = {}
        self._readings: dict[tuple[str, str], Reading] = {}
        if memory and memory.exists():
            self._scores, self._vectors, self._readings = pickle.loads(memory.read_bytes())

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        missing = [text for text in dict.fromkeys(texts) if (query, text) not in self._scores]
        if missing:
            logits = self._threads.map(self._scorer.run, self._scorer.rows(query, missing))
            self._scores |= {(query, text): float(logit) for text, logit in zip(missing, logits, strict=True)}
        return [self._scores[query, text] for text in texts]

    async def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            found = self._threads.map(self._embedder.run, self._embedder.rows(missing))
            self._vectors |= {text: vector.astype(np.float16) for text, vector in zip(missing, found, strict=True)}
        return [self._vectors[text].astype(np.float64).tolist() for text in texts]

    async def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        missing = [text for text in dict.fromkeys(texts) if (question, text) not in self._readings]
        if missing:
            encodings = self._scorer.encode(question, missing)
            pieces = self._threads.map(self._reader.run, map(as_row, encodings))
            for text, encoding, piece in zip(missing, encodings, pieces, strict=True):
                one = reading(encoding, piece)
                self._readings[question, text] = Reading(one.logit, one.start, one.end)
        return [self._readings[question, text] for text in texts]

    def remember(self) -> None:
        """Write the memory."""
        if self._memory:
            self._memory.write_bytes(pickle.dumps((self._scores, self._vectors, self._readings)))
