"""One run as its agent sees it: bounded on both sides, and the checks of what goes through."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from answermesh.agents.ids import identifier
from answermesh.agents.serving.outgoing import Outgoing
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.llm import Ledger
from answermesh.v1.agent_service_pb2 import RunRequest
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.query_pb2 import Query

MAX_ID_CHARS = 64
MAX_QUESTION_CHARS = 4000

_KINDS = {field.name: Finding.Kind.Value(f"KIND_{field.name.upper()}") for field in Finding.DESCRIPTOR.oneofs[0].fields}


class StreamRun:
    """A `Run` whose findings come and go by a stream; `feed`, `end_input`, `said` and `close` are the stream's side."""

    def __init__(
        self,
        card: AgentCard,
        start: RunRequest.Start,
        *,
        due: Callable[[], None],
        consumed: Callable[[], None] = lambda: None,
    ) -> None:
        """`due` is called when there is something in `said`, `consumed` when the agent has taken a finding."""
        self.question = start.question
        self.query = start.query
        self.documents: Sequence[str] = tuple(start.documents)
        self.text = start.text
        self.min_confidence = start.min_confidence if start.HasField("min_confidence") else None
        self.drops_unsupported = start.unsupported == Query.UNSUPPORTED_DROP
        self.ledger = Ledger()
        self.said = Outgoing(due)
        self._agent = card.agent
        self._produces = frozenset(card.produces)
        self._fed: deque[Finding] = deque()
        self._arrived = asyncio.Event()
        self._input_ended = False
        self._consumed = consumed

    @property
    def findings(self) -> AsyncIterator[Finding]:
        return self

    def __aiter__(self) -> StreamRun:
        return self

    async def __anext__(self) -> Finding:
        while not self._fed:
            if self._input_ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        finding = self._fed.popleft()
        self._consumed()
        return finding

    async def emit(self, *findings: Finding) -> None:
        for finding in findings:
            checked(finding, self._agent, self._produces)
            await self.said.put(finding)

    @property
    def fed_count(self) -> int:
        """Findings that the agent has not taken yet."""
        return len(self._fed)

    def feed(self, findings: Iterable[Finding]) -> None:
        """Bring findings to the agent; whoever brings them keeps their number in bounds."""
        self._fed.extend(findings)
        self._arrived.set()

    def end_input(self) -> None:
        """Say that no more will come."""
        self._input_ended = True
        self._arrived.set()

    def close(self) -> None:
        """Say that the agent emits nothing more."""
        self.said.close()


def checked_start(request: RunRequest) -> RunRequest.Start:
    """The start that the first request of a stream must hold.

    Raises Failure(INVALID_FIELD) where it does not, or where it does not say what is asked.
    """
    if not request.HasField("start"):
        raise invalid_field("start", "is missing; the first request of a run must set it.")
    return check_start(request.start)


def check_start(start: RunRequest.Start) -> RunRequest.Start:
    """`start`, if it says what is asked. Raises Failure(INVALID_FIELD)."""
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
    if _KINDS[value] not in produces:
        message = (
            f"Agent {agent!r} sent a finding of kind {value.upper()}, which its card does not declare in `produces`."
        )
        raise Failure(Reason.INVALID_CARD, message)
    if len(finding.id) > MAX_ID_CHARS:
        message = f"Agent {agent!r} sent a finding id of {len(finding.id)} characters; {MAX_ID_CHARS} is the most."
        raise Failure(Reason.INVALID_CARD, message)
    if not finding.id:
        finding.id = identifier(value, getattr(finding, value).SerializeToString(deterministic=True).hex())
