"""Clients of other makers, unmodified, against the gateway: each file of Node's tests here is one test.

They need Node and the packages of package.json, which are installed once into node_modules (not kept by git). Where
that cannot be had they are skipped; with CLIENTS=required, as `make test-clients` sets it, they fail instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from tests import gateway_process

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
_INSTALL_WAIT_S = 90
_FILES = sorted(path.name for path in HERE.glob("*.test.js"))
_NEEDS_BROWSER = "browser.test.js"


def _missing(reason: str) -> None:
    if os.environ.get("CLIENTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages that the tests import."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _missing("Node and npm are not installed")
        raise AssertionError
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        try:
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=_INSTALL_WAIT_S)
        except (subprocess.SubprocessError, OSError) as error:
            _missing(f"npm could not install the clients: {error}")
        shutil.copyfile(lock, installed)
    return node


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the gateways listen, and the schemas of what is behind them."""
    cases, mesh = tmp_path_factory.mktemp("gwconf"), tmp_path_factory.mktemp("mesh")
    descriptor_set = gateway_process.gwconf_stubs(cases)
    with (
        gateway_process.gwconf(cases) as service,
        gateway_process.gateway(cases, service.address) as before_service,
        gateway_process.mesh(mesh) as scripted,
        gateway_process.gateway(mesh, scripted.address) as before_mesh,
    ):
        yield os.environ | {
            "GWCONF_URL": before_service.url,
            "GWCONF_SET": str(descriptor_set),
            "MESH_URL": before_mesh.url,
            "MESH_SET": str(ROOT / "generated/answermesh/v1/answermesh.binpb"),
            "ERRORS_SET": str(_error_types(cases)),
            "CHROMIUM": shutil.which("chromium") or "",
            "PROFILE": str(tmp_path_factory.mktemp("chromium")),
        }
        before_service.assert_unharmed()
        before_mesh.assert_unharmed()


def _error_types(folder: Path) -> Path:
    """The descriptor set of google.rpc, as a client that wants to read details has it."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (any_pb2, duration_pb2, status_pb2, error_details_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    path = folder / "errors.binpb"
    path.write_bytes(files.SerializeToString())
    return path


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", _FILES)
def test_the_client_gets_what_it_was_promised(name: str, node: str, environment: dict[str, str]) -> None:
    if name == _NEEDS_BROWSER and not environment["CHROMIUM"]:
        _missing("chromium is not installed")
    command = [node, "--test", "--test-reporter=tap", "--test-timeout=60000", name]
    ran = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=120)
    failed = [line for line in ran.stdout.splitlines() if line.lstrip().startswith("not ok")]
    assert ran.returncode == 0, "\n".join([*failed, ran.stdout[-6000:], ran.stderr[-2000:]])
    assert "# pass 0" not in ran.stdout
