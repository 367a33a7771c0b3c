"""Every transcoding case, against the gateway as it is served and as it is mounted in another application."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests import gateway_process
from tests.gateway_process import gwconf, gwconf_stubs, started

HERE = gateway_process.CONFORMANCE


def _read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").split("\n") if line]


CASES = _read("cases.jsonl")
OWN_CASES = _read("own_cases.jsonl")
# Cases that we do not pass, each with its reason. A case that is listed and passes fails the test.
KNOWN_FAILURES: dict[str, str] = {}

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


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gwconf_stubs(tmp_path_factory.mktemp("gwconf"))


@pytest.fixture(scope="module")
def backend(generated: Path) -> Iterator[str]:
    with gwconf(generated.parent) as running:
        yield running.address


@pytest.fixture(scope="module", params=["served", "mounted"])
def gateway(request: pytest.FixtureRequest, backend: str, generated: Path) -> Iterator[str]:
    if request.param == "served":
        process = gateway_process.gateway(generated.parent, backend)
    else:
        process = started(generated.parent / "mounted.log", "-c", _MOUNTED, backend, str(generated))
    with process as running:
        yield running.url


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_gateway_does_what_the_case_expects(gateway: str, case: dict[str, Any]) -> None:
    if case["id"] not in KNOWN_FAILURES:
        runner.run_case(gateway, case)
        return
    with pytest.raises((runner.Mismatch, OSError)):
        runner.run_case(gateway, case)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", sorted({case["group"] for case in OWN_CASES}))
def test_the_gateway_does_what_all_of_our_cases_of_a_group_expect(gateway: str, group: str) -> None:
    assert [told for case in OWN_CASES if case["group"] == group for told in _mismatch(gateway, case)] == []


def _mismatch(gateway: str, case: dict[str, Any]) -> list[str]:
    try:
        runner.run_case(gateway, case)
    except (runner.Mismatch, OSError) as error:
        return [f"{case['id']} {case['title']}: {error}"]
    return []


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


@pytest.mark.timeout(300)
def test_the_openapi_document_of_the_cases_is_valid(gateway: str) -> None:
    validate(runner.send(gateway, {"method": "GET", "path": "/openapi.json"}, 10).json())
