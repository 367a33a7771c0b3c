"""Many runs over one stream: `AgentService.RunMany`, the agent's side.

Each run is a task of its own, with its own deadline, and knows nothing of the others. What they say is collected, and
whatever is there when the stream can take a message goes out as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from google.rpc.status_pb2 import Status

from answermesh.agents import Agent
from answermesh.agents.serving.run import StreamRun, check_start
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.rpc.deadline import fail_after
from answermesh.rpc.edge import status_of
from answermesh.rpc.pace import Pace
from answermesh.v1.agent_service_pb2 import RunManyRequest, RunManyResponse

# Findings that either side may send before the other grants more; the contract names the number.
FIRST_CREDIT = 256
# Credit is granted in lumps, so that it costs a part of a message now and then.
_LUMP = FIRST_CREDIT // 2
# Findings and ends put into one message: some kB each, of 64 MiB that a message may have.
_MESSAGE_LIMIT = 512
_METHOD = "answermesh.v1.AgentService/RunMany"


class _Live:
    """One run that has not ended."""

    __slots__ = ("credit", "end", "granted", "key", "run", "taken", "task")

    def __init__(self, key: int) -> None:
        self.key = key
        self.run: StreamRun | None = None
        self.task: asyncio.Task[None] | None = None
        # What the caller lets this run send.
        self.credit = FIRST_CREDIT
        # What the caller may still feed it, and what the agent took since that was last told.
        self.granted = FIRST_CREDIT
        self.taken = 0
        # How it ended, once it has.
        self.end: Status | None = None


class SharedStream:
    """One stream of one caller."""

    def __init__(self, agent: Agent, draining: asyncio.Event) -> None:
        self._agent = agent
        self._draining = draining
        self._told_draining = False
        self._live: dict[int, _Live] = {}
        # Runs that have something to say, in the order in which they began to.
        self._due: dict[int, _Live] = {}
        self._wake = asyncio.Event()
        self._input_ended = False

    async def serve(self, requests: AsyncIterator[RunManyRequest], context: Any) -> None:
        """Run what is started, until the caller has half-closed and the last run is over. Cancelled, all runs are.

        Raises Failure(INVALID_FIELD | TOO_LARGE) for a caller that does not keep to the contract.
        """
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch_drain())
            receiving = group.create_task(self._receive(requests, group))
            pace = Pace()
            while not (self._input_ended and not self._live):
                await self._wake.wait()
                await pace.step(len(self._live))
                self._wake.clear()
                while (response := self._next()) is not None:
                    await context.write(response)
            watching.cancel()
            receiving.cancel()

    async def _watch_drain(self) -> None:
        await self._draining.wait()
        self._wake.set()

    async def _receive(self, requests: AsyncIterator[RunManyRequest], group: asyncio.TaskGroup) -> None:
        async for request in requests:
            for part in request.parts:
                if part.HasField("start"):
                    self._start(part, group)
                if (live := self._live.get(part.run)) is not None and live.run is not None:
                    self._feed(live, live.run, part)
        self._input_ended = True
        self._wake.set()

    def _start(self, part: RunManyRequest.Part, group: asyncio.TaskGroup) -> None:
        if part.run in self._live:
            raise invalid_field("parts.run", f"{part.run} has begun already; choose another number for a new run.")
        live = self._live[part.run] = _Live(part.run)
        try:
            start = check_start(part.start)
        except Failure as failure:
            self._over(live, failure)
            return
        live.run = StreamRun(
            self._agent.card, start, due=lambda: self._say(live), consumed=lambda: self._consumed(live)
        )
        timeout_s = part.timeout.ToNanoseconds() / 1e9 if part.HasField("timeout") else None
        live.task = group.create_task(self._work(live, live.run, timeout_s), name=start.query)

    def _feed(self, live: _Live, run: StreamRun, part: RunManyRequest.Part) -> None:
        if part.cancel:
            self._forget(live)
            if live.task is not None:
                live.task.cancel()
            return
        if part.findings:
            live.granted -= len(part.findings)
            if live.granted < 0:
                raise Failure(
                    Reason.TOO_LARGE, f"Run {part.run} was sent more findings than its credit; wait for more."
                )
            run.feed(part.findings)
        if part.half_close:
            run.end_input()
        if part.credit:
            live.credit += part.credit
            self._say(live)

    async def _work(self, live: _Live, run: StreamRun, timeout_s: float | None) -> None:
        failure: BaseException | None = None
        try:
            async with AsyncExitStack() as stack:
                if timeout_s is not None:
                    await stack.enter_async_context(fail_after(timeout_s))
                await self._agent.run(run)
        except Exception as error:
            failure = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if live.key not in self._live or task is None or task.cancelling():
                raise
            # From within: nobody asked for it, and the caller waits.
            failure = error
        self._over(live, failure)

    def _over(self, live: _Live, error: BaseException | None) -> None:
        live.end = Status() if error is None else status_of(_METHOD, error)
        self._say(live)

    def _say(self, live: _Live) -> None:
        if live.key in self._live:
            self._due[live.key] = live
            self._wake.set()

    def _consumed(self, live: _Live) -> None:
        live.taken += 1
        if live.taken >= _LUMP:
            self._say(live)

    def _forget(self, live: _Live) -> None:
        self._live.pop(live.key, None)
        self._due.pop(live.key, None)
        # Whoever waits for the last run to end is to look again.
        self._wake.set()

    def _next(self) -> RunManyResponse | None:
        """One message of what there is to say; None if there is nothing."""
        response = RunManyResponse()
        if self._draining.is_set() and not self._told_draining:
            self._told_draining = response.draining = True
        count = 0
        while self._due and count < _MESSAGE_LIMIT:
            live = self._due.pop(next(iter(self._due)))
            count += 1 + self._add(response, live, _MESSAGE_LIMIT - count)
        return response if response.draining or response.parts else None

    def _add(self, response: RunManyResponse, live: _Live, limit: int) -> int:
        """Add what a run has to say; returns how many findings that were."""
        findings = live.run.said.take(min(live.credit, limit)) if live.run is not None else []
        left = len(live.run.said) if live.run is not None else 0
        live.credit -= len(findings)
        if left and live.credit:
            self._due[live.key] = live
        ended = live.end is not None and not left
        if not (findings or ended or live.taken >= _LUMP):
            return 0
        part = response.parts.add(run=live.key, findings=findings)
        if live.taken >= _LUMP and not ended:
            part.credit = live.taken
            live.granted += live.taken
            live.taken = 0
        if live.run is not None:
            part.usage.extend(live.run.ledger.take())
        if ended:
            assert live.end is not None
            part.end.CopyFrom(live.end)
            self._forget(live)
        return len(findings)
