"""What the OpenAPI document promises holds: schemathesis makes requests of it, and reads the answers by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.exceptions import ChunkedEncodingError
from schemathesis.specs.openapi import checks

from tests import gateway_process
from tests.gateway_process import Running
from tests.http.raw import ROUNDS

_CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# They sleep as long as they are asked to, or fail with what they are asked for.
_LEFT_OUT = ("/v1/nap", "/v1/fail", "/v1/size")


@pytest.fixture(scope="module")
def before_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("mesh")
    with gateway_process.mesh(folder) as mesh, gateway_process.gateway(folder, mesh.address) as running:
        yield running
        running.assert_unharmed()


def _operations(url: str) -> list[Any]:
    """Every operation of the document; one that cannot be read raises."""
    found = schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()
    return [operation for operation in (one.ok() for one in found) if not operation.path.startswith(_LEFT_OUT)]


# What the service is asked for at most: bytes of padding, messages, milliseconds between them.
_SPARED = {"pad": 1000, "upto": 1000, "pauseMs": 5}


def _spare(case: Any) -> None:
    """The service does what it is asked for, with gigabytes and without end if need be; the gateway would only wait."""
    for values in (case.query, case.path_parameters):
        for name, most in _SPARED.items():
            if str(values.get(name, "")).isdecimal():
                values[name] = int(values[name]) % most


def _try(operation: Any, examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        _spare(case)
        try:
            answer = case.call(timeout=20)
        except ChunkedEncodingError:
            # An array that was cut, since the stream was asked to fail midway.
            assert "/v1/count" in operation.path
            return
        if answer.status_code >= 500:
            assert "gateway.answermesh.dev" not in answer.text, f"{operation.label}: {answer.text[:500]}"
        case.validate_response(answer, checks=_CHECKS)

    attempt()


@pytest.mark.timeout(1800)
def test_answers_of_our_own_services_are_what_the_document_says(before_mesh: Running) -> None:
    operations = _operations(before_mesh.url)
    assert len(operations) > 15
    for operation in operations:
        _try(operation, 3 * ROUNDS)


@pytest.mark.timeout(3600)
def test_answers_of_every_kind_of_rule_are_what_the_document_says(gateway: Running) -> None:
    operations = _operations(gateway.url)
    assert len(operations) > 60
    # Of wide messages, whose cases take long to make, a few suffice where time is short.
    for operation in operations if ROUNDS > 1 else operations[::6]:
        _try(operation, ROUNDS)
