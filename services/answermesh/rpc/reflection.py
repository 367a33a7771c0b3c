"""Server reflection, so that grpcurl and the gateway need no proto files: grpc.reflection.v1 and v1alpha.

grpcio-reflection 1.85 speaks v1alpha only. v1 has the same messages under another package
(https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto), so the same servicer answers both.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"
SERVICES = (f"{_V1}.ServerReflection", f"{_ALPHA}.ServerReflection")


def handlers(services: Collection[str]) -> dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]]:
    """The two reflection services with their one method each, telling of `services` and of themselves."""
    _describe_v1()
    make_servicer: Any = reflection.aio.ReflectionServicer
    servicer = make_servicer({*services, *SERVICES}, pool=_Pool())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return {service: {"ServerReflectionInfo": handler} for service in SERVICES}


class _Pool:
    """The default pool, which also finds the file of a method, as `grpcurl describe` asks: protobuf's own does not."""

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the pool's name for it
        """The file that declares `symbol`. Raises KeyError where none does."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service_name, _, method = symbol.rpartition(".")
            service = self._pool.FindServiceByName(service_name)
            if method not in service.methods_by_name:
                raise
            return service.file


def _describe_v1() -> None:
    """Put v1's descriptors, which no installed package carries, beside v1alpha's in the default pool."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(SERVICES[0])
    except KeyError:
        alpha, v1 = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
        text_format.Parse(text_format.MessageToString(alpha).replace(_ALPHA, _V1), v1)
        v1.name = "grpc/reflection/v1/reflection.proto"
        pool.AddSerializedFile(v1.SerializeToString())
