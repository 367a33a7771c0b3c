"""One run of an agent as the orchestrator holds it, whatever it goes over: what is given to it, and who hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from answermesh.errors import Failure
from answermesh.v1.agent_service_pb2 import RunRequest
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.query_pb2 import UsageRecord


@dataclass(frozen=True, slots=True)
class Task:
    """What a run begins with."""

    start: RunRequest.Start
    # Seconds that it may take.
    timeout_s: float
    # What it is given at once, and whether that is all.
    backlog: Sequence[Finding] = ()
    closed: bool = False


class Refused(Failure):
    """The replica does not know how the run was sent to it, and has seen nothing of it: send it otherwise."""


class Sink(Protocol):
    """Who hears of a run: called in order, never from within a call of the run, and never again after `over`."""

    def heard(self, findings: Sequence[Finding], usage: Sequence[UsageRecord]) -> Callable[[], Awaitable[None]] | None:
        """The agent said something. What is returned is called and awaited before it may say much more.

        Raises Failure for what it must not say; the run is cancelled then, and over with that failure.
        """

    def over(self, failure: Failure | None) -> None:
        """The run has ended, and why it failed, if it did."""


class AgentRun(Protocol):
    """A run that has begun."""

    @property
    def is_full(self) -> bool:
        """Whether `room` would wait."""

    async def room(self) -> None:
        """Wait while much that was given has not been sent, and the run goes on."""

    def give(self, findings: Iterable[Finding]) -> None:
        """Give it findings. Who gives awaits `room` before giving more, or the queue has no bound."""

    def finish(self) -> None:
        """Say that nothing more will be given."""

    def cancel(self) -> None:
        """Stop it; its sink hears nothing more, not even that it is over."""

    def fail(self, failure: Failure) -> None:
        """Stop it, and let its sink hear that it is over, for that reason."""
