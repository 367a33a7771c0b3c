"""Options and targets."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from answermesh.errors import Failure
from answermesh.rpc.channel import join_targets
from answermesh.rpc.listen import bound, socket_path
from answermesh.rpc.options import SERVICE_CONFIG, channel_options, server_options
from answermesh.v1 import agent_service_pb2, feedback_service_pb2, query_service_pb2


def test_grpc_knows_every_option_by_this_name() -> None:
    # It ignores unknown ones without a word.
    (library,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    known = library.read_bytes()
    for name, _ in [*server_options(), *channel_options()]:
        assert name.encode() in known, name


def test_methods_that_are_not_tried_again_exist() -> None:
    services = {
        service.full_name: service
        for module in (agent_service_pb2, feedback_service_pb2, query_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    for name in SERVICE_CONFIG["methodConfig"][0]["name"]:
        assert name["method"] in services[name["service"]].methods_by_name


@pytest.mark.parametrize(
    ("targets", "joined"),
    [
        ("dns:///agent:50051", "dns:///agent:50051"),
        (["agent:50051"], "agent:50051"),
        (["127.0.0.1:1", "127.0.0.1:2"], "ipv4:127.0.0.1:1,127.0.0.1:2"),
        (["ipv4:127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2"], "ipv4:127.0.0.1:1,127.0.0.1:2"),
        (["[::1]:1", "[::1]:2"], "ipv6:[::1]:1,[::1]:2"),
        (["unix:/a.sock", "unix:///b.sock"], "unix:/a.sock,/b.sock"),
    ],
)
def test_targets_are_joined(targets: str | list[str], joined: str) -> None:
    assert join_targets(targets) == joined


@pytest.mark.parametrize("targets", [[], "", ["a:1", "b:1"], ["127.0.0.1:1", "unix:/a"], ["127.0.0.1:1", "[::1]:1"]])
def test_targets_that_cannot_be_joined_are_refused(targets: str | list[str]) -> None:
    with pytest.raises(Failure, match="targets"):
        join_targets(targets)


def test_addresses_are_told_apart() -> None:
    assert socket_path("unix:/run/a.sock") == socket_path("unix:///run/a.sock") == Path("/run/a.sock")
    assert socket_path("127.0.0.1:0") is None
    assert bound("[::1]:0", 7) == "[::1]:7"
    assert bound("unix:/run/a.sock", 1) == "unix:/run/a.sock"
