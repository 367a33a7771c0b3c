"""`AgentService.RunMany` with the face of `Run`, so that one suite holds both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from answermesh.rpc.status import DETAILS_KEY
from answermesh.v1.agent_service_pb2 import RunManyRequest, RunManyResponse, RunRequest, RunResponse


class Multiplexed:
    """A stub whose `Run` is one run of a stream of many."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.GetCard = stub.GetCard

    def Run(self, requests: AsyncIterator[RunRequest] | Iterable[RunRequest], timeout: float) -> ManyCall:
        return ManyCall(self._stub.RunMany(), requests, timeout)


class ManyCall:
    """One run; grants as much credit as is read."""

    def __init__(self, call: Any, requests: AsyncIterator[RunRequest] | Iterable[RunRequest], timeout_s: float) -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self._writing = asyncio.ensure_future(self._write(requests, timeout_s))
        self._responses = self._read()

    def __aiter__(self) -> AsyncIterator[RunResponse]:
        return self._responses

    async def read(self) -> RunResponse:
        return await anext(self._responses)

    def cancel(self) -> None:
        self._writing.cancel()
        self._cancelling = asyncio.ensure_future(self._part(RunManyRequest.Part(run=1, cancel=True)))

    async def _part(self, part: RunManyRequest.Part) -> None:
        # One write at a time is what a stream can take.
        async with self._lock:
            await self._call.write(RunManyRequest(parts=[part]))

    async def _write(self, requests: Any, timeout_s: float) -> None:
        async for request in requests if hasattr(requests, "__aiter__") else _each(requests):
            part = RunManyRequest.Part(run=1, findings=request.findings)
            if request.HasField("start"):
                part.start.CopyFrom(request.start)
                part.timeout.FromMilliseconds(round(timeout_s * 1e3))
            await self._part(part)
        await self._part(RunManyRequest.Part(run=1, half_close=True))

    async def _read(self) -> AsyncIterator[RunResponse]:
        response: RunManyResponse
        async for response in self._call:
            for part in response.parts:
                assert part.run == 1
                if part.findings or part.usage:
                    yield RunResponse(findings=part.findings, usage=part.usage)
                if part.HasField("end"):
                    self._writing.cancel()
                    await self._call.done_writing()
                    _raise(part.end)
                elif part.findings:
                    await self._part(RunManyRequest.Part(run=1, credit=len(part.findings)))


async def _each(requests: Iterable[RunRequest]) -> AsyncIterator[RunRequest]:
    for request in requests:
        yield request


def _raise(end: Any) -> None:
    if end.code:
        code = next(code for code in grpc.StatusCode if code.value[0] == end.code)
        trailers = grpc.aio.Metadata((DETAILS_KEY, end.SerializeToString()))
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, end.message)
