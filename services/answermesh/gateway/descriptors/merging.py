"""Several descriptions of services made one: which files count, and which upstream each service is called at.

Pure: bytes and names in, bytes, names and sentences out. What cannot be had both ways is told in `problems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from answermesh.gateway.descriptors.json_names import fill_json_names
from answermesh.gateway.descriptors.schema import SchemaError

# Services of the servers themselves, not for those who call them: exposed only where somebody names them.
_INTERNAL = ("grpc.health.", "grpc.reflection.", "grpc.channelz.")


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of one upstream. `named` are the services it was given by name; `offered` those it says it has."""

    origin: str
    named: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    descriptor_set: bytes = b""


@dataclass(frozen=True, slots=True)
class Merged:
    """One descriptor set, the index of the upstream of each service that is served, and what to tell the operator."""

    descriptor_set: bytes
    owners: Mapping[str, int]
    problems: tuple[str, ...]


def merge(sources: Sequence[Source], sets: Sequence[bytes] = ()) -> Merged:
    """One schema of all upstreams and of the files `sets`; files come first. Raises SchemaError for what is no set."""
    problems: list[str] = []
    files: dict[str, tuple[str, descriptor_pb2.FileDescriptorProto]] = {}
    for origin, descriptor_set in (
        *(("the descriptor set", one) for one in sets),
        *((source.origin, source.descriptor_set) for source in sources),
    ):
        _add(files, origin, descriptor_set, problems)
    known = services_of(file for _, file in files.values())
    owners = _owners(sources, services_of(file for one in sets for file in parsed(one).file), problems)
    unknown = [service for service in owners if service not in known]
    problems += [
        f"{service} is not served: {sources[owners.pop(service)].origin} is named for it, but nothing describes it"
        for service in unknown
    ]
    merged = descriptor_pb2.FileDescriptorSet(file=[file for _, file in files.values()])
    return Merged(merged.SerializeToString(deterministic=True), owners, tuple(problems))


def parsed(descriptor_set: bytes) -> descriptor_pb2.FileDescriptorSet:
    """The set. Raises SchemaError for bytes that are none."""
    try:
        return descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    except DecodeError as error:
        raise SchemaError("the bytes are no google.protobuf.FileDescriptorSet") from error


def services_of(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> tuple[str, ...]:
    """Full names of all services in the files."""
    return tuple(
        f"{file.package}.{service.name}" if file.package else service.name for file in files for service in file.service
    )


def _add(
    files: dict[str, tuple[str, descriptor_pb2.FileDescriptorProto]],
    origin: str,
    descriptor_set: bytes,
    problems: list[str],
) -> None:
    for file in parsed(descriptor_set).file:
        first, known = files.setdefault(file.name, (origin, file))
        if known is not file and bare(known) != bare(file):
            problems.append(f"{file.name} differs between {first} and {origin}; that of {first} is used")


def bare(file: descriptor_pb2.FileDescriptorProto) -> bytes:
    """The file without comments and with all its JSON names, which reflection may leave out."""
    copy = descriptor_pb2.FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("source_code_info")
    fill_json_names(copy)
    return copy.SerializeToString(deterministic=True)


def _owners(sources: Sequence[Source], in_sets: Sequence[str], problems: list[str]) -> dict[str, int]:
    owners: dict[str, int] = {}

    def give(service: str, index: int, how: str) -> None:
        if owners.setdefault(service, index) != index:
            problems.append(_twice(service, how, sources[owners[service]], sources[index]))

    for index, source in enumerate(sources):
        for service in source.named:
            give(service, index, "named for")
    named = frozenset(owners)
    unnamed = [index for index, source in enumerate(sources) if not source.named]
    for index in unnamed:
        for service in sources[index].offered:
            if service not in named and not service.startswith(_INTERNAL):
                give(service, index, "offered by")
    for service in in_sets:
        if service in owners or service.startswith(_INTERNAL):
            continue
        if unnamed:
            owners[service] = unnamed[0]
        else:
            problems.append(f"{service} is not served: a descriptor set has it, but no upstream is given for it")
    return owners


def _twice(service: str, how: str, first: Source, second: Source) -> str:
    return f"{service} is {how} {first.origin} and {second.origin}; calls go to {first.origin}"
