"""Which upstream a service is called at, and what is told where two disagree."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2

from answermesh.errors import Failure
from answermesh.gateway.descriptors.merging import Source, merge
from answermesh.gateway.descriptors.schema import SchemaError
from answermesh.gateway.setup import Member, parse_member


def described(*services: str, file: str = "", field: str = "a") -> bytes:
    """A set of one file with these services of one package."""
    package = services[0].rpartition(".")[0]
    proto = descriptor_pb2.FileDescriptorProto(name=file or f"{package}.proto", package=package, syntax="proto3")
    proto.message_type.add(name="Empty").field.add(name=field, number=1, label=1, type=9)
    for service in services:
        proto.service.add(name=service.rpartition(".")[2])
    return descriptor_pb2.FileDescriptorSet(file=[proto]).SerializeToString()


def asked(origin: str, *services: str, named: tuple[str, ...] = (), field: str = "a") -> Source:
    return Source(origin, named, services, described(*services, field=field))


def test_a_service_goes_to_the_first_that_offers_it_unless_another_is_named_for_it() -> None:
    first, second = asked("first:1", "p.A", "p.B"), asked("second:2", "p.A", "p.B")
    merged = merge([first, second])
    assert merged.owners == {"p.A": 0, "p.B": 0}
    assert merged.problems == (
        "p.A is offered by first:1 and second:2; calls go to first:1",
        "p.B is offered by first:1 and second:2; calls go to first:1",
    )
    named = merge([first, asked("second:2", "p.A", "p.B", named=("p.A",))])
    assert (dict(named.owners), named.problems) == ({"p.A": 1, "p.B": 0}, ())


def test_two_that_are_named_for_one_service_are_told() -> None:
    one, two = asked("one:1", "p.A", named=("p.A",)), asked("two:2", "p.A", named=("p.A",))
    merged = merge([one, two])
    assert merged.owners == {"p.A": 0}
    assert merged.problems == ("p.A is named for one:1 and two:2; calls go to one:1",)


def test_health_and_reflection_are_exposed_only_where_they_are_named() -> None:
    assert merge([asked("a:1", "grpc.health.v1.Health")]).owners == {}
    named = merge([asked("a:1", "grpc.health.v1.Health", named=("grpc.health.v1.Health",))])
    assert named.owners == {"grpc.health.v1.Health": 0}


def test_services_of_a_descriptor_set_go_to_who_names_them_or_to_the_first_that_names_none() -> None:
    sets = [described("p.A", "p.B")]
    merged = merge([Source("named:1", ("p.A",)), Source("other:2")], sets)
    assert merged.owners == {"p.A": 0, "p.B": 1}
    alone = merge([Source("named:1", ("p.A",))], sets)
    assert alone.owners == {"p.A": 0}
    assert alone.problems == ("p.B is not served: a descriptor set has it, but no upstream is given for it",)


def test_a_file_that_differs_is_told_and_the_first_counts() -> None:
    merged = merge([asked("one:1", "p.A", field="a"), asked("two:2", "p.A", field="b")])
    assert "p.proto differs between one:1 and two:2; that of one:1 is used" in merged.problems
    files = descriptor_pb2.FileDescriptorSet.FromString(merged.descriptor_set).file
    assert [file.message_type[0].field[0].name for file in files] == ["a"]


def test_a_named_service_that_nothing_describes_is_told() -> None:
    merged = merge([Source("a:1", ("p.A",))])
    assert merged.owners == {}
    assert merged.problems == ("p.A is not served: a:1 is named for it, but nothing describes it",)


def test_bytes_that_are_no_descriptor_set_are_refused() -> None:
    with pytest.raises(SchemaError):
        merge([Source("a:1")], [b"\xff\xff"])


def test_an_upstream_is_a_target_and_its_services() -> None:
    assert parse_member("ipv4:10.0.0.1:1,10.0.0.2:1=p.A, p.B") == Member("ipv4:10.0.0.1:1,10.0.0.2:1", ("p.A", "p.B"))
    assert parse_member("unix:/run/a.sock") == Member("unix:/run/a.sock")
    for bad in ("", "=p.A", "a:1=", "a:1=p/A"):
        with pytest.raises(Failure):
            parse_member(bad)
