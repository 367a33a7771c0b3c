"""When a mesh is ready: its public address serves, and every part that answers need says that it is well."""

from __future__ import annotations

import asyncio

import grpc

from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.v1.mesh_pb2 import Health
from answermesh.v1.mesh_service_pb2 import GetHealthRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub

_POLL_S = 0.05
_CALL_TIMEOUT_S = 5.0


async def wait_until_well(address: str, timeout_s: float) -> list[str]:
    """Wait until all parts of the mesh serve; what is still missing of the optional ones at the end, if anything.

    Raises Failure(SERVICE_UNAVAILABLE) if a part that answers need is missing after `timeout_s` seconds.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    async with open_channel(address) as channel:
        while True:
            health = await _health(channel)
            if health.status == Health.STATUS_OK:
                return []
            missing = [
                f"{part.component}: {part.message}" for part in health.components if part.status != Health.STATUS_OK
            ]
            if loop.time() > give_up:
                if health.status == Health.STATUS_DEGRADED:
                    return missing
                what = "; ".join(missing) or f"nothing serves at {address}"
                raise Failure(Reason.SERVICE_UNAVAILABLE, f"The mesh is not ready after {timeout_s:g} s: {what}")
            await asyncio.sleep(_POLL_S)


async def _health(channel: grpc.aio.Channel) -> Health:
    try:
        response = await MeshServiceStub(channel).GetHealth(GetHealthRequest(), timeout=_CALL_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return Health(status=Health.STATUS_UNSPECIFIED)
    return response.health
