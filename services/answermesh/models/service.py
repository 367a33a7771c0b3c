"""ModelService: the embedded models served to the whole mesh, healthy only once they are loaded and warm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from answermesh.config import Settings
from answermesh.errors import invalid_field
from answermesh.models import fetch
from answermesh.models.encoder import Embedder, Scorer, as_row, processors
from answermesh.models.manifest import EMBEDDED, EMBEDDER, RERANKER, TOKENIZER
from answermesh.models.queue import Lane
from answermesh.models.reader import Reader, reading
from answermesh.models.worker import Worker
from answermesh.rpc.server import Server
from answermesh.rpc.validate import check_text
from answermesh.v1 import model_service_pb2_grpc
from answermesh.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    ReadRequest,
    ReadResponse,
    ScoreRequest,
    ScoreResponse,
)

_log = logging.getLogger(__name__)

# The limits that the proto states.
MAX_TEXTS = 256
MAX_QUERY_CHARS = 4000


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Embed, Score and Read, through one queue."""

    def __init__(self, embedder: Embedder, scorer: Scorer, worker: Worker) -> None:
        self._embedder = embedder
        self._scorer = scorer
        self._worker = worker

    async def Embed(
        self, request: EmbedRequest, context: grpc.aio.ServicerContext[EmbedRequest, EmbedResponse]
    ) -> EmbedResponse:
        """Turn texts into vectors."""
        _check_texts(request.texts)
        is_query = request.purpose == EmbedRequest.PURPOSE_QUERY
        if len(request.texts) == 1 and len(request.texts[0]) <= MAX_QUERY_CHARS:
            rows = self._embedder.rows(request.texts)
        else:
            # In a thread: 256 long texts take the tokenizer some 100 ms.
            rows = await asyncio.to_thread(self._embedder.rows, request.texts)
        vectors = await self._worker.submit(Lane.QUERY if is_query else Lane.DOCUMENT, rows)
        return EmbedResponse(
            vectors=[EmbedResponse.Vector(values=vector.tolist()) for vector in vectors],
            model=self._embedder.model,
            dimensions=self._embedder.dimensions,
        )

    async def Score(
        self, request: ScoreRequest, context: grpc.aio.ServicerContext[ScoreRequest, ScoreResponse]
    ) -> ScoreResponse:
        """Say how well texts answer a query."""
        check_text("query", request.query, MAX_QUERY_CHARS)
        _check_texts(request.texts)
        rows = await asyncio.to_thread(self._scorer.rows, request.query, request.texts)
        scores = await self._worker.submit(Lane.SCORE, rows)
        return ScoreResponse(scores=[float(score) for score in scores], model=self._scorer.model)

    async def Read(
        self, request: ReadRequest, context: grpc.aio.ServicerContext[ReadRequest, ReadResponse]
    ) -> ReadResponse:
        """Find the piece of each text that answers a question."""
        check_text("question", request.question, MAX_QUERY_CHARS)
        _check_texts(request.texts)
        encodings = await asyncio.to_thread(self._scorer.encode, request.question, request.texts)
        pieces = await self._worker.submit(Lane.READ, [as_row(encoding) for encoding in encodings])
        readings = [reading(encoding, piece) for encoding, piece in zip(encodings, pieces, strict=True)]
        return ReadResponse(readings=readings, model=Reader.model)


@asynccontextmanager
async def mount(server: Server, settings: Settings) -> AsyncIterator[None]:
    """Load the models, warm them up, and add ModelService to a server that has not started yet.

    Fetches the model files if they are not in the cache. Raises what `fetch.ensure` raises.
    """
    paths = await asyncio.to_thread(fetch.ensure, settings.cache_dir, EMBEDDED, _log_progress)
    embedder, scorer, reader = await asyncio.to_thread(_load, paths)
    runs = {Lane.QUERY: embedder.run, Lane.SCORE: scorer.run, Lane.READ: reader.run, Lane.DOCUMENT: embedder.run}
    worker = Worker(runs, processors())
    server.add(
        model_service_pb2_grpc.add_ModelServiceServicer_to_server,
        ModelService(embedder, scorer, worker),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(worker.run())
        try:
            yield
        finally:
            running.cancel()


def _load(paths: dict[str, Path]) -> tuple[Embedder, Scorer, Reader]:
    embedder = Embedder(paths[EMBEDDER], paths[TOKENIZER])
    scorer = Scorer(paths[RERANKER], paths[TOKENIZER])
    reader = Reader(scorer)
    # The first run of a session allocates; better here than in the first answer.
    embedder.run(*embedder.rows(["ready"]))
    pair = scorer.rows("ready", ["ready"])
    scorer.run(*pair)
    reader.run(*pair)
    return embedder, scorer, reader


def _check_texts(texts: Sequence[str]) -> None:
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise invalid_field("texts", f"has {len(texts)} texts; send 1-{MAX_TEXTS} at once.")


def _log_progress(package: str, done_bytes: int, total_bytes: int) -> None:
    _log.info("Fetching model files from %s: %d of %d MiB", package, done_bytes >> 20, total_bytes >> 20)
