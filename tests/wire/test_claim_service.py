"""VerifyClaims over gRPC: given texts, the documents, and what the contract refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from answermesh.agents.claim_service import ClaimService
from answermesh.errors import Reason
from answermesh.llm import LanguageModels
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.v1 import claim_service_pb2 as pb
from answermesh.v1.claim_service_pb2_grpc import ClaimServiceStub, add_ClaimServiceServicer_to_server
from answermesh.v1.document_service_pb2 import SearchPassagesRequest, SearchPassagesResponse
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from answermesh.v1.finding_pb2 import Verdict
from tests.fake_run import WordScorer, passage
from tests.scripted_llm import SayJson
from tests.wire.servers import documents, serving
from tests.wire.test_agent_llm import scripted

BRIDGE = "The bridge was opened in 1932. It carries eight lanes of traffic."
TOWER = "The tower is tall. It was opened in 1981 by the mayor."


@asynccontextmanager
async def claims(
    asked: list[SearchPassagesRequest] | None = None, llm: LanguageModels | None = None
) -> AsyncIterator[Any]:
    """A stub of a ClaimService over documents that hold the bridge."""

    async def search(request: SearchPassagesRequest, context: Any) -> SearchPassagesResponse:
        if asked is not None:
            asked.append(request)
        return SearchPassagesResponse(passages=[passage(BRIDGE, start=100)])

    async with serving(documents(SearchPassages=search)) as (_, knowledge), open_channel(knowledge) as searching:
        service = ClaimService(WordScorer(), DocumentServiceStub(searching), llm)
        async with serving((add_ClaimServiceServicer_to_server, service)) as (_, address), open_channel(address) as to:
            yield ClaimServiceStub(to)


async def test_each_claim_gets_a_verdict_and_the_span_of_the_text_that_settles_it() -> None:
    request = pb.VerifyClaimsRequest(
        claims=["The bridge was opened in 1932.", "The bridge was opened in 1933.", "Bananas are yellow fruits."],
        evidence=[TOWER, BRIDGE],
    )
    async with claims() as stub:
        response = await stub.VerifyClaims(request)

    supported, refuted, unsettled = response.verdicts
    assert supported.verdict.value == Verdict.VALUE_SUPPORTED
    assert supported.evidence_index == 1
    span = supported.verdict.evidence.span
    assert BRIDGE[span.start : span.end] == supported.verdict.evidence.text == "The bridge was opened in 1932."
    assert supported.verdict.evidence.passage == ""
    assert refuted.verdict.value == Verdict.VALUE_REFUTED
    assert refuted.verdict.rationale == "the source says 1932, the sentence says 1933"
    assert unsettled.verdict.value == Verdict.VALUE_NOT_ENOUGH_EVIDENCE
    assert [one.claim for one in response.verdicts] == list(request.claims)
    assert [one.verdict.sentence_index for one in response.verdicts] == [0, 1, 2]


async def test_what_a_language_model_was_asked_for_claims_is_told_with_the_verdicts() -> None:
    said = {"verdicts": [{"sentence": 1, "verdict": "SUPPORTED", "source": 1, "reason": "so it says"}]}
    request = pb.VerifyClaimsRequest(claims=["Traffic crosses the bridge in eight lanes."], evidence=[BRIDGE])
    async with scripted(SayJson(said)) as (_, llm), claims(llm=llm) as stub:
        response = await stub.VerifyClaims(request)

    [judged], [call] = response.verdicts, response.usage
    assert judged.verdict.method == call.model == "scripted-model"
    assert call.input_tokens > 0
    assert not (await _verified(BRIDGE)).usage


async def _verified(claim: str) -> pb.VerifyClaimsResponse:
    async with claims() as stub:
        response: pb.VerifyClaimsResponse = await stub.VerifyClaims(
            pb.VerifyClaimsRequest(claims=[claim], evidence=[BRIDGE])
        )
        return response


async def test_without_texts_the_documents_are_searched_and_named() -> None:
    asked: list[SearchPassagesRequest] = []
    request = pb.VerifyClaimsRequest(claims=["It carries eight lanes of traffic."], documents=["documents/a"])
    async with claims(asked) as stub:
        [told] = (await stub.VerifyClaims(request)).verdicts

    assert [(one.query, list(one.documents)) for one in asked] == [(request.claims[0], ["documents/a"])]
    assert told.verdict.value == Verdict.VALUE_SUPPORTED
    assert told.verdict.evidence.passage
    assert told.verdict.evidence.span.start == 100 + BRIDGE.index("It carries")
    assert not told.HasField("evidence_index")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.VerifyClaimsRequest(), "claims"),
        (pb.VerifyClaimsRequest(claims=["x"] * 101), "claims"),
        (pb.VerifyClaimsRequest(claims=["a claim", "  "]), "claims[1]"),
        (pb.VerifyClaimsRequest(claims=["x" * 4001]), "claims[0]"),
        (pb.VerifyClaimsRequest(claims=["a claim"], evidence=["a"] * 101), "evidence"),
        (pb.VerifyClaimsRequest(claims=["a claim"], evidence=["a", ""]), "evidence[1]"),
        (pb.VerifyClaimsRequest(claims=["a claim"], evidence=["a" * 150_000] * 2), "evidence"),
        (pb.VerifyClaimsRequest(claims=["a claim"], evidence=["a"], documents=["documents/a"]), "documents"),
        (pb.VerifyClaimsRequest(claims=["a claim"], documents=["nonsense"]), "documents[0]"),
    ],
)
async def test_a_request_outside_of_the_contract_is_refused_by_its_field(
    request_: pb.VerifyClaimsRequest, field: str
) -> None:
    async with claims() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.VerifyClaims(request_)
    failure = failure_from(refused.value)
    assert failure.reason is Reason.INVALID_FIELD
    assert [one.path for one in failure.fields] == [field]
