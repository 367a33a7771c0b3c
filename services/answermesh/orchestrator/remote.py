"""An agent as seen over the wire: one bidirectional stream for each run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.outbox import Outbox
from answermesh.rpc.status import failure_from
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.finding_pb2 import Finding


class AgentRun:
    """One run of an agent: fill its outbox, and iterate over what it says."""

    def __init__(
        self, channel: grpc.aio.Channel, start: RunRequest.Start, timeout_s: float, backlog: Iterable[Finding] = ()
    ) -> None:
        self._channel = channel
        self._start = start
        self._timeout_s = timeout_s
        # What the agent is to be given; finished, it half-closes the stream.
        self.outbox = Outbox(backlog)

    async def responses(self) -> AsyncIterator[RunResponse]:
        """Open the stream and yield what the agent says. Leaving the iteration cancels the run.

        Raises Failure with the agent's reason: DEADLINE_EXCEEDED after `timeout_s`, SERVICE_UNAVAILABLE where it cannot
        be reached or goes away.
        """
        call = AgentServiceStub(self._channel).Run(self._requests(), timeout=self._timeout_s)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            failure = failure_from(error)
            if failure.reason is Reason.CANCELLED:
                # Nobody here cancelled: the agent's server stopped.
                failure = Failure(Reason.SERVICE_UNAVAILABLE, "The agent's server stopped while it ran.")
            raise failure from error
        except asyncio.CancelledError:
            # grpc.aio raises it too where the server ended the stream so, though nobody here asked for that.
            task = asyncio.current_task()
            if task is not None and not task.cancelling() and call.cancelled():
                raise Failure(Reason.SERVICE_UNAVAILABLE, "The agent's server ended the stream.") from None
            raise
        finally:
            # grpc.aio does not stop reading requests when the server ends the stream first.
            self.outbox.drop()
            call.cancel()

    async def _requests(self) -> AsyncIterator[RunRequest]:
        yield RunRequest(start=self._start)
        async for batch in self.outbox.batches():
            yield RunRequest(findings=batch)


async def wait_ready(channel: grpc.aio.Channel, timeout_s: float) -> bool:
    """Whether the channel is connected, at once or within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            await channel.channel_ready()
    except TimeoutError:
        return False
    return True
