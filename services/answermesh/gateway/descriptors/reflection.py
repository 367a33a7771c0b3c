"""The descriptor set of a running service, asked of its server reflection: v1 first, then v1alpha.

Both versions have the same messages. What comes back is sorted, so that an unchanged service gives the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.calls import StreamCall, Upstream

_PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
# Files of one service mesh are dozens; a peer that sends more than this is not asked on.
_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Reflected:
    """The services that a server says it has, and the serialised FileDescriptorSet that describes them."""

    services: tuple[str, ...]
    descriptor_set: bytes


async def fetch(upstream: Upstream, named: Sequence[str] = (), timeout_s: float = 10.0) -> Reflected:
    """What reflection tells of the services `named`, as far as it knows them, or of all but reflection itself.

    Raises CallError: UNAVAILABLE if the service is not there, UNIMPLEMENTED if it has no reflection,
    DEADLINE_EXCEEDED after `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            for path in _PATHS[:-1]:
                try:
                    return await _fetch(upstream, path, named, timeout_s)
                except CallError as error:
                    if error.code is not StatusCode.UNIMPLEMENTED:
                        raise
            return await _fetch(upstream, _PATHS[-1], named, timeout_s)
    except DecodeError as error:
        raise CallError(StatusCode.INTERNAL, f"The service's reflection cannot be read: {error}") from error
    except TimeoutError:
        raise CallError(
            StatusCode.DEADLINE_EXCEEDED, f"The service's reflection did not answer within {timeout_s} s."
        ) from None


async def _fetch(upstream: Upstream, path: str, named: Sequence[str], timeout_s: float) -> Reflected:
    async with upstream.stream(path, (), timeout_s) as call:
        listed = await _ask(call, reflection_pb2.ServerReflectionRequest(list_services=""))
        services = sorted(
            service.name
            for service in listed.list_services_response.service
            if (service.name in named if named else not service.name.startswith("grpc.reflection."))
        )
        files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        for service in services:
            reply = await _ask(call, reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
            _add(files, reply)
        while missing := sorted(_missing(files)):
            for name in missing:
                reply = await _ask(call, reflection_pb2.ServerReflectionRequest(file_by_filename=name))
                _add(files, reply)
                if name not in files:
                    raise CallError(StatusCode.INTERNAL, f"The service's reflection has no file {name!r}.")
        await call.done_writing()
    found = descriptor_pb2.FileDescriptorSet(file=_sorted(files))
    return Reflected(tuple(services), found.SerializeToString(deterministic=True))


async def _ask(
    call: StreamCall, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    with contextlib.suppress(CallError):  # the read tells why
        await call.write(request.SerializeToString())
    messages = await call.read()
    if not messages:
        raise CallError(StatusCode.UNIMPLEMENTED, "The service's reflection ended without an answer.")
    # One answer a question, and the next is asked only then.
    response = reflection_pb2.ServerReflectionResponse.FromString(messages[0])
    if response.HasField("error_response"):
        raise CallError(
            StatusCode.INTERNAL, f"The service's reflection refuses: {response.error_response.error_message}"
        )
    return response


def _add(
    files: dict[str, descriptor_pb2.FileDescriptorProto], response: reflection_pb2.ServerReflectionResponse
) -> None:
    for serialized in response.file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
        files.setdefault(file.name, file)
    if len(files) > _MAX_FILES:
        raise CallError(StatusCode.INTERNAL, f"The service's reflection has more than {_MAX_FILES} files.")


def _missing(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> set[str]:
    return {name for file in files.values() for name in file.dependency} - files.keys()


def _sorted(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> list[descriptor_pb2.FileDescriptorProto]:
    """Dependencies first, else by name."""
    done: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(name: str) -> None:
        if name not in done and name in files:
            file = files[name]
            for dependency in sorted(file.dependency):
                visit(dependency)
            done[name] = file

    for name in sorted(files):
        visit(name)
    return list(done.values())
