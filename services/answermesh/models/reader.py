"""The reader: which piece of a text answers a question, and how much more it does than nothing.

It reads what the cross-encoder makes of a question and a text half way up: its lower layers are the cross-encoder's,
the upper ones, `weights/reader-int8.onnx`, were trained on questions whose answers are known (bench.train_reader).
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from answermesh.models.encoder import Row, open_session
from answermesh.v1.model_service_pb2 import ReadResponse

if TYPE_CHECKING:
    from answermesh.models.encoder import Scorer

# Tokens of the longest piece.
MAX_PIECE_TOKENS = 24


class Reader:
    """A question and a text become the piece that answers best."""

    model = "answermesh-reader-1"

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        with as_file(files("answermesh.models") / "weights" / "reader-int8.onnx") as weights:
            self._session = open_session(weights)

    def run(self, row: Row) -> NDArray[np.float32]:
        """The logit of the best piece, and its first and last token [3]. Several threads may run at once."""
        states = self._scorer.states(row)
        logits: NDArray[np.float32] = self._session.run(["logits"], {"states": states})[0][0]
        first = row.text_start
        return best_piece(logits[0], logits[first : len(row) - 1], first)


def best_piece(none: NDArray[np.float32], tokens: NDArray[np.float32], offset: int) -> NDArray[np.float32]:
    """The best piece of a text's tokens [tokens, 2], which begin at `offset`: logit over none's, first and last token.

    A text without tokens has a piece of none, and a logit that no text with one has.
    """
    if not len(tokens):
        return np.array([-100.0, offset, offset - 1], dtype=np.float32)
    sums = tokens[:, 0][:, np.newaxis] + tokens[:, 1][np.newaxis]
    allowed = np.triu(np.ones_like(sums, dtype=bool)) & ~np.triu(np.ones_like(sums, dtype=bool), MAX_PIECE_TOKENS)
    first, last = divmod(int(np.where(allowed, sums, -np.inf).argmax()), len(tokens))
    return np.array([sums[first, last] - none.sum(), offset + first, offset + last], dtype=np.float32)


def reading(encoding: Encoding, piece: NDArray[np.float32]) -> ReadResponse.Reading:
    """A piece in characters of the text, whose tokens are the second of the encoding."""
    logit, first, last = float(piece[0]), int(piece[1]), int(piece[2])
    if last < first:
        return ReadResponse.Reading(logit=logit)
    return ReadResponse.Reading(logit=logit, start=encoding.offsets[first][0], end=encoding.offsets[last][1])
