"""A lease at the mesh: registered while the stream is open and beats, and again after it broke."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc

from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.mesh_service_pb2 import RegisterAgentRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub

if TYPE_CHECKING:
    from answermesh.v1.mesh_service_pb2_grpc import MeshServiceAsyncStub

_log = logging.getLogger(__name__)

# The first answer must come within this time, before the mesh has said how long a lease is.
FIRST_ANSWER_S = 10.0
# Waits between tries: doubled from the first to the most, each multiplied by 0.5 to 1 so that agents do not come in
# step.
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 10.0
# A card that was refused stays refused; trying again would only hide it.
_FINAL = frozenset({Reason.INVALID_FIELD, Reason.INVALID_CARD, Reason.INVALID_PLAN, Reason.UNIMPLEMENTED})


async def keep_registered(
    mesh_address: str,
    target: str,
    card: AgentCard,
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Hold a lease until cancelled, which ends it at once.

    Raises Failure where the mesh refuses the card or the target.
    """
    wait_s = FIRST_WAIT_S
    async with open_channel(mesh_address) as channel:
        while True:
            lease = Lease(MeshServiceStub(channel), RegisterAgentRequest(target=target, card=card))
            try:
                await lease.hold(pause)
            except (Failure, grpc.aio.AioRpcError, TimeoutError) as error:
                failure = failure_from(error) if isinstance(error, grpc.aio.AioRpcError) else error
                if isinstance(failure, Failure) and failure.reason in _FINAL:
                    raise failure from error
                _log.warning("not registered at %s: %s", mesh_address, str(failure) or "it does not answer")
            wait_s = FIRST_WAIT_S if lease.held else min(wait_s * 2, MAX_WAIT_S)
            await pause(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


class Lease:
    """One stream of RegisterAgent."""

    def __init__(self, mesh: MeshServiceAsyncStub, registration: RegisterAgentRequest) -> None:
        self._mesh = mesh
        self._registration = registration
        # Whether the mesh has granted it.
        self.held = False
        self._granted = asyncio.Event()
        self._lease_s = FIRST_ANSWER_S

    async def hold(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Register, then beat three times a lease, until the stream breaks or ends.

        Raises AioRpcError, or TimeoutError where the mesh acknowledges nothing for as long as a lease.
        """
        call = self._mesh.RegisterAgent(self._beats(pause))
        try:
            answers = aiter(call)
            while True:
                async with asyncio.timeout(self._lease_s):
                    answer = await anext(answers, None)
                if answer is None:
                    return
                if not self.held:
                    _log.info("registered as %s at target %s", answer.name, self._registration.target)
                self._lease_s = answer.lease_duration.ToTimedelta().total_seconds() or FIRST_ANSWER_S
                self.held = True
                self._granted.set()
        finally:
            call.cancel()

    async def _beats(self, pause: Callable[[float], Awaitable[None]]) -> AsyncIterator[RegisterAgentRequest]:
        yield self._registration
        await self._granted.wait()
        while True:
            await pause(self._lease_s / 3)
            yield RegisterAgentRequest()
