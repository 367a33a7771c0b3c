"""What a mesh leaves and finds on the disk, and the addresses it takes."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from answermesh.cli.serve import serve
from answermesh.cli.up import up
from answermesh.config import AGENTS
from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import join_targets, split_targets
from answermesh.serve import layout, mesh_file
from answermesh.serve.addresses import check_listen
from answermesh.serve.claim import claimed
from answermesh.serve.mesh_file import RunningMesh

GONE = 2**22 + 1  # above the largest process id that Linux gives out


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def mesh(pid: int | None = None) -> RunningMesh:
    return RunningMesh("127.0.0.1:1", "127.0.0.1:2", pid or os.getpid(), "/tmp/answermesh-x")


def test_a_running_mesh_is_found_by_its_data_folder_and_without_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    mesh_file.announce(mesh(), data)
    assert mesh_file.find(data) == mesh()
    assert mesh_file.find(tmp_path / "elsewhere") == mesh()
    mesh_file.withdraw(mesh(), data)
    assert mesh_file.find(data) is None


def test_a_mesh_that_died_without_a_word_is_not_found(tmp_path: Path) -> None:
    mesh_file.announce(mesh(GONE), tmp_path / "data")
    assert mesh_file.find(tmp_path / "data") is None


def test_a_mesh_that_stops_leaves_the_file_of_one_started_later(tmp_path: Path) -> None:
    mesh_file.announce(mesh(GONE), tmp_path / "first")
    mesh_file.announce(mesh(), tmp_path / "second")
    mesh_file.withdraw(mesh(GONE), tmp_path / "first")
    assert mesh_file.find(tmp_path / "first") == mesh()


def test_a_ready_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be written"):
        mesh_file.write_json(tmp_path / "no" / "such" / "folder.json", {})


def test_a_data_folder_is_held_by_one_mesh_with_a_private_folder_for_its_sockets(tmp_path: Path) -> None:
    with claimed(tmp_path) as run_dir:
        assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
        with pytest.raises(Failure, match="--data") as caught, claimed(tmp_path):
            pass
        assert caught.value.reason is Reason.WRONG_STATE
    assert not run_dir.exists()
    with claimed(tmp_path):
        pass


def test_what_a_killed_mesh_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_over = tmp_path / "answermesh-old"
    left_over.mkdir()
    (tmp_path / "mesh.lock").write_text(str(left_over))
    with claimed(tmp_path):
        assert not left_over.exists()


def test_a_folder_that_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "mesh.lock").write_text(str(precious))
    with claimed(tmp_path):
        assert precious.exists()


def test_a_port_in_use_is_told_with_the_option_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Failure, match=rf"{address} is in use .* --http HOST:PORT"):
            check_listen("--http", address)
    check_listen("--http", address)


@pytest.mark.parametrize("address", ["8080", "localhost:", ":8080", "localhost:x", "localhost:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Failure) as caught:
        check_listen("--grpc", address)
    assert caught.value.reason is Reason.INVALID_FIELD


def test_every_service_is_told_where_the_others_are(tmp_path: Path) -> None:
    services = [service for group in layout.services(tmp_path, "127.0.0.1:1", ("127.0.0.1:2",)) for service in group]
    assert {service.name for service in services} == {"models", "knowledge", "orchestrator", "gateway", *AGENTS}
    env = layout.environ(tmp_path, {layout.DATABASE: "postgresql://x", layout.ORCHESTRATOR: "127.0.0.1:2"})
    by_name = {service.name: service for service in services}
    assert env["ANSWERMESH_TARGET_ORCHESTRATOR"] == by_name["orchestrator"].listen
    for name in ("models", "knowledge", *AGENTS):
        # A successor may listen at the other one.
        assert env[f"ANSWERMESH_TARGET_{name.upper()}"] == join_targets([by_name[name].listen, by_name[name].other])
    assert env["ANSWERMESH_DATABASE_URL"] == "postgresql://x"


def test_every_replica_of_an_agent_is_a_process_of_its_own_that_all_know(tmp_path: Path) -> None:
    replicas = {"synthesis": 3}
    groups = layout.services(tmp_path, "127.0.0.1:1", ("127.0.0.1:2",), (), replicas)
    found = [one for group in groups for one in group if (one.kind or one.name) == "synthesis"]
    assert [one.name for one in found] == ["synthesis", "synthesis-2", "synthesis-3"]
    target = layout.environ(tmp_path, {}, replicas)["ANSWERMESH_TARGET_SYNTHESIS"]
    assert split_targets(target) == [address for one in found for address in (one.listen, one.other)]


@pytest.mark.parametrize("text", ["nobody=2", "synthesis", "synthesis=0", "synthesis=17", "synthesis=x"])
def test_what_is_no_number_of_replicas_is_refused(text: str) -> None:
    ended = CliRunner().invoke(up, ["--replicas", text])
    assert ended.exit_code != 0
    assert "--replicas" in ended.output


def test_agents_of_a_pack_share_a_process_and_keep_their_addresses(tmp_path: Path) -> None:
    packs = (("entities", "graph"), ("citation", "factcheck"))
    groups = layout.services(tmp_path, "127.0.0.1:1", ("127.0.0.1:2",), packs=packs)
    services = {one.name: one for group in groups for one in group}
    assert not {"entities", "graph", "citation", "factcheck"} & services.keys()
    assert services["pack"].kind == "entities,graph"
    assert services["pack-2"].kind == "citation,factcheck"
    places = zip(services["pack"].listen.split(","), services["pack"].other.split(","), strict=True)
    for agent, addresses in zip(packs[0], places, strict=True):
        assert split_targets(layout.environ(tmp_path, {})[f"ANSWERMESH_TARGET_{agent.upper()}"]) == list(addresses)


@pytest.mark.parametrize(
    "options",
    [
        ["--pack", "nobody"],
        ["--pack", "entities,graph", "--pack", "graph"],
        ["--pack", "all", "--replicas", "graph=2"],
        ["--pack", ""],
    ],
)
def test_what_is_no_pack_of_agents_is_refused(options: list[str]) -> None:
    ended = CliRunner().invoke(up, options)
    assert ended.exit_code != 0
    assert "--pack" in ended.output


@pytest.mark.parametrize(
    ("service", "listen", "field"),
    [
        ("nobody", "127.0.0.1:0", "SERVICE"),
        ("graph,models", "127.0.0.1:0,127.0.0.1:0", "SERVICE"),
        ("graph,graph", "127.0.0.1:0,127.0.0.1:0", "SERVICE"),
        ("graph,entities", "127.0.0.1:0", "--listen"),
    ],
)
def test_one_process_serves_agents_that_each_have_an_address_or_is_refused(
    service: str, listen: str, field: str
) -> None:
    ended = CliRunner().invoke(serve, [service, "--listen", listen])
    assert ended.exit_code != 0
    assert field in ended.output
