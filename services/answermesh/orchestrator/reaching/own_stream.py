"""A run over a stream of its own: `AgentService.Run`, as agents of any language have it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable

import grpc

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.agent_run import Sink, Task
from answermesh.orchestrator.reaching.outbox import Outbox
from answermesh.rpc.status import failure_from
from answermesh.v1.agent_service_pb2 import RunRequest
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.finding_pb2 import Finding

log = logging.getLogger(__name__)


class OwnStream:
    """One run, in a task of its own."""

    def __init__(self, channel: grpc.aio.Channel, task: Task, sink: Sink, tasks: asyncio.TaskGroup) -> None:
        self._channel = channel
        self._begin = task
        self._sink = sink
        self._outbox = Outbox(task.backlog)
        if task.closed:
            self._outbox.finish()
        self._listening = tasks.create_task(self._listen(), name=f"{task.start.query} run")

    @property
    def is_full(self) -> bool:
        return self._outbox.is_full

    async def room(self) -> None:
        await self._outbox.room()

    def give(self, findings: Iterable[Finding]) -> None:
        self._outbox.put(findings)

    def finish(self) -> None:
        self._outbox.finish()

    def cancel(self) -> None:
        self._outbox.drop()
        self._listening.cancel()

    def fail(self, failure: Failure) -> None:
        self.cancel()
        self._sink.over(failure)

    async def _listen(self) -> None:
        try:
            await self._run()
        except Failure as failure:
            self._sink.over(failure)
        except Exception:
            log.exception("a run of %s is given up", self._begin.start.query)
            self._sink.over(Failure(Reason.INTERNAL, "The orchestrator could not go on with the agent."))
        else:
            self._sink.over(None)

    async def _run(self) -> None:
        """Open the stream and tell the sink what the agent says.

        Raises Failure with the agent's reason: DEADLINE_EXCEEDED after the timeout, SERVICE_UNAVAILABLE where it cannot
        be reached or goes away.
        """
        call = AgentServiceStub(self._channel).Run(self._requests(), timeout=self._begin.timeout_s)
        try:
            async for response in call:
                if (room := self._sink.heard(response.findings, response.usage)) is not None:
                    await room()
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
            self._outbox.drop()
            call.cancel()

    async def _requests(self) -> AsyncIterator[RunRequest]:
        yield RunRequest(start=self._begin.start)
        async for batch in self._outbox.batches():
            yield RunRequest(findings=batch)
