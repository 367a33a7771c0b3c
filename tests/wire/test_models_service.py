"""ModelService on the wire, with the real models."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from answermesh.config import load
from answermesh.models.service import mount
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1.model_service_pb2 import EmbedRequest, ReadRequest, ScoreRequest
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SNAPSHOT = "A snapshot of the keyspace is taken with etcdctl snapshot save, from one live member."
COFFEE = "The coffee machine on the second floor is cleaned every Friday afternoon."
QUESTION = "How do I back up etcd?"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def address() -> AsyncIterator[str]:
    server = Server("127.0.0.1:0", drain_wait_s=0)
    async with mount(server, load()):
        yield await server.start()
        await server.drain()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def models(address: str) -> AsyncIterator[ModelServiceStub]:
    async with open_channel(address) as channel:
        yield ModelServiceStub(channel)


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def embed(models: ModelServiceStub, purpose: EmbedRequest.Purpose.ValueType, *texts: str) -> list[list[float]]:
    response = await models.Embed(EmbedRequest(texts=texts, purpose=purpose), timeout=60)
    return [list(vector.values) for vector in response.vectors]


async def test_vectors_have_length_one_and_find_what_answers(models: ModelServiceStub) -> None:
    documents = await embed(models, EmbedRequest.PURPOSE_DOCUMENT, COFFEE, SNAPSHOT)
    [query] = await embed(models, EmbedRequest.PURPOSE_QUERY, QUESTION)

    for vector in [*documents, query]:
        assert len(vector) == 384
        assert math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-5)
    assert cosine(query, documents[1]) > cosine(query, documents[0]) + 0.2


async def test_a_query_and_a_document_of_the_same_words_are_the_same(models: ModelServiceStub) -> None:
    [query] = await embed(models, EmbedRequest.PURPOSE_QUERY, QUESTION)
    [document] = await embed(models, EmbedRequest.PURPOSE_DOCUMENT, QUESTION)
    [unspecified] = await embed(models, EmbedRequest.PURPOSE_UNSPECIFIED, QUESTION)

    assert cosine(query, document) > 0.999
    assert cosine(unspecified, document) > 0.99999


async def test_scores_tell_an_answer_from_other_text(models: ModelServiceStub) -> None:
    question = "How is a snapshot of the keyspace taken?"
    response = await models.Score(ScoreRequest(query=question, texts=[COFFEE, SNAPSHOT]), timeout=60)

    assert response.scores[1] > 0 > response.scores[0]
    assert response.model == "ms-marco-MiniLM-L-12-v2"


async def test_a_score_does_not_depend_on_what_else_is_asked(models: ModelServiceStub) -> None:
    alone = await models.Score(ScoreRequest(query=QUESTION, texts=[SNAPSHOT]), timeout=60)
    others = [models.Score(ScoreRequest(query="What is coffee?", texts=[COFFEE] * 8), timeout=60) for _ in range(3)]
    together = await models.Score(ScoreRequest(query=QUESTION, texts=[COFFEE, SNAPSHOT, COFFEE * 5]), timeout=60)
    await asyncio.gather(*others)

    assert together.scores[1] == alone.scores[0]


async def test_many_callers_at_once_each_get_their_own(models: ModelServiceStub) -> None:
    texts = [f"Member {number} of the cluster has {number} keys." for number in range(12)]
    [together, *single] = await asyncio.gather(
        embed(models, EmbedRequest.PURPOSE_DOCUMENT, *texts),
        *(embed(models, EmbedRequest.PURPOSE_DOCUMENT, text) for text in texts),
    )

    for index, [vector] in enumerate(single):
        assert max(range(12), key=lambda other: cosine(vector, together[other])) == index


async def test_texts_and_queries_beyond_the_window_are_cut(models: ModelServiceStub) -> None:
    [long] = await embed(models, EmbedRequest.PURPOSE_DOCUMENT, f"{SNAPSHOT} " * 200)
    scored = await models.Score(ScoreRequest(query="etcd " * 790, texts=[f"{SNAPSHOT} " * 200]), timeout=60)

    assert len(long) == 384
    assert len(scored.scores) == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (EmbedRequest(), "texts"),
        (EmbedRequest(texts=["x"] * 257), "texts"),
        (ScoreRequest(query="x"), "texts"),
        (ScoreRequest(texts=["x"]), "query"),
        (ScoreRequest(query="x" * 4001, texts=["x"]), "query"),
    ],
)
async def test_a_limit_that_is_passed_is_named(
    models: ModelServiceStub, request_: EmbedRequest | ScoreRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=field) as caught:
        await (models.Embed if isinstance(request_, EmbedRequest) else models.Score)(request_, timeout=60)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_more_than_the_queue_holds_is_refused_with_a_time_and_the_rest_is_served(
    models: ModelServiceStub,
) -> None:
    # All different: the same text would run once.
    texts = [[f"{call} {number}" + " word" * 50 for number in range(256)] for call in range(12)]
    calls = [models.Embed(EmbedRequest(texts=one), timeout=120) for one in texts]
    outcomes = []
    try:
        for call in calls[::-1]:
            if await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                outcomes.append(call)
            if outcomes:
                break
    finally:
        for call in calls:
            call.cancel()

    assert outcomes
    # What was cancelled was dropped: the next caller does not wait for 3000 texts.
    assert await embed(models, EmbedRequest.PURPOSE_DOCUMENT, "after")


async def test_a_loaded_service_is_healthy(address: str) -> None:
    async with open_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="answermesh.v1.ModelService")
        response = await health.Check(request, timeout=10)

    assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_reader_finds_the_piece_that_answers_and_says_where_none_does(models: ModelServiceStub) -> None:
    question = "Who cleans the coffee machine?"
    cleaned = "Since spring the coffee machine has been cleaned by Ada Lund. She does it on Fridays."
    response = await models.Read(ReadRequest(question=question, texts=[SNAPSHOT, cleaned, ""]), timeout=60)

    elsewhere, found, nothing = response.readings
    assert cleaned[found.start : found.end] == "Ada Lund"
    assert found.logit > 0 > elsewhere.logit
    assert (nothing.start, nothing.end) == (0, 0)
    assert response.model == "answermesh-reader-1"


async def test_a_reading_stays_the_same_whatever_else_is_read(models: ModelServiceStub) -> None:
    alone = await models.Read(ReadRequest(question=QUESTION, texts=[SNAPSHOT]), timeout=60)
    among = await models.Read(ReadRequest(question=QUESTION, texts=[COFFEE * 9, SNAPSHOT, COFFEE]), timeout=60)
    assert among.readings[1] == alone.readings[0]


@pytest.mark.parametrize("request_", [ReadRequest(texts=[COFFEE]), ReadRequest(question=QUESTION)])
async def test_a_reading_without_question_or_text_is_refused(models: ModelServiceStub, request_: ReadRequest) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await models.Read(request_, timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
