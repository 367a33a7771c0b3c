"""ClaimService: claims of anybody's, checked as sentences of answers are, over given texts or over the documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from answermesh.agents.checking.check import Check, check
from answermesh.agents.checking.judging import Judge
from answermesh.agents.models import open_llm
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.agents.sources import Sources
from answermesh.config import Settings
from answermesh.errors import invalid_field
from answermesh.llm import LanguageModels, Ledger
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.rpc.validate import check_name, check_text
from answermesh.v1.claim_service_pb2 import ClaimVerdict, VerifyClaimsRequest, VerifyClaimsResponse
from answermesh.v1.claim_service_pb2_grpc import ClaimServiceServicer, add_ClaimServiceServicer_to_server
from answermesh.v1.document_service_pb2 import SearchPassagesRequest, SearchPassagesResponse
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from answermesh.v1.finding_pb2 import Passage, Span, Verdict
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

if TYPE_CHECKING:
    from answermesh.v1.document_service_pb2_grpc import DocumentServiceAsyncStub

# The contract's limits.
MAX_CLAIMS = 100
MAX_CLAIM_CHARS = 4000
MAX_TEXTS = 100
MAX_EVIDENCE_CHARS = 200_000
MAX_DOCUMENTS = 100
# Passages searched for one claim.
PASSAGES_PER_CLAIM = 6
# Claims of one call under way at once; the models take them one by one, so more only wait there.
CONCURRENT_CLAIMS = 2
# What a given text is called while it is checked against; told to nobody.
_GIVEN = "evidence/"


class ClaimService(ClaimServiceServicer):
    """The servicer."""

    def __init__(self, scorer: Scorer, documents: DocumentServiceAsyncStub, llm: LanguageModels | None) -> None:
        self._scorer = scorer
        self._documents = documents
        self._llm = llm

    async def VerifyClaims(
        self,
        request: VerifyClaimsRequest,
        context: grpc.aio.ServicerContext[VerifyClaimsRequest, VerifyClaimsResponse],
    ) -> VerifyClaimsResponse:
        """Check claims, each on its own; a language model, where there is one, judges many in one call."""
        _checked(request)
        # Cutting 200 000 characters into sentences takes longer than the loop may wait.
        given = await asyncio.to_thread(_given, request.evidence) if request.evidence else None
        slots = asyncio.Semaphore(CONCURRENT_CLAIMS)

        async def embedded(index: int, claim: str) -> Check:
            async with slots:
                sources = given or await self._found(claim, request.documents)
                return Check.of(index, claim, await check(claim, sources, self._scorer))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(embedded(index, claim)) for index, claim in enumerate(request.claims)]
        checks = [task.result() for task in tasks]
        ledger = Ledger()
        if self._llm is not None:
            await _judge(self._llm, ledger, checks)
        return VerifyClaimsResponse(verdicts=map(_told, checks), usage=ledger.take())

    async def _found(self, claim: str, documents: Sequence[str]) -> Sources:
        """What the documents say of a claim."""
        request = SearchPassagesRequest(
            query=claim,
            page_size=PASSAGES_PER_CLAIM,
            documents=documents,
            rerank=SearchPassagesRequest.RERANK_NEVER,  # the check reads the passages itself, sentence by sentence
        )
        response: SearchPassagesResponse = await self._documents.SearchPassages(request)
        sources = Sources()
        for passage in response.passages:
            sources.add(passage)
        return sources


@asynccontextmanager
async def mount_claims(server: Server, settings: Settings) -> AsyncIterator[None]:
    """Add ClaimService to a server that has not started yet.

    Raises Failure(INVALID_FIELD) for a target that is not configured.
    """
    async with (
        open_channel(settings.target("models")) as models,
        open_channel(settings.target("knowledge")) as knowledge,
        open_llm(settings) as llm,
    ):
        service = ClaimService(ModelScorer(ModelServiceStub(models)), DocumentServiceStub(knowledge), llm)
        server.add(add_ClaimServiceServicer_to_server, service)
        yield


def _checked(request: VerifyClaimsRequest) -> None:
    """Raise Failure(INVALID_FIELD), naming the field, for a request outside of the contract."""
    if len(request.claims) > MAX_CLAIMS:
        raise invalid_field("claims", f"has {len(request.claims)} claims; send 1-{MAX_CLAIMS} at once.")
    for index, claim in enumerate(request.claims):
        check_text(f"claims[{index}]", claim, MAX_CLAIM_CHARS)
    if len(request.evidence) > MAX_TEXTS:
        raise invalid_field("evidence", f"has {len(request.evidence)} texts; at most {MAX_TEXTS} are allowed.")
    for index, text in enumerate(request.evidence):
        check_text(f"evidence[{index}]", text, MAX_EVIDENCE_CHARS)
    if (length := sum(map(len, request.evidence))) > MAX_EVIDENCE_CHARS:
        raise invalid_field("evidence", f"has {length} characters; at most {MAX_EVIDENCE_CHARS} are allowed in all.")
    if request.evidence and request.documents:
        raise invalid_field("documents", "is set beside evidence; claims are checked against one of the two.")
    if len(request.documents) > MAX_DOCUMENTS:
        raise invalid_field("documents", f"has {len(request.documents)} names; at most {MAX_DOCUMENTS} are allowed.")
    for index, name in enumerate(request.documents):
        check_name(f"documents[{index}]", name, "documents/*")


def _given(texts: Sequence[str]) -> Sources:
    """Given texts as sources, cut and stemmed."""
    sources = Sources()
    for index, text in enumerate(texts):
        sources.add(Passage(name=f"{_GIVEN}{index}", text=text, span=Span(start=0, end=len(text))))
    for window in sources.windows():
        _ = window.stems
    return sources


async def _judge(llm: LanguageModels, ledger: Ledger, checks: Sequence[Check]) -> None:
    """Let a language model judge what no source states outright, several claims in one call."""
    judge = Judge(llm, ledger)
    async with asyncio.TaskGroup() as group:
        for one in checks:
            if not (one.plain and one.verdict.value == Verdict.VALUE_SUPPORTED):
                judge.take(group, one)


def _told(one: Check) -> ClaimVerdict:
    """A check as the caller is told: given texts have positions, no names."""
    told = ClaimVerdict(claim=one.text, verdict=one.verdict)
    if one.verdict.evidence.passage.startswith(_GIVEN):
        told.evidence_index = int(one.verdict.evidence.passage.removeprefix(_GIVEN))
        told.verdict.evidence.passage = ""
    return told
