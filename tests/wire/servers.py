"""Servers in process for the wire tests, made of the mesh's own protos and of behaviors given as functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from answermesh.rpc.server import Server
from answermesh.v1 import agent_service_pb2_grpc, document_service_pb2_grpc, query_service_pb2_grpc

Adder = Callable[[Any, grpc.aio.Server], None]


def queries(**behaviors: Callable[..., Any]) -> tuple[Adder, object]:
    """A QueryService of these RPCs."""
    return _scripted(query_service_pb2_grpc, "QueryService", behaviors)


def agent(**behaviors: Callable[..., Any]) -> tuple[Adder, object]:
    """An AgentService of these RPCs."""
    return _scripted(agent_service_pb2_grpc, "AgentService", behaviors)


def documents(**behaviors: Callable[..., Any]) -> tuple[Adder, object]:
    """A DocumentService of these RPCs."""
    return _scripted(document_service_pb2_grpc, "DocumentService", behaviors)


def _scripted(module: Any, service: str, behaviors: dict[str, Callable[..., Any]]) -> tuple[Adder, object]:
    servicer = getattr(module, f"{service}Servicer")()
    for rpc, behavior in behaviors.items():
        assert hasattr(servicer, rpc), rpc
        setattr(servicer, rpc, behavior)
    return getattr(module, f"add_{service}Servicer_to_server"), servicer


@asynccontextmanager
async def serving(
    *services: tuple[Adder, object], listen: str = "127.0.0.1:0", **options: Any
) -> AsyncIterator[tuple[Server, str]]:
    """A running server of these services and its address; drained at the end."""
    server = Server(listen, **{"drain_wait_s": 0.0} | options)
    for adder, servicer in services:
        server.add(adder, servicer)
    try:
        yield server, await server.start()
    finally:
        await server.drain(grace_s=0.0)
