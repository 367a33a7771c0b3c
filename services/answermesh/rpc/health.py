"""The standard health service, grpc.health.v1: what probes and the channels' own health checks ask.

Like the servicer of grpcio-health-checking, with two differences that drain needs: setting the health never waits for a
watcher to read, and watchers can be ended, else each of them holds up the server's stop for the whole grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from answermesh.errors import Failure, Reason

SERVICE = "grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The health of the server ("") and of each of its services; all share one state."""

    def __init__(self) -> None:
        self._services = {""}
        self._serving = False
        self._ended = False
        self._changed = asyncio.Event()

    def add(self, service: str) -> None:
        """Tell the health of `service` too."""
        self._services.add(service)

    def set_serving(self, serving: bool) -> None:
        """Tell all watchers; without waiting for them."""
        self._serving = serving
        self._wake()

    def end(self) -> None:
        """End the streams of all watchers."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        # Each watcher holds the event of the state that it has seen; a set one is never reused, so no change is missed.
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return SERVICE_UNKNOWN
        return SERVING if self._serving else NOT_SERVING

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """The RPCs of the service."""
        request = health_pb2.HealthCheckRequest.FromString
        response = health_pb2.HealthCheckResponse.SerializeToString
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, request, response),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, request, response),
        }

    async def _check(self, request: Any, context: Any) -> Any:
        """The health now. Raises Failure(NOT_FOUND) for a service that this server has not."""
        if request.service not in self._services:
            raise Failure(Reason.NOT_FOUND, f"This server has no service {request.service[:200]!r}.")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The health now and at each change, until the caller or the server goes."""
        told = None
        while not self._ended:
            changed, status = self._changed, self._status(request.service)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
                # It may have changed while that was sent: look again.
                continue
            await changed.wait()
