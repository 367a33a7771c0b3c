"""The embedded models, as agents use them: how well texts answer a query, and vectors to compare texts by."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from answermesh.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    ReadRequest,
    ReadResponse,
    ScoreRequest,
    ScoreResponse,
)

if TYPE_CHECKING:
    from answermesh.v1.model_service_pb2_grpc import ModelServiceAsyncStub

# Texts that one call of Score or Embed takes, by its contract.
TEXTS_PER_CALL = 256
MAX_QUERY_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Reading:
    """The piece of a text that answers a question best: characters `start` to `end`."""

    # Over that of no answer: above 0 the text likely answers.
    logit: float
    start: int
    end: int


class Scorer(Protocol):
    """Gives each text a logit against a query, a vector, or a reading, in the order of the texts."""

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """Logits; above 0 the text likely answers the query. Raises AioRpcError where the models do not answer."""

    async def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Vectors of length 1, the same for the same text. Raises AioRpcError where the models do not answer."""

    async def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        """The piece of each text that answers, 1-256 texts. Raises AioRpcError where the models do not answer."""


class ModelScorer:
    """A Scorer over ModelService."""

    def __init__(self, models: ModelServiceAsyncStub) -> None:
        self._models = models

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = texts[start : start + TEXTS_PER_CALL]
            response: ScoreResponse = await self._models.Score(ScoreRequest(query=query[:MAX_QUERY_CHARS], texts=part))
            scores.extend(response.scores)
        return scores

    async def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        found: list[Sequence[float]] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = texts[start : start + TEXTS_PER_CALL]
            # As queries, which run alone: among documents, a vector depends a little on what other callers send, and
            # what a word changes is as small.
            request = EmbedRequest(texts=part, purpose=EmbedRequest.PURPOSE_QUERY)
            response: EmbedResponse = await self._models.Embed(request)
            found.extend(vector.values for vector in response.vectors)
        return found

    async def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        response: ReadResponse = await self._models.Read(ReadRequest(question=question[:MAX_QUERY_CHARS], texts=texts))
        return [Reading(one.logit, one.start, one.end) for one in response.readings]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of length 1."""
    return float(sum(map(operator.mul, one, other)))


def probability(logit: float) -> float:
    """The logistic function, safe for any logit."""
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))
