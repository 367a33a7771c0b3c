"""What an agent is: a card, and a run that takes findings in and gives findings out.

    class Glossary:
        card = AgentCard(agent="glossary", consumes=[…], produces=[…])
        async def run(self, run: Run) -> None:
            async for finding in run.findings:
                await run.emit(Finding(note=…))

The same agent is a Python object here, a gRPC service by `answermesh.agents.serving.service`, and a gRPC peer to the
orchestrator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from answermesh.llm import Ledger
    from answermesh.v1.finding_pb2 import Finding
    from answermesh.v1.mesh_pb2 import AgentCard


class Run(Protocol):
    """One query, as an agent sees it. The call's deadline is that of the run: see `answermesh.rpc.deadline`."""

    @property
    def question(self) -> str:
        """What is asked, 1-4000 characters."""

    @property
    def query(self) -> str:
        """The query, `queries/{query}`."""

    @property
    def documents(self) -> Sequence[str]:
        """Documents to answer from, `documents/{document}`; empty means all."""

    @property
    def text(self) -> str:
        """What an earlier run told before it broke off, and readers have seen; empty in a first run.

        The first text delta stands behind it, or the same is told again from offset 0.
        """

    @property
    def min_confidence(self) -> float | None:
        """Probability that the documents answer below which the answer says that they do not; None for the default."""

    @property
    def drops_unsupported(self) -> bool:
        """Whether sentences that no source supports are not to be told."""

    @property
    def findings(self) -> AsyncIterator[Finding]:
        """Findings of the kinds that the card consumes, as they come; ends when all their producers have ended.

        Waiting for the next one may be cancelled or bounded by a timeout without losing any.
        """

    @property
    def ledger(self) -> Ledger:
        """Where calls of language models are entered."""

    async def emit(self, *findings: Finding) -> None:
        """Send findings, in this order; waits while the reader is behind.

        An empty `id` is filled from the finding's content. Raises Failure(INVALID_CARD) for a kind that the card
        does not declare, or a finding that holds nothing.
        """


class Agent(Protocol):
    """Anything that takes part in answering."""

    @property
    def card(self) -> AgentCard:
        """What the agent says of itself."""

    async def run(self, run: Run) -> None:
        """Take part in one query; returning ends the agent's part.

        Raises Failure for a cause that the caller may be told; any other exception is told as INTERNAL. Cancelled when
        nobody wants the result any more.
        """
