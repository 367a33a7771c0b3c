"""Reading a stream of grpc.aio, when who waits for a message is cancelled."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from answermesh.gateway.upstream.grpc_channel import _GrpcStream


class OneMessage:
    """A call whose message comes when the test says so; grpc.aio's own cannot be told the turn of the loop."""

    def __init__(self) -> None:
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        self._taken = False

    async def read(self) -> bytes:
        if self._taken:
            return b"the next"
        self._taken = True
        return await self.message


@pytest.mark.parametrize("turns", range(6))
async def test_a_message_that_comes_as_its_reader_is_cancelled_is_kept_for_the_next(turns: int) -> None:
    call = OneMessage()
    stream = _GrpcStream(call)
    reader = asyncio.ensure_future(stream.read())
    for _ in range(3):
        await asyncio.sleep(0)
    call.message.set_result(b"it")
    for _ in range(turns):
        await asyncio.sleep(0)
    if reader.cancel():
        with contextlib.suppress(asyncio.CancelledError):
            await reader
    if reader.cancelled():
        assert await stream.read() == (b"it",)
    else:
        assert reader.result() == (b"it",)
