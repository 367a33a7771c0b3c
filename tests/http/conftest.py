"""One gateway for all tests that send it what no good client would; it must be unharmed after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import gateway_process
from tests.gateway_process import Running


@pytest.fixture(scope="session")
def before_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The gateway before the service of the transcoding cases."""
    folder = tmp_path_factory.mktemp("gwconf")
    gateway_process.gwconf_stubs(folder)
    with gateway_process.gwconf(folder) as service, gateway_process.gateway(folder, service.address) as running:
        yield running


@pytest.fixture
def gateway(before_cases: Running) -> Iterator[Running]:
    """The same, looked at after the test."""
    yield before_cases
    before_cases.assert_unharmed()
