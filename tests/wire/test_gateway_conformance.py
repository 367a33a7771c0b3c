"""Every transcoding case, against the gateway as it is served and as it is mounted in another application."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

HERE = Path(__file__).parent.parent / "conformance"
CASES = [json.loads(line) for line in (HERE / "cases.jsonl").read_text(encoding="utf-8").split("\n") if line]
# Cases that we do not pass, each with its reason. A case that is listed and passes fails the test.
KNOWN_FAILURES: dict[str, str] = {}

_SERVED = """
import asyncio, sys
from answermesh.config import Settings
from answermesh.gateway.service import serve_http
asyncio.run(serve_http(Settings(), "127.0.0.1:0", sys.argv[1], lambda address: print(address, flush=True)))
"""
_MOUNTED = """
import sys
import uvicorn
from answermesh import gateway
from answermesh.gateway.http.listener import bind
inner = gateway.app(sys.argv[1], descriptor_set=open(sys.argv[2], "rb").read())
async def outer(scope, receive, send):
    scope = dict(scope, root_path="/mounted/here")
    scope["path"] = "/mounted/here" + scope["path"]
    scope["raw_path"] = b"/mounted/here" + scope["raw_path"]
    await inner(scope, receive, send)
bound, address = bind("127.0.0.1:0")
print(address, flush=True)
uvicorn.Server(uvicorn.Config(outer, lifespan="off", log_level="error", server_header=False)).run(sockets=[bound])
"""


def _load_runner() -> Any:
    spec = importlib.util.spec_from_file_location("transcoding_runner", HERE / "runner.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = _load_runner()


def _generate(folder: Path) -> Path:
    """Stubs and descriptor set of the backend."""
    import google.api
    import grpc_tools

    include = Path(next(iter(google.api.__path__))).parent.parent
    own = Path(grpc_tools.__path__[0]) / "_proto"
    protos = [str(path) for path in sorted(HERE.glob("proto/gwconf/v1/*.proto"))]
    descriptor_set = folder / "gwconf.binpb"
    common = [sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE / 'proto'}", f"-I{include}", f"-I{own}"]
    subprocess.run([*common, f"--python_out={folder}", f"--grpc_python_out={folder}", *protos], check=True)
    subprocess.run(
        [*common, "--include_imports", "--include_source_info", f"--descriptor_set_out={descriptor_set}", *protos],
        check=True,
    )
    return descriptor_set


def _started(*command: str) -> Iterator[str]:
    """Runs a process that prints its address; ends it after use."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the process ended before it listened"
            yield address
        finally:
            process.kill()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _generate(tmp_path_factory.mktemp("gwconf"))


@pytest.fixture(scope="module")
def backend(generated: Path) -> Iterator[str]:
    yield from _started(str(HERE / "backend.py"), str(generated.parent))


@pytest.fixture(scope="module", params=["served", "mounted"])
def gateway(request: pytest.FixtureRequest, backend: str, generated: Path) -> Iterator[str]:
    program = _SERVED if request.param == "served" else _MOUNTED
    for address in _started("-c", program, backend, str(generated)):
        yield f"http://{address}"


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_gateway_does_what_the_case_expects(gateway: str, case: dict[str, Any]) -> None:
    if case["id"] not in KNOWN_FAILURES:
        runner.run_case(gateway, case)
        return
    with pytest.raises((runner.Mismatch, OSError)):
        runner.run_case(gateway, case)


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/json"])
def test_both_directions_may_stream_as_lines(gateway: str, content_type: str) -> None:
    request = {
        "method": "POST",
        "path": "/v1/chat",
        "headers": {"Content-Type": content_type, "Accept": "application/x-ndjson"},
        "body": '{"n":1,"text":"a"}\n{"n":2,"text":"b"}\n',
    }
    assert runner.send(gateway, request, 10).body == b'{"n":1,"text":"A"}\n{"n":2,"text":"B"}\n'


@pytest.mark.parametrize(
    "encoding", ["encoding=json&message=%7B%22name%22%3A%22x%22%7D", "encoding=json&base64=1&message=eyJuYW1lIjoieCJ9"]
)
def test_connect_takes_a_get_of_a_method_that_has_no_side_effects(gateway: str, encoding: str) -> None:
    path = f"/gwconf.v1.Paths/OneSegment?connect=v1&{encoding}"
    answer = runner.send(gateway, {"method": "GET", "path": path}, 10)
    assert answer.json() == {"rpc": "OneSegment", "probe": {"name": "x"}}
    assert runner.send(gateway, {"method": "GET", "path": path.replace("OneSegment", "Unbound")}, 10).status == 405


def test_the_openapi_document_of_the_cases_is_valid(gateway: str) -> None:
    validate(runner.send(gateway, {"method": "GET", "path": "/openapi.json"}, 10).json())
