"""One run over a stream: bounded queues on both sides of an agent, and the checks of what goes through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from answermesh.agents.ids import identifier
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.llm import Ledger
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard

# Findings that wait on either side of an agent; beyond that the sender waits, and gRPC's flow control holds the peer.
QUEUE_LIMIT = 128
# Findings put into one message when many are ready together: 32 passages of ~1 kB stay far below the 4 MiB of a
# message.
BATCH_LIMIT = 32
MAX_ID_CHARS = 64
MAX_QUESTION_CHARS = 4000


class StreamRun:
    """A `Run` between two queues; `receive` and `responses` are the wrapper's side of it."""

    def __init__(self, card: AgentCard, start: RunRequest.Start) -> None:
        self.question = start.question
        self.query = start.query
        self.documents: Sequence[str] = tuple(start.documents)
        self.ledger = Ledger()
        self._agent = card.agent
        self._produces = frozenset(card.produces)
        self._inbound: asyncio.Queue[Finding | None] = asyncio.Queue(QUEUE_LIMIT)
        # Bounded by the semaphore rather than by itself, so that its end can be put without waiting.
        self._outbound: asyncio.Queue[Finding | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(QUEUE_LIMIT)
        self._input_ended = False

    @property
    def findings(self) -> AsyncIterator[Finding]:
        return self

    def __aiter__(self) -> StreamRun:
        return self

    async def __anext__(self) -> Finding:
        if self._input_ended:
            raise StopAsyncIteration
        finding = await self._inbound.get()
        if finding is None:
            self._input_ended = True
            raise StopAsyncIteration
        return finding

    async def emit(self, *findings: Finding) -> None:
        for finding in findings:
            checked(finding, self._agent, self._produces)
            await self._room.acquire()
            self._outbound.put_nowait(finding)

    async def receive(self, requests: AsyncIterator[RunRequest], first: Sequence[Finding]) -> None:
        """Bring what the stream brings to the agent, and then the end.

        Raises Failure(INVALID_FIELD) for a second start.
        """
        for finding in first:
            await self._inbound.put(finding)
        async for request in requests:
            if request.HasField("start"):
                raise invalid_field("start", "came a second time; send it in the first request only.")
            for finding in request.findings:
                await self._inbound.put(finding)
        await self._inbound.put(None)

    def close(self) -> None:
        """Say that the agent emits nothing more; never waits."""
        self._outbound.put_nowait(None)

    async def responses(self) -> AsyncIterator[RunResponse]:
        """What the agent found, in messages of all that is ready together; ends after `close`."""
        ended = False
        while not ended:
            ready = [await self._outbound.get()]
            while len(ready) < BATCH_LIMIT and not self._outbound.empty():
                ready.append(self._outbound.get_nowait())
            findings = [finding for finding in ready if finding is not None]
            ended = len(findings) < len(ready)
            for _ in findings:
                self._room.release()
            usage = self.ledger.take()
            if findings or usage:
                yield RunResponse(findings=findings, usage=usage)


def checked_start(request: RunRequest) -> RunRequest.Start:
    """The start that the first request of a stream must hold.

    Raises Failure(INVALID_FIELD) where it does not, or where it does not say what is asked.
    """
    if not request.HasField("start"):
        raise invalid_field("start", "is missing; the first request of a run must set it.")
    start = request.start
    if not start.query.startswith("queries/") or len(start.query) == len("queries/"):
        raise invalid_field("start.query", f"is {start.query[:80]!r}; must be queries/{{query}}.")
    if not start.question.strip() or len(start.question) > MAX_QUESTION_CHARS:
        raise invalid_field(
            "start.question",
            f"has {len(start.question)} characters; must be 1-{MAX_QUESTION_CHARS}, not all white space.",
        )
    return start


def checked(finding: Finding, agent: str, produces: frozenset[int]) -> None:
    """Hold a finding against the card, and give it an identifier if it has none.

    The identifier follows from the content, so that the same run repeated gives the same one.
    Raises Failure(INVALID_CARD) naming the kind.
    """
    value = finding.WhichOneof("value")
    if value is None:
        raise Failure(Reason.INVALID_CARD, f"Agent {agent!r} sent a finding that holds nothing; set one of its values.")
    kind = Finding.Kind.Value(f"KIND_{value.upper()}")
    if kind not in produces:
        message = (
            f"Agent {agent!r} sent a finding of kind {value.upper()}, which its card does not declare in `produces`."
        )
        raise Failure(Reason.INVALID_CARD, message)
    if len(finding.id) > MAX_ID_CHARS:
        message = f"Agent {agent!r} sent a finding id of {len(finding.id)} characters; {MAX_ID_CHARS} is the most."
        raise Failure(Reason.INVALID_CARD, message)
    if not finding.id:
        finding.id = identifier(value, getattr(finding, value).SerializeToString(deterministic=True).hex())
