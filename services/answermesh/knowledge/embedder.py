"""Vectors for passages and queries: the seam, and the embedded model behind ModelService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from answermesh.errors import Failure, Reason
from answermesh.v1.model_service_pb2 import EmbedRequest

if TYPE_CHECKING:
    from answermesh.v1.model_service_pb2_grpc import ModelServiceAsyncStub

# Fixed by the column passages.embedding.
DIMENSIONS = 384
# Texts of one call: a fraction of a second of work, so that queries get in between.
BATCH_TEXTS = 32


class Embedder(Protocol):
    """Turns texts into vectors of length 1 and DIMENSIONS numbers."""

    async def model(self) -> str:
        """The name that vectors of this embedder are stored under; those of different names are never compared."""

    async def embed(self, texts: Sequence[str], *, is_query: bool = False) -> list[list[float]]:
        """A vector for each text; 1 to BATCH_TEXTS texts.

        Raises Failure(MODEL_UNAVAILABLE) or AioRpcError where the model does not answer, Failure(WRONG_STATE) for one
        whose vectors have another dimension.
        """


class ModelEmbedder:
    """The embedded model, over ModelService."""

    def __init__(self, models: ModelServiceAsyncStub) -> None:
        self._models = models
        self._model = ""

    async def model(self) -> str:
        if not self._model:
            await self.embed(["name"])
        return self._model

    async def embed(self, texts: Sequence[str], *, is_query: bool = False) -> list[list[float]]:
        purpose = EmbedRequest.PURPOSE_QUERY if is_query else EmbedRequest.PURPOSE_DOCUMENT
        response = await self._models.Embed(EmbedRequest(texts=texts, purpose=purpose))
        check_dimensions(response.model, response.dimensions)
        # Remembered anew with each answer: the models may have been restarted with another one.
        self._model = response.model
        return [list(vector.values) for vector in response.vectors]


class ProvidedEmbedder:
    """The model of a provider: `vectors` turns texts into vectors, wherever it gets them from."""

    def __init__(
        self, model: str, dimensions: int, vectors: Callable[[Sequence[str]], Awaitable[list[list[float]]]]
    ) -> None:
        """Raises Failure(WRONG_STATE) for dimensions that the index does not hold."""
        check_dimensions(model, dimensions)
        self._model = model
        self._vectors = vectors

    async def model(self) -> str:
        return self._model

    async def embed(self, texts: Sequence[str], *, is_query: bool = False) -> list[list[float]]:
        vectors = await self._vectors(texts)
        for vector in vectors:
            check_dimensions(self._model, len(vector))
        return vectors


def check_dimensions(model: str, dimensions: int) -> None:
    """Raise Failure(WRONG_STATE) unless vectors fit the index."""
    if dimensions != DIMENSIONS:
        message = (
            f"The embedding model {model!r} gives vectors of {dimensions} numbers; the index holds {DIMENSIONS}. "
            f"Configure a model of {DIMENSIONS}, or one that can be asked for it (text-embedding-3-small, -large)."
        )
        raise Failure(Reason.WRONG_STATE, message)
