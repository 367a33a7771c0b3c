"""The runs of one replica over one stream: `AgentService.RunMany`, the orchestrator's side.

The stream is opened by the first run, and again by the first one after it broke. What runs are given is collected, and
goes out as one message whenever the stream can take one; what the agent says is passed to each run's sink as it comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.agent_run import Refused, Sink, Task
from answermesh.orchestrator.reaching.outbox import MAX_WAITING
from answermesh.rpc.pace import Pace
from answermesh.rpc.status import failure_from, failure_from_status
from answermesh.v1.agent_service_pb2 import RunManyRequest, RunManyResponse, RunRequest
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.finding_pb2 import Finding

log = logging.getLogger(__name__)

# Findings that either side may send before the other grants more; the contract names the number.
FIRST_CREDIT = 256
# Credit is granted in lumps, so that it costs a part of a message now and then.
_LUMP = FIRST_CREDIT // 2
# Findings and starts put into one message: some kB each, of 64 MiB that a message may have.
_MESSAGE_LIMIT = 512
_BROKEN = "The agent's server went away while it ran."


class SharedRun:
    """One run on a shared stream."""

    __slots__ = (
        "_cancelled", "_closed", "_closed_told", "_credit", "_granted", "_room", "_start", "_stream", "_timeout_s",
        "_waiting", "key", "sink",
    )  # fmt: skip

    def __init__(self, stream: SharedStream, key: int, task: Task, sink: Sink) -> None:
        self.key = key
        self.sink = sink
        self._stream = stream
        self._start: RunRequest.Start | None = task.start
        self._timeout_s = task.timeout_s
        self._waiting = deque(task.backlog)
        self._closed = task.closed
        self._closed_told = False
        self._cancelled = False
        # What the agent lets this run be given, and what the agent may say that it was not told of yet.
        self._credit = FIRST_CREDIT
        self._granted = 0
        self._room: asyncio.Event | None = None

    @property
    def is_full(self) -> bool:
        return len(self._waiting) > MAX_WAITING

    async def room(self) -> None:
        while self.is_full:
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    def give(self, findings: Iterable[Finding]) -> None:
        if not self._closed:
            self._waiting.extend(findings)
            self._stream.due(self)

    def finish(self) -> None:
        self._closed = True
        self._stream.due(self)

    def cancel(self) -> None:
        begun = self._start is None
        self.end()
        self._stream.forget(self)
        if begun:
            self._cancelled = True
            self._stream.due(self)

    def fail(self, failure: Failure) -> None:
        self.cancel()
        self.sink.over(failure)

    def end(self) -> None:
        """Nothing more is sent of it."""
        self._start, self._closed, self._closed_told = None, True, True
        self._waiting.clear()
        self._make_room()

    def credit(self, findings: int) -> None:
        """The agent lets it be given more."""
        self._credit += findings
        self._stream.due(self)

    def grant(self, findings: int) -> None:
        """Let the agent say more."""
        self._granted += findings
        if self._granted >= _LUMP:
            self._stream.due(self)

    def add(self, request: RunManyRequest, limit: int) -> int:
        """Add what is to be sent of it; returns how many findings that were."""
        if self._cancelled:
            request.parts.add(run=self.key, cancel=True)
            return 0
        count = min(len(self._waiting), self._credit, limit)
        closing = self._closed and not self._closed_told and count == len(self._waiting)
        if not (self._start or count or closing or self._granted >= _LUMP):
            return 0
        part = request.parts.add(run=self.key, half_close=closing)
        if self._start is not None:
            part.start.CopyFrom(self._start)
            part.timeout.FromNanoseconds(round(self._timeout_s * 1e9))
            self._start = None
        if count:
            part.findings.extend(self._waiting.popleft() for _ in range(count))
            self._credit -= count
            self._make_room()
        if self._granted >= _LUMP:
            part.credit = self._granted
            self._granted = 0
        self._closed_told = self._closed_told or closing
        if self._waiting and self._credit:
            self._stream.due(self)
        return count

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None


class SharedStream:
    """All runs of one replica. Tasks of it live in `tasks`, which outlives it."""

    def __init__(self, channel: grpc.aio.Channel, tasks: asyncio.TaskGroup) -> None:
        self._channel = channel
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._runs: dict[int, SharedRun] = {}
        self._due: dict[int, SharedRun] = {}
        self._wake = asyncio.Event()
        # What holds agents back whose findings nobody can take in.
        self._waits: set[asyncio.Task[None]] = set()
        # The last run that the stream could still carry, once it takes no more.
        self._last: int | None = None
        self._ended = False
        # Whether the agent's server is about to stop, or does not know the method.
        self.draining = False
        self.refused = False

    def start(self, task: Task, sink: Sink) -> SharedRun:
        """Begin a run."""
        self._number += 1
        run = self._runs[self._number] = SharedRun(self, self._number, task, sink)
        self.due(run)
        if self._task is None:
            self._task = self._tasks.create_task(self._serve(), name="shared stream")
        return run

    def due(self, run: SharedRun) -> None:
        """There may be something to send of a run."""
        self._due[run.key] = run
        self._wake.set()

    def forget(self, run: SharedRun) -> None:
        """Listen to a run no more."""
        self._runs.pop(run.key, None)
        self._due.pop(run.key, None)
        self._wake.set()

    def close(self) -> None:
        """End the stream, and all runs on it; for good."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        call = AgentServiceStub(self._channel).RunMany()
        failure = Failure(Reason.SERVICE_UNAVAILABLE, _BROKEN)
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(call))
                failure = await self._read(call)
                writing.cancel()
        except Exception:
            log.exception("a shared stream is given up")
        finally:
            call.cancel()
            for waiting in self._waits:
                waiting.cancel()
            self._task, self.draining = None, False
            last = self._number if self._last is None or self._ended else self._last
            self._last = None
            runs = [run for run in self._runs.values() if run.key <= last]
            self._runs = {key: run for key, run in self._runs.items() if key > last}
            self._due = dict(self._runs)
            if self._runs:
                self._task = self._tasks.create_task(self._serve(), name="shared stream")
                self._wake.set()
            for run in runs:
                run.end()
                try:
                    run.sink.over(failure)
                except Exception:
                    log.exception("the end of a run is not taken in")

    async def _write(self, call: Any) -> None:
        try:
            pace = Pace()
            while not (self.draining and not self._runs):
                await self._wake.wait()
                await pace.step(len(self._runs))
                self._wake.clear()
                while self._due:
                    if (request := self._next()).parts:
                        await call.write(request)
            # Runs that begin from here on have to wait for the next stream.
            self._last = self._number
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The reader hears of it too, and knows why.
            return

    def _next(self) -> RunManyRequest:
        request = RunManyRequest()
        count = 0
        while self._due and count < _MESSAGE_LIMIT:
            run = self._due.pop(next(iter(self._due)))
            count += 1 + run.add(request, _MESSAGE_LIMIT - count)
        return request

    async def _read(self, call: Any) -> Failure:
        """Pass on what comes, until the stream is over; returns why it is."""
        response: RunManyResponse
        try:
            async for response in call:
                if response.draining:
                    self.draining = True
                    self._wake.set()
                for part in response.parts:
                    if (run := self._runs.get(part.run)) is not None:
                        self._hear(run, part)
        except grpc.aio.AioRpcError as error:
            failure = failure_from(error)
            if failure.reason is Reason.UNIMPLEMENTED:
                self.refused = True
                return Refused(failure.reason, failure.message)
            if failure.reason is Reason.SERVICE_UNAVAILABLE:
                return failure
            log.warning("a shared stream broke: %s", failure.message)
        except asyncio.CancelledError:
            # grpc.aio raises it too where the server ended the stream so, though nobody here asked for that.
            task = asyncio.current_task()
            if task is None or task.cancelling() or not call.cancelled():
                raise
        return Failure(Reason.SERVICE_UNAVAILABLE, _BROKEN)

    def _hear(self, run: SharedRun, part: RunManyResponse.Part) -> None:
        try:
            if part.findings or part.usage:
                room = run.sink.heard(part.findings, part.usage)
                if not part.HasField("end"):
                    self._let_go_on(run, len(part.findings), room)
        except Exception as error:
            if not isinstance(error, Failure):
                log.exception("a run is given up")
                error = Failure(Reason.INTERNAL, "The orchestrator could not go on with the agent.")
            run.fail(error)
            return
        if part.credit:
            run.credit(part.credit)
        if part.HasField("end"):
            run.end()
            self.forget(run)
            run.sink.over(failure_from_status(part.end) if part.end.code else None)

    def _let_go_on(self, run: SharedRun, findings: int, room: Callable[[], Awaitable[None]] | None) -> None:
        if room is None:
            run.grant(findings)
            return

        async def later() -> None:
            try:
                await room()
            except Failure:
                # The query's log has failed, and the query ends.
                return
            run.grant(findings)

        waiting = self._tasks.create_task(later(), name="room")
        self._waits.add(waiting)
        waiting.add_done_callback(self._waits.discard)
