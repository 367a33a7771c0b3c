"""The two embedded models: texts in, vectors or scores out (onnxruntime and tokenizers, on the CPU).

Both are BERTs with int8 weights whose activations are quantised per run, over all texts that run together. So a text's
result would depend a little on its company: measured over technical prose, up to 0.01 in cosine for vectors, and up to
0.8 (mean 0.15) for scores, which would let a verdict or an order of passages differ from a run to the next with what
other callers happen to ask. So each text and each pair runs alone: the same question gets the same answer.

A run takes one thread, and as many go on at once as there are processors. Beside other work on two of them, pairs of
150 tokens took .59 of the time so that runs of two threads take one after the other, for the same processor time; and
texts in one run take as much of that by the token as alone (0.22 ms, at 1 to 1024 tokens in a run).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # it has no stubs
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

# Positions that both models have.
WINDOW_TOKENS = 512
# What a query may take of the window; the rest is the text's.
QUERY_TOKENS = 256
DIMENSIONS = 384

# Output of the sixth of the cross-encoder's twelve layers, and how to run no further.
_STATES = "/bert/encoder/layer.5/output/LayerNorm/Add_1_output_0"
_HALF = ort.RunOptions()
_HALF.only_execute_path_to_fetches = True


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One text, or one pair of texts, in tokens."""

    ids: NDArray[np.int64]
    # 0 for tokens of the first text, 1 for those of the second.
    type_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def text_start(self) -> int:
        """Where the second text begins."""
        return int(self.type_ids.argmax())


class Embedder:
    """bge-small-en-v1.5: a text becomes a vector of length 1, the state of its first token.

    Queries go without the instruction that its model card offers for them: fused with BM25 they find as much on four
    sets of four (R@5 of SQuAD .973 over .968, of HotpotQA .920 over .915), and take a seventh less time.
    """

    model = "bge-small-en-v1.5"
    dimensions = DIMENSIONS

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        self._session = open_session(weights)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(WINDOW_TOKENS)

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """Tokens of the texts, each cut to the window."""
        return [as_row(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def run(self, row: Row) -> NDArray[np.float32]:
        """The vector [dimensions]. Several threads may run at once."""
        first: NDArray[np.float32] = self._session.run(["last_hidden_state"], _feed(row))[0][0, 0]
        return np.asarray(first / np.linalg.norm(first), dtype=np.float32)


def processors() -> int:
    """Those that this process may use: so many runs at once are the fastest."""
    return len(os.sched_getaffinity(0))


class Scorer:
    """ms-marco-MiniLM-L-12-v2: a query and a text become a logit, above 0 if the text likely answers the query."""

    model = "ms-marco-MiniLM-L-12-v2"

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        # By way of a file: of a model that it is given as bytes, the library keeps the bytes.
        with NamedTemporaryFile(suffix=".onnx") as enlarged:
            enlarged.write(with_output(weights.read_bytes(), _STATES))
            enlarged.flush()
            self._session = open_session(Path(enlarged.name))
        self._pairs = Tokenizer.from_file(str(tokenizer))
        self._pairs.enable_truncation(WINDOW_TOKENS, strategy="only_second")
        self._queries = Tokenizer.from_file(str(tokenizer))
        self._queries.enable_truncation(QUERY_TOKENS)

    def rows(self, query: str, texts: Sequence[str]) -> list[Row]:
        """Tokens of the pairs: the query cut to its share of the window, each text to the rest."""
        return [as_row(encoding) for encoding in self.encode(query, texts)]

    def encode(self, query: str, texts: Sequence[str]) -> list[Encoding]:
        """The same, with the characters of each token."""
        encoding = self._queries.encode(query, add_special_tokens=False)
        if encoding.overflowing:
            query = query[: encoding.offsets[-1][1]]
        return self._pairs.encode_batch([(query, text) for text in texts])

    def run(self, row: Row) -> NDArray[np.float32]:
        """The logit, an array without axes. Several threads may run at once."""
        return np.array(self._session.run(["logits"], _feed(row))[0][0, 0], dtype=np.float32)

    def states(self, row: Row) -> NDArray[np.float32]:
        """What the lower half of the layers makes of a pair [1, tokens, 384]; the upper half is not run."""
        states: NDArray[np.float32] = self._session.run([_STATES], _feed(row), _HALF)[0]
        return states


def as_row(encoding: Encoding) -> Row:
    return Row(np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64))


def _feed(row: Row) -> dict[str, NDArray[np.int64]]:
    """The models' inputs [1, tokens]."""
    ids, type_ids = row.ids[np.newaxis], row.type_ids[np.newaxis]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": type_ids}


def open_session(weights: Path) -> ort.InferenceSession:
    """A session of a model; several threads may run it at once."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The library's own store of memory, which keeps what a run took for the next one. malloc gives it back and takes it
    # anew in every run of a thread that is not the main one: 2 to 9 % of the processor time of documents, and a higher
    # peak. A pattern for each shape would take more, for shapes that hardly come again.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    return ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])


def with_output(model: bytes, name: str) -> bytes:
    """A model that also gives one of its inner values.

    A protobuf message followed by another of its kind is the two merged, and lists in them are joined: what is appended
    is a ModelProto (field 7, graph) with one more output (field 12) of that name (field 1).
    """
    output = _field(1, name.encode())
    return model + _field(7, _field(12, output))


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field with a length."""
    size = len(content)
    assert size < 1 << 14, "two bytes hold the length"
    length = bytes([size]) if size < 1 << 7 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + content
