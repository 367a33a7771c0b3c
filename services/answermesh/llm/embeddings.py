"""Embeddings from a provider, over /v1/embeddings, instead of the embedded model: the settings' table `[embedding]`.

[embedding]
provider = "openai"       # name of one of [[providers]] whose tasks have "embedding"
dimensions = 384          # default 384; what the database was made with
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from answermesh.config import Settings
from answermesh.errors import invalid_field
from answermesh.llm.ledger import Ledger, Usage
from answermesh.llm.provider import Provider, parse_providers
from answermesh.llm.router import Router

_DIMENSIONS = 384
# Texts in one request; what servers take differs, and all take this many.
_BATCH_TEXTS = 64


class Embeddings:
    """One provider's embedding model."""

    def __init__(self, provider: Provider, dimensions: int = _DIMENSIONS, router: Router | None = None) -> None:
        self.model = provider.models[0]
        self.dimensions = dimensions
        self._router = router or Router([provider])

    @classmethod
    def from_settings(cls, settings: Settings) -> Embeddings | None:
        """The configured one; None if there is no table `embedding`, which means: the embedded model.

        Raises Failure(INVALID_FIELD) naming the field that is not right.
        """
        table = dict(settings.embedding)
        if not table:
            return None
        name, dimensions = table.pop("provider", None), table.pop("dimensions", _DIMENSIONS)
        if table:
            raise invalid_field(f"embedding.{next(iter(table))}", "is no setting; known are provider, dimensions.")
        if not isinstance(dimensions, int) or not 1 <= dimensions <= 2000:
            raise invalid_field("embedding.dimensions", f"is {dimensions!r}; must be 1-2000.")
        for provider in parse_providers(settings.providers):
            if provider.name == name and "embedding" in provider.tasks:
                # Vectors of different models cannot be compared, so there is no second model to fall back to.
                return cls(replace(provider, models=provider.models[:1]), dimensions)
        message = f"is {name!r}; name one of [[providers]] whose tasks have 'embedding'."
        raise invalid_field("embedding.provider", message)

    async def embed(self, texts: Sequence[str], ledger: Ledger) -> list[list[float]]:
        """Vectors of length 1 in the order of the texts.

        Raises Failure(MODEL_UNAVAILABLE) if the provider does not give them, Failure(DEADLINE_EXCEEDED) at the end.
        """
        vectors: list[list[float]] = []
        usages: list[Usage] = []
        try:
            for start in range(0, len(texts), _BATCH_TEXTS):
                batch = texts[start : start + _BATCH_TEXTS]
                vectors += await self._router.embed("embedding", batch, self.dimensions, usages)
        finally:
            for usage in usages:
                ledger.record(usage.record())
        return [_unit(vector) for vector in vectors]

    async def aclose(self) -> None:
        """Close all connections."""
        await self._router.aclose()


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
