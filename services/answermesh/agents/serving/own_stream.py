"""One run over a stream of its own: `AgentService.Run`, the form that agents of all languages share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from answermesh.agents import Agent
from answermesh.agents.serving.outgoing import QUEUE_LIMIT
from answermesh.agents.serving.run import StreamRun, checked_start
from answermesh.errors import invalid_field
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse

# Findings put into one message when many are ready together: 32 passages of ~1 kB stay far below the 4 MiB of a
# message.
BATCH_LIMIT = 32


async def serve(agent: Agent, requests: AsyncIterator[RunRequest], context: Any) -> None:
    """Run the agent once. Raises what it raised, after what it emitted before has gone out."""
    stream = aiter(requests)
    first = await anext(stream, None)
    if first is None:
        raise invalid_field("start", "is missing; the stream ended before its first request.")
    due, consumed = asyncio.Event(), asyncio.Event()
    run = StreamRun(agent.card, checked_start(first), due=due.set, consumed=consumed.set)
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(_receive(run, stream, first, consumed))
        working = group.create_task(_work(agent, run))
        while not working.done() or len(run.said):
            await due.wait()
            due.clear()
            while findings := run.said.take(BATCH_LIMIT):
                await context.write(RunResponse(findings=findings, usage=run.ledger.take()))
                if len(findings) < BATCH_LIMIT:
                    break
        if usage := run.ledger.take():
            await context.write(RunResponse(usage=usage))
        # The agent may be done before its input is.
        receiving.cancel()
    if error := working.result():
        raise error


async def _receive(
    run: StreamRun, stream: AsyncIterator[RunRequest], first: RunRequest, consumed: asyncio.Event
) -> None:
    """Bring what the stream brings to the agent, and then the end.

    Raises Failure(INVALID_FIELD) for a second start.
    """
    run.feed(first.findings)
    async for request in stream:
        if request.HasField("start"):
            raise invalid_field("start", "came a second time; send it in the first request only.")
        run.feed(request.findings)
        # Not read on before, and gRPC's flow control holds the peer.
        while run.fed_count >= QUEUE_LIMIT:
            consumed.clear()
            await consumed.wait()
    run.end_input()


async def _work(agent: Agent, run: StreamRun) -> Exception | None:
    """Run the agent to its end, and return why it failed: what it emitted before goes out first."""
    try:
        await agent.run(run)
    except Exception as error:
        return error
    finally:
        # Its task is done only after this step, so the writer must be woken by that.
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: run.close())
    return None
