"""The two embedded models: texts in, vectors or scores out (onnxruntime and tokenizers, on the CPU).

Both are BERTs with int8 weights whose activations are quantised per run, over all texts that run together. So a text's
result depends a little on its company: measured over technical prose, up to 0.01 in cosine for vectors, and up to 0.8
(mean 0.15) for scores. That is nothing to a stored vector, but would let a verdict or an order of passages differ from
a run to the next with what other callers happen to ask. Texts of documents therefore run together, and queries and
pairs run alone: the same question gets the same answer. It costs little: two cores are as fast with passages one by
one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it has no stubs
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

# Positions that both models have.
WINDOW_TOKENS = 512
# What a query may take of the window; the rest is the text's.
QUERY_TOKENS = 256
DIMENSIONS = 384


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One text, or one pair of texts, in tokens."""

    ids: NDArray[np.int64]
    # 0 for tokens of the first text, 1 for those of the second.
    type_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class Embedder:
    """bge-small-en-v1.5: a text becomes a vector of length 1, the state of its first token.

    Queries go without the instruction that its model card offers for them: fused with BM25 they find as much on four
    sets of four (R@5 of SQuAD .973 over .968, of HotpotQA .920 over .915), and take a seventh less time.
    """

    model = "bge-small-en-v1.5"
    dimensions = DIMENSIONS

    def __init__(self, weights: Path, tokenizer: Path, threads: int) -> None:
        self._session = _open_session(weights, threads)
        # A query has some twenty tokens, over which two threads agree as long as they work: one takes as long, and half
        # the processor. Costs the weights' 35 MB again.
        self._alone = _open_session(weights, 1)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(WINDOW_TOKENS)

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """Tokens of the texts, each cut to the window."""
        return [_row(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def run(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Vectors [rows, dimensions], from one run of all rows."""
        return _vectors(self._session, rows)

    def run_alone(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Vectors [rows, dimensions], each from a run of its own."""
        return np.concatenate([_vectors(self._alone, [row]) for row in rows])


def threads() -> int:
    """Threads of a session of this process: a processor each."""
    return len(os.sched_getaffinity(0))


class Scorer:
    """ms-marco-MiniLM-L-12-v2: a query and a text become a logit, above 0 if the text likely answers the query."""

    model = "ms-marco-MiniLM-L-12-v2"

    def __init__(self, weights: Path, tokenizer: Path, threads: int) -> None:
        self._session = _open_session(weights, threads)
        self._pairs = Tokenizer.from_file(str(tokenizer))
        self._pairs.enable_truncation(WINDOW_TOKENS, strategy="only_second")
        self._queries = Tokenizer.from_file(str(tokenizer))
        self._queries.enable_truncation(QUERY_TOKENS)

    def rows(self, query: str, texts: Sequence[str]) -> list[Row]:
        """Tokens of the pairs: the query cut to its share of the window, each text to the rest."""
        encoding = self._queries.encode(query, add_special_tokens=False)
        if encoding.overflowing:
            query = query[: encoding.offsets[-1][1]]
        return [_row(encoding) for encoding in self._pairs.encode_batch([(query, text) for text in texts])]

    def run_alone(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Logits [rows], each from a run of its own."""
        runs = [self._session.run(["logits"], _feed([row]))[0] for row in rows]
        return np.asarray(np.concatenate(runs)[:, 0], dtype=np.float32)


def _vectors(session: ort.InferenceSession, rows: Sequence[Row]) -> NDArray[np.float32]:
    states: NDArray[np.float32] = session.run(["last_hidden_state"], _feed(rows))[0]
    first = states[:, 0]
    return np.asarray(first / np.linalg.norm(first, axis=1, keepdims=True), dtype=np.float32)


def _row(encoding: Encoding) -> Row:
    return Row(np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64))


def _feed(rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    """The models' inputs [rows, longest], padded by 0 where the mask says so."""
    shape = (len(rows), max(len(row) for row in rows))
    ids, mask, type_ids = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
        mask[index, : len(row)] = 1
        type_ids[index, : len(row)] = row.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": type_ids}


def _open_session(weights: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The library's own store of memory, which keeps what a run took for the next one. malloc gives it back and takes it
    # anew in every run of a thread that is not the main one: 2 to 9 % of the processor time of documents, and a higher
    # peak. A pattern for each shape would take more, for shapes that hardly come again.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    # Waiting threads sleep: the cores are shared with the whole mesh.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
